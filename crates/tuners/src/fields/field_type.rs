//! A type that a field can have.

use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// A type that a field can have.
pub trait FieldType: Sized {
    /// What a value of it looks like, for messages.
    const WANTED: &'static str;
    /// Whether `null` is none of its values.
    const REQUIRED: bool = false;
    fn typescript() -> String;
    /// `None` where the value is of another type.
    fn of(value: &Json) -> Option<Self>;
    fn json(&self) -> Json;

    fn read(name: &str, value: &Json) -> Result<Self> {
        Self::of(value).ok_or_else(|| {
            let found = printable(&value.to_string(), 80);
            if value.is_null() {
                return Error::config(name, "missing");
            }
            Error::config(name, format!("expected {}, found {found}", Self::WANTED))
        })
    }
}
