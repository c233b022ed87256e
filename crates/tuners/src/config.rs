//! Adapter configurations: one flat JSON object with Python's field names.

use serde_json::{Map, Value as Json};
use std::any::Any;
use std::sync::Arc;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// Which of Python's two worlds a configuration belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `swift_type` is set: SWIFT's key names and directory layout.
    Swift,
    /// PEFT's.
    Peft,
}

impl Dialect {
    /// The field that names the kind of tuner.
    pub fn field(self) -> &'static str {
        match self {
            Self::Swift => "swift_type",
            Self::Peft => "peft_type",
        }
    }
}

/// A configuration with every field of its class, and what else the file held.
#[derive(Clone, Debug, PartialEq)]
pub struct TunerConfig {
    pub dialect: Dialect,
    /// `LORA`, …
    pub kind: String,
    pub fields: Map<String, Json>,
    /// The fields as their class reads them.
    pub typed: Typed,
}

/// What its class made of a configuration; it follows from the fields, so all are equal.
#[derive(Clone, Default)]
pub struct Typed(Option<Arc<dyn Any + Send + Sync>>);

impl Typed {
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Typed")
    }
}

impl PartialEq for Typed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl TunerConfig {
    pub fn to_json(&self) -> Json {
        Json::Object(self.fields.clone())
    }

    /// The value, `null` taken as absent.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.fields.get(name).filter(|v| !v.is_null())
    }

    /// Changes a field; what was read of the old ones is forgotten.
    pub fn set(&mut self, name: &str, value: impl Into<Json>) {
        self.fields.insert(name.to_owned(), value.into());
        self.typed = Typed::default();
    }

    /// Whether a value is there that says something: neither `null` nor empty.
    pub fn is_given(&self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(Json::String(s)) => !s.is_empty(),
            Some(Json::Array(list)) => !list.is_empty(),
            Some(_) => true,
        }
    }

    fn wrong(name: &str, wanted: &str, found: &Json) -> Error {
        Error::config(name, format!("expected {wanted}, found {}", printable(&found.to_string(), 80)))
    }

    pub fn size(&self, name: &str) -> Result<usize> {
        match self.get(name).map(|v| (v, v.as_u64())) {
            Some((_, Some(n))) if (1..=1 << 20).contains(&n) => Ok(n as usize),
            Some((v, _)) => Err(Self::wrong(name, "a positive integer", v)),
            None => Err(Error::config(name, "missing")),
        }
    }

    pub fn float(&self, name: &str) -> Result<Option<f64>> {
        match self.get(name).map(|v| (v, v.as_f64())) {
            None => Ok(None),
            Some((_, Some(x))) if x.is_finite() => Ok(Some(x)),
            Some((v, _)) => Err(Self::wrong(name, "a number", v)),
        }
    }

    pub fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(v) => v.as_bool().ok_or_else(|| Self::wrong(name, "true or false", v)),
        }
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(v) => v.as_str().map(Some).ok_or_else(|| Self::wrong(name, "a string", v)),
        }
    }

    /// A list of strings; a single string counts as a list of one.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(s)) => Ok(Some(vec![s.clone()])),
            Some(Json::Array(items)) => items
                .iter()
                .map(|i| i.as_str().map(str::to_owned).ok_or_else(|| Self::wrong(name, "a list of strings", i)))
                .collect::<Result<Vec<_>>>()
                .map(Some),
            Some(v) => Err(Self::wrong(name, "a list of strings", v)),
        }
    }

    /// A list of non-negative integers; a single one counts as a list of one.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<u64>>> {
        let one = |v: &Json| v.as_u64().ok_or_else(|| Self::wrong(name, "non-negative integers", v));
        match self.get(name) {
            None => Ok(None),
            Some(Json::Array(items)) => items.iter().map(one).collect::<Result<Vec<_>>>().map(Some),
            Some(v) => Ok(Some(vec![one(v)?])),
        }
    }
}

/// An adapter's name becomes a folder and a part of parameter names: it must be one of each on every system.
pub fn check_adapter_name(name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::config("adapter name", format!("{:?} {why}", printable(name, 80))));
    if let Err(why) = swift_tuners_nn::checkpoint::check_plain_name(name) {
        return refuse(why);
    }
    if name.contains('.') {
        return refuse("contains a dot");
    }
    // Not every file system tells cases apart.
    if name.eq_ignore_ascii_case("extra_states") {
        return refuse("is reserved for extra states");
    }
    if name == "__base__" {
        return refuse("means the untuned model among the names of rows");
    }
    Ok(())
}
