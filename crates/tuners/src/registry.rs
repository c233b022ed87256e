//! All tuners by the names that configurations use. Adding a tuner is a file and a line here.

use crate::config::{Dialect, TunerConfig};
use crate::method::Method;
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

static METHODS: &[&Method] = &[
    &crate::lora::METHOD,
    &crate::longlora::METHOD,
    &crate::adapter::METHOD,
    &crate::prompt::METHOD,
    &crate::side::METHOD,
    &crate::restuning::METHOD,
    &crate::scetuning::METHOD,
    &crate::neftune::METHOD,
    &crate::llamapro::METHOD,
    &crate::part::METHOD,
    &crate::reft::METHOD,
];

/// The tuner of that name; upper and lower case do not matter, as in Python's enums.
pub fn find(dialect: Dialect, name: &str) -> Result<&'static Method> {
    let found = METHODS.iter().find(|e| e.dialects.contains(&dialect) && e.kind.eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        let field = if dialect == Dialect::Swift { "swift_type" } else { "peft_type" };
        let known: Vec<&str> = METHODS.iter().filter(|e| e.dialects.contains(&dialect)).map(|e| e.kind).collect();
        Error::UnsupportedTuner(format!("{field} {:?}; supported are {}", printable(name, 60), known.join(", ")))
    })
}

/// Fills in the defaults of the class that `swift_type` or `peft_type` names and checks every field.
///
/// Unknown fields are kept and written back; [`unknown`] lists them.
pub fn parse(json: &Json) -> Result<TunerConfig> {
    let Json::Object(given) = json else {
        return Err(Error::config("adapter config", "expected an object"));
    };
    let text = |name: &str| match given.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(s)) => Ok(Some(s.as_str())),
        Some(other) => {
            Err(Error::config(name, format!("expected a string, found {}", printable(&other.to_string(), 60))))
        }
    };
    let (dialect, name) = match (text("swift_type")?, text("peft_type")?) {
        (Some(swift), _) => (Dialect::Swift, swift),
        (None, Some(peft)) => (Dialect::Peft, peft),
        (None, None) => return Err(Error::config("adapter config", "neither swift_type nor peft_type is set")),
    };
    let method = find(dialect, name)?;
    let mut fields = (method.defaults)(dialect);
    for (key, value) in given {
        fields.insert(key.clone(), value.clone());
    }
    let config = TunerConfig { dialect, kind: method.kind.to_owned(), fields };
    (method.check)(&config)?;
    Ok(config)
}

/// Fields that the class of a configuration does not have.
pub fn unknown(config: &TunerConfig) -> Vec<String> {
    let known = find(config.dialect, &config.kind).map(|m| (m.defaults)(config.dialect)).unwrap_or_default();
    config.fields.keys().filter(|k| !known.contains_key(*k)).cloned().collect()
}
