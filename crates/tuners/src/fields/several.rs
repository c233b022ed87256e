//! Values that may be one or several: names, numbers, sizes of places, patterns.

use super::field_type::FieldType;
use super::scalar::parenthesised;
use serde_json::Value as Json;
use swift_tuners_nn::{Error, Result};

/// Names of modules: a list, or one string, which is a pattern or a keyword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    Text(String),
    List(Vec<String>),
}

impl FieldType for Names {
    const WANTED: &'static str = "a string or a list of strings";
    fn typescript() -> String {
        "string[] | string".into()
    }
    fn of(value: &Json) -> Option<Self> {
        String::of(value).map(Self::Text).or_else(|| Vec::of(value).map(Self::List))
    }
    fn json(&self) -> Json {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::List(list) => list.json(),
        }
    }
}

/// One value, or several.
#[derive(Clone, Debug, PartialEq)]
pub enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T: FieldType> FieldType for OneOrMore<T> {
    const WANTED: &'static str = T::WANTED;
    fn typescript() -> String {
        format!("{0} | {1}[]", T::typescript(), parenthesised(&T::typescript()))
    }
    fn of(value: &Json) -> Option<Self> {
        T::of(value).map(Self::One).or_else(|| Vec::of(value).map(Self::More))
    }
    fn json(&self) -> Json {
        match self {
            Self::One(one) => one.json(),
            Self::More(more) => more.json(),
        }
    }
}

/// Positive integers, one for all places or one for each.
#[derive(Clone, Debug)]
pub struct Sizes(OneOrMore<usize>);

impl FieldType for Sizes {
    const WANTED: &'static str = "positive integers";
    fn typescript() -> String {
        OneOrMore::<usize>::typescript()
    }
    fn of(value: &Json) -> Option<Self> {
        let sizes = OneOrMore::of(value)?;
        let all = match &sizes {
            OneOrMore::One(n) => std::slice::from_ref(n),
            OneOrMore::More(list) => list,
        };
        all.iter().all(|n: &usize| *n > 0).then_some(Self(sizes))
    }
    fn json(&self) -> Json {
        self.0.json()
    }
}

impl Sizes {
    /// Fails unless a list has one size for each of `places`.
    pub fn check_count(&self, name: &str, places: usize) -> Result<()> {
        match &self.0 {
            OneOrMore::More(list) if list.len() != places => {
                Err(Error::config(name, format!("{} sizes for {places} places", list.len())))
            }
            _ => Ok(()),
        }
    }

    /// The size of place `index`.
    pub fn at(&self, name: &str, index: usize) -> Result<usize> {
        match &self.0 {
            OneOrMore::One(n) => Ok(*n),
            OneOrMore::More(list) => list.get(index).copied().ok_or_else(|| {
                Error::config(name, format!("{} sizes are fewer than the places that match", list.len()))
            }),
        }
    }
}

/// Pattern → value, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patterns<T>(pub Vec<(String, T)>);

impl<T: FieldType> FieldType for Patterns<T> {
    const WANTED: &'static str = "an object of patterns and numbers";
    fn typescript() -> String {
        format!("Record<string, {}>", T::typescript())
    }
    fn of(value: &Json) -> Option<Self> {
        if value.is_null() {
            return Some(Self(Vec::new()));
        }
        value.as_object()?.iter().map(|(k, v)| Some((k.clone(), T::of(v)?))).collect::<Option<_>>().map(Self)
    }
    fn json(&self) -> Json {
        Json::Object(self.0.iter().map(|(k, v)| (k.clone(), v.json())).collect())
    }
}
