//! Fields of configurations, each declared once: its name in Python, type, default, range and what it means.
//!
//! From the declaration come the typed value, the checks, the defaults in JSON and the TypeScript class.

use crate::config::TunerConfig;
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::Position;
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
}

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

fn parenthesised(typescript: &str) -> String {
    if typescript.contains(' ') {
        format!("({typescript})")
    } else {
        typescript.to_owned()
    }
}

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

/// Declares a configuration:
///
/// ```ignore
/// config! {
///     /// What the kind of tuner does.
///     pub struct HraConfig {
///         standard: [target_modules, exclude_modules, bias];
///         /// What the field means.
///         r: usize = 8, in 1..;
///         /// A field whose name in Python is no Rust name.
///         apply_gs as "apply_GS": bool = false;
///     }
/// }
/// ```
///
/// `standard` lists fields of [`crate::standard`] that the class has, too.
#[macro_export]
macro_rules! config {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@default $type:ty) => { serde_json::Value::Null };
    (@default $type:ty, $default:expr) => {{
        let default: $type = $default;
        $crate::fields::FieldType::json(&default)
    }};
    (
        $(#[$about:meta])*
        $vis:vis struct $config:ident {
            standard: [$($standard:ident),* $(,)?];
            $(.. $part:ident : $part_type:ty;)*
            $(
                $(#[doc = $doc:literal])*
                $field:ident $(as $name:literal)? : $type:ty $(= $default:expr)? $(, in $range:expr)?;
            )*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        #[allow(dead_code)] // some fields say only how Python wraps a model
        $vis struct $config {
            $( pub $part: $part_type, )*
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl $crate::fields::Fields for $config {
            fn declared() -> Vec<$crate::fields::Declared> {
                #[allow(unused_mut)]
                let mut out = $crate::standard::declared(&[$(stringify!($standard)),*]);
                $(out.extend(<$part_type as $crate::fields::Fields>::declared());)*
                $(
                    let name = $crate::config!(@name $field $($name)?);
                    out.retain(|d| d.name != name); // its own declaration of a standard field
                    out.push($crate::fields::Declared {
                        name,
                        doc: $crate::fields::doc(&[$($doc),*]),
                        typescript: <$type as $crate::fields::FieldType>::typescript(),
                        default: $crate::config!(@default $type $(, $default)?),
                        required: <$type as $crate::fields::FieldType>::REQUIRED,
                    });
                )*
                out
            }

            fn read(config: &$crate::config::TunerConfig) -> swift_tuners_nn::Result<Self> {
                $crate::standard::check(config, &[$(stringify!($standard)),*])?;
                $(let $part = <$part_type as $crate::fields::Fields>::read(config)?;)*
                $(
                    let $field: $type = {
                        let name = $crate::config!(@name $field $($name)?);
                        let value = config.fields.get(name).unwrap_or(&serde_json::Value::Null);
                        let value = <$type as $crate::fields::FieldType>::read(name, value)?;
                        $($crate::fields::check_range(name, &value, &($range))?;)?
                        value
                    };
                )*
                Ok(Self { $($part,)* $($field),* })
            }
        }
    };
}

/// Declares an enum of words: `words! { Act { Gelu = "gelu", Relu = "relu" } }`.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$variant_doc])* $variant),* }

        impl $crate::fields::FieldType for $name {
            const WANTED: &'static str = concat!("one of ", $("\"", $word, "\" ",)* "as a string");
            fn typescript() -> String {
                [$(concat!("'", $word, "'")),*].join(" | ")
            }
            fn of(value: &serde_json::Value) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
            fn json(&self) -> serde_json::Value {
                match self {
                    $(Self::$variant => $word.into()),*
                }
            }
        }
    };
}
