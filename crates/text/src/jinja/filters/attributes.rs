//! `attribute='a.b'` of filters.

use super::super::access;
use super::super::limits;
use super::super::value::Value;
use crate::error::Result;

/// The parts of an attribute: names, and numbers where digits are.
fn parts(attribute: &str) -> Result<Vec<Value>> {
    let part = |text: &str| match text.parse() {
        Ok(i) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Value::Int(i)),
        _ => Value::str(text),
    };
    attribute.split('.').map(part).collect()
}

/// Looks an attribute up in many values.
pub struct Getter {
    parts: Vec<Value>,
    default: Option<Value>,
    lower: bool,
}

impl Getter {
    /// `lower`: whether texts are compared without their case.
    pub fn new(attribute: Option<&Value>, default: Option<Value>, lower: bool) -> Result<Self> {
        let parts = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(text)) => parts(text)?,
            Some(other) => vec![other.clone()],
        };
        Ok(Self { parts, default, lower })
    }

    /// One for each name of `a,b`.
    pub fn several(attribute: Option<&Value>, lower: bool) -> Result<Vec<Self>> {
        match attribute {
            Some(Value::Str(text)) => {
                text.split(',').map(|a| Ok(Self { parts: parts(a)?, default: None, lower })).collect()
            }
            other => Ok(vec![Self::new(other, None, lower)?]),
        }
    }

    pub fn get(&self, item: &Value) -> Result<Value> {
        limits::step(1)?;
        let mut value = item.clone();
        for part in &self.parts {
            value = access::item(&value, part)?;
            if let (true, Some(default)) = (value.is_undefined(), &self.default) {
                value = default.clone();
            }
        }
        match &value {
            Value::Str(text) if self.lower => Value::str(text.to_lowercase()),
            _ => Ok(value),
        }
    }
}
