//! Declarations of fields, and what is read by them.

use crate::config::TunerConfig;
use crate::nearest::nearest_word;
use serde_json::{Map, Value as Json};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// One field as it is declared.
pub struct Declared {
    /// In Python and in `adapter_config.json`.
    pub name: &'static str,
    pub doc: String,
    pub typescript: String,
    /// `null` where Python has none.
    pub default: Json,
    /// Whether a configuration without it is refused.
    pub required: bool,
}

/// The typed fields of one kind of tuner.
pub trait Fields: Sized + Send + Sync + 'static {
    fn declared() -> Vec<Declared>;

    /// Reads and checks every field. Fails with [`Error::Config`], which names the field.
    fn read(config: &TunerConfig) -> Result<Self>;

    /// The same, from what was read before where the configuration keeps it.
    fn of(config: &TunerConfig) -> Result<Self>
    where
        Self: Clone,
    {
        config.typed.get::<Self>().cloned().map_or_else(|| Self::read(config), Ok)
    }
}

/// Refuses a value outside of the range that its declaration gives.
pub fn check_range<T, R>(name: &str, value: &T, range: &R) -> Result<()>
where
    T: PartialOrd + std::fmt::Display,
    R: std::ops::RangeBounds<T> + std::fmt::Debug,
{
    if range.contains(value) {
        return Ok(());
    }
    Err(Error::config(name, format!("expected a number in {range:?}, found {value}")))
}

/// Joins the lines of a doc comment.
pub fn doc(lines: &[&str]) -> String {
    lines.iter().map(|l| l.trim()).collect::<Vec<_>>().join(" ")
}

/// The fields of an object inside of a configuration; fails where it has one that is not among the `known`.
pub fn object_fields<'a>(name: &str, value: &'a Json, known: &[&str]) -> Result<&'a Map<String, Json>> {
    let Json::Object(map) = value else {
        return Err(Error::config(name, format!("expected an object, found {}", printable(&value.to_string(), 80))));
    };
    match map.keys().find(|k| !known.contains(&k.as_str())) {
        Some(other) => {
            let nearest = nearest_word(other, known.iter().copied()).unwrap_or_default();
            let field = format!("{name}.{}", printable(other, 80));
            Err(Error::config(field, format!("there is no such field; the nearest is {nearest}")))
        }
        None => Ok(map),
    }
}
