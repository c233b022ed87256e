//! Checked access to a Hugging Face `config.json`.

use crate::error::printable;
use crate::ops::Activation;
use crate::{Error, Result};
use serde_json::Value as Json;

pub(crate) struct Config<'a> {
    json: &'a serde_json::Map<String, Json>,
}

/// Larger sizes than any real model has; they keep products of sizes from overflowing.
const MAX_SIZE: u64 = 1 << 24;

impl<'a> Config<'a> {
    pub fn new(json: &'a Json) -> Result<Self> {
        let Json::Object(map) = json else {
            return Err(Error::config("config.json", "expected an object"));
        };
        let config = Self { json: map };
        if config.get("quantization_config").is_some() {
            return Err(Error::UnsupportedModel("quantization_config: quantised checkpoints are not supported".into()));
        }
        Ok(config)
    }

    /// An object inside of a configuration.
    pub fn of_value(json: &'a Json) -> Result<Self> {
        match json {
            Json::Object(json) => Ok(Self { json }),
            _ => Err(Error::config("config.json", "expected an object")),
        }
    }

    /// The value, `null` taken as absent.
    pub fn get(&self, name: &str) -> Option<&'a Json> {
        self.json.get(name).filter(|v| !v.is_null())
    }

    fn wrong(name: &str, wanted: &str, found: &Json) -> Error {
        Error::config(
            format!("config.json: {name}"),
            format!("expected {wanted}, found {}", printable(&found.to_string(), 80)),
        )
    }

    pub fn size(&self, name: &str) -> Result<usize> {
        self.optional_size(name)?.ok_or_else(|| Error::config(format!("config.json: {name}"), "missing"))
    }

    pub fn size_or(&self, name: &str, default: usize) -> Result<usize> {
        Ok(self.optional_size(name)?.unwrap_or(default))
    }

    pub fn optional_size(&self, name: &str) -> Result<Option<usize>> {
        match self.get(name) {
            None => Ok(None),
            Some(v) => match v.as_u64() {
                Some(n) if (1..=MAX_SIZE).contains(&n) => Ok(Some(n as usize)),
                _ => Err(Self::wrong(name, "a positive integer", v)),
            },
        }
    }

    pub fn float_or(&self, name: &str, default: f64) -> Result<f64> {
        match self.get(name) {
            None => Ok(default),
            Some(v) => match v.as_f64() {
                Some(x) if x.is_finite() => Ok(x),
                _ => Err(Self::wrong(name, "a number", v)),
            },
        }
    }

    /// A dropout probability.
    pub fn rate(&self, name: &str, default: f64) -> Result<f64> {
        let rate = self.float_or(name, default)?;
        if (0. ..1.).contains(&rate) {
            Ok(rate)
        } else {
            Err(Error::config(format!("config.json: {name}"), format!("expected a probability below 1, found {rate}")))
        }
    }

    /// A positive epsilon.
    pub fn eps(&self, name: &str, default: f64) -> Result<f64> {
        let eps = self.float_or(name, default)?;
        if eps >= 0. {
            Ok(eps)
        } else {
            Err(Error::config(format!("config.json: {name}"), format!("expected a number ≥ 0, found {eps}")))
        }
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(v) => v.as_bool().ok_or_else(|| Self::wrong(name, "true or false", v)),
        }
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(v) => v.as_str().map(Some).ok_or_else(|| Self::wrong(name, "a string", v)),
        }
    }

    pub fn activation(&self, name: &str, default: &str) -> Result<Activation> {
        Activation::parse(self.text(name)?.unwrap_or(default), &format!("config.json: {name}"))
    }

    pub fn object(&self, name: &str) -> Result<Option<Config<'a>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Object(json)) => Ok(Some(Config { json })),
            Some(v) => Err(Self::wrong(name, "an object", v)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// `architectures[0]`.
    pub fn architecture(&self) -> Option<&'a str> {
        self.get("architectures")?.as_array()?.first()?.as_str()
    }

    /// Fails when `name` is set to something that would change the numbers and is not implemented.
    pub fn refuse(&self, name: &str, harmless: &[Json]) -> Result<()> {
        match self.get(name) {
            Some(v) if !harmless.contains(v) => Err(Error::UnsupportedModel(format!(
                "config.json: {name} = {} is not implemented",
                printable(&v.to_string(), 80)
            ))),
            _ => Ok(()),
        }
    }

    /// The number of labels of a classification head.
    pub fn num_labels(&self) -> Result<usize> {
        if let Some(Json::Object(labels)) = self.get("id2label") {
            return Ok(labels.len().max(1));
        }
        self.size_or("num_labels", 2)
    }
}
