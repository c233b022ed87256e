//! Values that must be given, that may not be, and probabilities.

use super::field_type::FieldType;
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// A value that must be given.
#[derive(Clone, Debug)]
pub struct Required<T>(pub T);

impl<T: FieldType> FieldType for Required<T> {
    const WANTED: &'static str = T::WANTED;
    const REQUIRED: bool = true;
    fn typescript() -> String {
        T::typescript()
    }
    fn of(value: &Json) -> Option<Self> {
        T::of(value).map(Self)
    }
    fn json(&self) -> Json {
        self.0.json()
    }
}

/// A field of Python's that asks for something this version does not do: only what asks for nothing is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsupported;

impl FieldType for Unsupported {
    const WANTED: &'static str = "nothing: this is not supported";
    /// No field of the TypeScript class.
    fn typescript() -> String {
        String::new()
    }
    fn of(value: &Json) -> Option<Self> {
        let nothing = match value {
            Json::Null | Json::Bool(false) => true,
            Json::Object(map) => map.is_empty(),
            Json::Array(list) => list.is_empty(),
            _ => false,
        };
        nothing.then_some(Self)
    }
    fn json(&self) -> Json {
        Json::Null
    }
    fn read(name: &str, value: &Json) -> Result<Self> {
        Self::of(value)
            .ok_or_else(|| Error::config(name, format!("{} is not supported", printable(&value.to_string(), 60))))
    }
}

/// The share of values that dropout takes out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Probability(pub f64);

impl FieldType for Probability {
    const WANTED: &'static str = "a probability below 1";
    fn typescript() -> String {
        "number".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_f64().filter(|p| (0. ..1.).contains(p)).map(Self)
    }
    fn json(&self) -> Json {
        self.0.into()
    }
}
