//! All tuners by the names that configurations use. Adding a tuner is a file and a line here.

use crate::config::{Dialect, TunerConfig, Typed};
use crate::method::Method;
use crate::nearest::nearest_word;
use crate::prompt_learning::Prompting;
use crate::{lora, peft, prompt_learning, swift};
use serde_json::{Map, Value as Json};
use std::sync::OnceLock;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

pub static METHODS: &[Method] = &[
    Method::of::<lora::SwiftLora>(),
    Method::of::<swift::LongLora>(),
    Method::of::<swift::AdapterTuning>(),
    Method::of::<swift::PromptTuning>(),
    Method::of::<swift::SideTuning>(),
    Method::of::<swift::ResTuning>(),
    Method::of::<swift::SceTuning>(),
    Method::of::<swift::NefTuning>(),
    Method::of::<swift::LlamaPro>(),
    Method::of::<swift::PartTuning>(),
    Method::of::<swift::Reft>(),
    Method::of::<lora::PeftLora>(),
    Method::of::<peft::FourierFt>(),
    Method::of::<peft::Frod>(),
    Method::of::<peft::Hra>(),
    Method::of::<peft::Ia3>(),
    Method::of::<peft::Lily>(),
    Method::of::<peft::LoHa>(),
    Method::of::<peft::Pvera>(),
    Method::of::<peft::RandLora>(),
    Method::of::<peft::Shira>(),
    Method::of::<peft::Supertuning>(),
    Method::of::<peft::Adamss>(),
    Method::of::<peft::Beft>(),
    Method::of::<peft::C3a>(),
    Method::of::<peft::Deft>(),
    Method::of::<peft::Delora>(),
    Method::of::<peft::Glora>(),
    Method::of::<peft::Gralora>(),
    Method::of::<peft::Hira>(),
    Method::of::<peft::LoKr>(),
    Method::of::<peft::Miss>(),
    Method::of::<peft::Peanut>(),
    Method::of::<peft::Psoft>(),
    Method::of::<peft::Road>(),
    Method::of::<peft::Shadow>(),
    Method::of::<peft::TinyLora>(),
    Method::of::<peft::UniLora>(),
    Method::of::<peft::VbLora>(),
    Method::of::<peft::Vera>(),
    Method::of::<peft::AdaptionPrompt>(),
    Method::of::<peft::Poly>(),
    Method::of::<peft::XLora>(),
    Method::of::<Prompting<prompt_learning::PromptTuning>>(),
    Method::of::<Prompting<prompt_learning::MultitaskPromptTuning>>(),
    Method::of::<Prompting<prompt_learning::PTuning>>(),
    Method::of::<Prompting<prompt_learning::Cpt>>(),
    Method::of::<Prompting<prompt_learning::PrefixTuning>>(),
    Method::of::<Prompting<prompt_learning::Cartridge>>(),
    Method::of::<peft::Oft>(),
    Method::of::<peft::Boft>(),
    Method::of::<peft::LnTuning>(),
    Method::of::<peft::TrainableTokens>(),
    Method::of::<peft::AdaLora>(),
    Method::of::<peft::Osf>(),
    Method::of::<peft::WaveFt>(),
];

/// The tuner of that name; upper and lower case do not matter, as in Python's enums.
pub fn find(dialect: Dialect, name: &str) -> Result<&'static Method> {
    let here = || METHODS.iter().filter(|m| m.dialect == dialect);
    here().find(|m| m.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let known: Vec<&str> = here().map(|m| m.name).collect();
        let field = dialect.field();
        Error::UnsupportedTuner(format!("{field} {:?}; supported are {}", printable(name, 60), known.join(", ")))
    })
}

/// What to do with fields that a class does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are kept and written back: a file may be of a later version. [`unknown`] lists them.
    Keep,
    /// They are refused with the nearest name: somebody has written them.
    Refuse,
}

/// Fills in the defaults of the class that `swift_type` or `peft_type` names and checks every field.
pub fn parse(json: &Json, unknown: Unknown) -> Result<TunerConfig> {
    let Json::Object(given) = json else {
        return Err(Error::config("adapter config", "expected an object"));
    };
    let text = |dialect: Dialect| match given.get(dialect.field()) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(s)) => Ok(Some((dialect, s.as_str()))),
        Some(other) => {
            let found = printable(&other.to_string(), 60);
            Err(Error::config(dialect.field(), format!("expected a string, found {found}")))
        }
    };
    let named = text(Dialect::Swift)?.map_or_else(|| text(Dialect::Peft), |found| Ok(Some(found)))?;
    let Some((dialect, name)) = named else {
        return Err(Error::config("adapter config", "neither swift_type nor peft_type is set"));
    };
    let method = find(dialect, name)?;
    let mut fields = defaults(method);
    for (key, value) in given {
        if unknown == Unknown::Refuse && !fields.contains_key(key) && key != "peft_type" {
            let nearest = nearest_word(key, fields.keys().map(String::as_str)).unwrap_or_default();
            let why = format!("{} has no such field; the nearest is {nearest}", method.class);
            return Err(Error::config(printable(key, 80), why));
        }
        fields.insert(key.clone(), value.clone());
    }
    let mut config = TunerConfig { dialect, kind: method.name.to_owned(), fields, typed: Typed::default() };
    config.typed = (method.read)(&config)?;
    Ok(config)
}

/// Every field of a kind's class with its default, and the field that names the kind. Made once for all kinds: every checkpoint
/// asks several times.
pub fn defaults(method: &Method) -> Map<String, Json> {
    static ALL: OnceLock<Vec<Map<String, Json>>> = OnceLock::new();
    let all = ALL.get_or_init(|| METHODS.iter().map(declared_defaults).collect());
    let at = METHODS.iter().position(|m| m.name == method.name && m.dialect == method.dialect);
    at.map_or_else(|| declared_defaults(method), |at| all[at].clone())
}

fn declared_defaults(method: &Method) -> Map<String, Json> {
    let mut out = Map::new();
    out.insert(method.dialect.field().to_owned(), method.name.into());
    for declared in (method.fields)() {
        if declared.name != method.dialect.field() {
            out.insert(declared.name.to_owned(), declared.default);
        }
    }
    out
}

/// Fields that the class of a configuration does not have.
pub fn unknown(config: &TunerConfig) -> Vec<String> {
    let known = find(config.dialect, &config.kind).map(defaults).unwrap_or_default();
    config.fields.keys().filter(|k| !known.contains_key(*k)).cloned().collect()
}
