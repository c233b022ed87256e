//! Flags, numbers, texts, what may be absent, and lists.

use super::field_type::FieldType;
use serde_json::Value as Json;
use swift_tuners_nn::module::Position;

impl FieldType for bool {
    const WANTED: &'static str = "true or false";
    fn typescript() -> String {
        "boolean".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_bool()
    }
    fn json(&self) -> Json {
        (*self).into()
    }
}

impl FieldType for usize {
    const WANTED: &'static str = "an integer from 0 to 1048576";
    fn typescript() -> String {
        "number".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_u64().filter(|n| *n <= 1 << 20).map(|n| n as usize)
    }
    fn json(&self) -> Json {
        (*self).into()
    }
}

impl FieldType for u64 {
    const WANTED: &'static str = "a non-negative integer";
    fn typescript() -> String {
        "number".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_u64()
    }
    fn json(&self) -> Json {
        (*self).into()
    }
}

impl FieldType for i64 {
    const WANTED: &'static str = "an integer";
    fn typescript() -> String {
        "number".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_i64()
    }
    fn json(&self) -> Json {
        (*self).into()
    }
}

impl FieldType for f64 {
    const WANTED: &'static str = "a number";
    fn typescript() -> String {
        "number".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_f64().filter(|x| x.is_finite())
    }
    fn json(&self) -> Json {
        (*self).into()
    }
}

impl FieldType for String {
    const WANTED: &'static str = "a string";
    fn typescript() -> String {
        "string".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn json(&self) -> Json {
        self.as_str().into()
    }
}

/// Any value; what it has to be is checked elsewhere.
impl FieldType for Json {
    const WANTED: &'static str = "a value";
    fn typescript() -> String {
        "unknown".into()
    }
    fn of(value: &Json) -> Option<Self> {
        Some(value.clone())
    }
    fn json(&self) -> Json {
        self.clone()
    }
}

impl<T: FieldType> FieldType for Option<T> {
    const WANTED: &'static str = T::WANTED;
    fn typescript() -> String {
        format!("{} | null", T::typescript())
    }
    fn of(value: &Json) -> Option<Self> {
        if value.is_null() {
            return Some(None);
        }
        T::of(value).map(Some)
    }
    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::json)
    }
}

impl<T: FieldType> FieldType for Vec<T> {
    const WANTED: &'static str = "a list";
    fn typescript() -> String {
        format!("{}[]", parenthesised(&T::typescript()))
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_array()?.iter().map(T::of).collect()
    }
    fn json(&self) -> Json {
        self.iter().map(T::json).collect()
    }
}

pub(super) fn parenthesised(typescript: &str) -> String {
    if typescript.contains(' ') {
        format!("({typescript})")
    } else {
        typescript.to_owned()
    }
}

impl FieldType for Position {
    const WANTED: &'static str = "an index or a name";
    fn typescript() -> String {
        "number | string".into()
    }
    fn of(value: &Json) -> Option<Self> {
        match value {
            Json::String(name) => Some(Self::Name(name.clone())),
            _ => value.as_u64().filter(|n| *n < 1 << 16).map(|n| Self::Index(n as usize)),
        }
    }
    fn json(&self) -> Json {
        match self {
            Self::Index(i) => (*i).into(),
            Self::Name(name) => name.as_str().into(),
        }
    }
}
