//! Adapter configurations: one flat JSON object with Python's field names.

use serde_json::{Map, Value as Json};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::Position;
use swift_tuners_nn::{Error, Result};

/// Which of Python's two worlds a configuration belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `swift_type` is set: SWIFT's key names and directory layout.
    Swift,
    /// PEFT's.
    Peft,
}

/// A configuration with every field of its class, and what else the file held.
#[derive(Clone, Debug, PartialEq)]
pub struct TunerConfig {
    pub dialect: Dialect,
    /// `LORA`, …
    pub kind: String,
    pub fields: Map<String, Json>,
}

impl TunerConfig {
    pub fn to_json(&self) -> Json {
        Json::Object(self.fields.clone())
    }

    /// The value, `null` taken as absent.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.fields.get(name).filter(|v| !v.is_null())
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

    /// Positive integers, one for all places or one for each.
    pub fn sizes(&self, name: &str) -> Result<Sizes> {
        let one = |v: &Json| match v.as_u64() {
            Some(n) if (1..=1 << 20).contains(&n) => Ok(n as usize),
            _ => Err(Self::wrong(name, "positive integers", v)),
        };
        match self.get(name) {
            None => Err(Error::config(name, "missing")),
            Some(Json::Array(items)) => {
                Ok(Sizes { name: name.to_owned(), each: true, values: items.iter().map(one).collect::<Result<_>>()? })
            }
            Some(v) => Ok(Sizes { name: name.to_owned(), each: false, values: vec![one(v)?] }),
        }
    }

    /// An index or a name among arguments or outputs.
    pub fn position(&self, name: &str) -> Result<Option<Position>> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(s)) => Ok(Some(Position::Name(s.clone()))),
            Some(v) => match v.as_u64() {
                Some(n) if n < 1 << 16 => Ok(Some(Position::Index(n as usize))),
                _ => Err(Self::wrong(name, "an index or a name", v)),
            },
        }
    }

    /// One of a few words.
    pub fn choice<'w>(&self, name: &str, words: &[&'w str]) -> Result<&'w str> {
        let given = self.text(name)?.ok_or_else(|| Error::config(name, "missing"))?;
        words.iter().find(|w| **w == given).copied().ok_or_else(|| {
            Error::config(name, format!("expected {}, found {:?}", words.join(" or "), printable(given, 60)))
        })
    }

    /// Pattern → number, in the order of the file.
    pub fn patterns(&self, name: &str) -> Result<Vec<(String, f64)>> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Json::Object(map)) => map
                .iter()
                .map(|(k, v)| match v.as_f64() {
                    Some(x) if x.is_finite() && x > 0. => Ok((k.clone(), x)),
                    _ => Err(Self::wrong(&format!("{name}.{}", printable(k, 60)), "a positive number", v)),
                })
                .collect(),
            Some(v) => Err(Self::wrong(name, "an object", v)),
        }
    }
}

/// [`TunerConfig::sizes`].
#[derive(Clone, Debug)]
pub struct Sizes {
    name: String,
    each: bool,
    values: Vec<usize>,
}

impl Sizes {
    /// Fails unless a list has one size for each of `places`.
    pub fn check_count(&self, places: usize) -> Result<()> {
        if self.each && self.values.len() != places {
            return Err(Error::config(&self.name, format!("{} sizes for {places} places", self.values.len())));
        }
        Ok(())
    }

    /// The size of place `index`.
    pub fn at(&self, index: usize) -> Result<usize> {
        let found = if self.each { self.values.get(index) } else { self.values.first() };
        found.copied().ok_or_else(|| {
            Error::config(&self.name, format!("{} sizes are fewer than the places that match", self.values.len()))
        })
    }
}

/// An adapter's name becomes a folder and a part of parameter names: it must be one of each on every system.
pub fn check_adapter_name(name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::config("adapter name", format!("{:?} {why}", printable(name, 80))));
    if let Err(why) = swift_tuners_nn::checkpoint::files::check_plain_name(name) {
        return refuse(why);
    }
    if name.contains('.') {
        return refuse("contains a dot");
    }
    if name == "extra_states" {
        return refuse("is reserved for extra states");
    }
    Ok(())
}
