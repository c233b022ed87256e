//! JSON files of strangers: bounded, without duplicate keys.

use crate::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::path::Path;

/// Far above any config; an index of a thousand shards has a few MiB.
const MAX_BYTES: u64 = 64 << 20;

/// Of a key that occurs twice the last one counts, as in Python's `json`.
pub fn read(path: &Path) -> Result<Value> {
    let bytes = super::files::read_bounded(path, MAX_BYTES)?;
    parse_with(&bytes, false).map_err(|e| Error::corrupt(path, e))
}

/// Strict JSON; a key that occurs twice in an object is an error, because two readers may see two different files.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    parse_with(bytes, true)
}

fn parse_with(bytes: &[u8], unique_keys: bool) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let mut de = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
    let value =
        Strict { unique_keys }.deserialize(&mut de).map_err(|e| crate::error::printable(&e.to_string(), 200))?;
    de.end().map_err(|e| e.to_string())?;
    Ok(value)
}

/// Two spaces, a newline at the end.
pub fn write(path: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::Argument(e.to_string()))?;
    text.push('\n');
    super::files::write_file(path, text.as_bytes())
}

/// The same object with sorted keys, as Python writes adapter configs.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        other => other.clone(),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    unique_keys: bool,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            if self.unique_keys && object.contains_key(&key) {
                return Err(serde::de::Error::custom(format!("duplicate key {:?}", crate::error::printable(&key, 80))));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn duplicate_keys_and_trailing_text_are_refused() {
        assert!(super::parse(br#"{"a": {"b": 1, "b": 2}}"#).unwrap_err().contains("duplicate key"));
        assert!(super::parse(b"{} x").is_err());
        assert_eq!(super::parse(br#"{"a": [1, null, true]}"#).unwrap()["a"][0], 1);
    }
}
