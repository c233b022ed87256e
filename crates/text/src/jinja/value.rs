//! What a template computes with.

use super::limits::{self, Weight, NESTING};
use super::object::Object;
use super::text::Text;
use crate::error::{Error, Kind, Result};
use indexmap::IndexMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

#[derive(Clone)]
pub enum Value {
    Undefined(Rc<Missing>),
    None,
    Bool(bool),
    /// Python's integers are unbounded; what does not fit here is an error.
    Int(i128),
    Float(f64),
    Str(Rc<Text>),
    List(Rc<Seq>),
    Tuple(Rc<Seq>),
    Dict(Rc<Dict>),
    Object(Rc<Object>),
}

/// Why there is no value: what using it says.
#[derive(Debug, Clone)]
pub struct Missing {
    pub message: String,
    pub kind: Kind,
}

/// Elements of a list or a tuple; nothing changes them.
pub struct Seq {
    pub items: Vec<Value>,
    depth: u16,
    _weight: Weight,
}

/// A dictionary in order of insertion; nothing changes it.
pub struct Dict {
    pub map: IndexMap<Key, Value>,
    depth: u16,
    _weight: Weight,
}

/// A value that may be a key. Numbers of the same value are the same key.
#[derive(Clone)]
pub struct Key(Value);

/// A text as a key, without a copy of it.
struct TextKey<'a>(&'a str);

impl Key {
    pub fn new(value: Value) -> Result<Self> {
        match &value {
            Value::List(_) | Value::Dict(_) => Err(Error::typed(format!("unhashable type: '{}'", value.type_name()))),
            Value::Tuple(items) => {
                for item in &items.items {
                    Self::new(item.clone())?;
                }
                Ok(Self(value))
            }
            _ => Ok(Self(value)),
        }
    }

    pub fn value(&self) -> &Value {
        &self.0
    }
}

fn hash_value<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        Value::Undefined(_) | Value::None => 0u8.hash(state),
        Value::Bool(b) => i128::from(*b).hash(state),
        Value::Int(i) => i.hash(state),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 1e30 => (*f as i128).hash(state),
        Value::Float(f) => f.to_bits().hash(state),
        Value::Str(s) => s.text.hash(state),
        Value::Tuple(items) => items.items.iter().for_each(|v| hash_value(v, state)),
        Value::List(_) | Value::Dict(_) => {}
        Value::Object(o) => Rc::as_ptr(o).hash(state),
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_value(&self.0, state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        super::compare::same(&self.0, &other.0)
    }
}

impl Eq for Key {}

impl Hash for TextKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl indexmap::Equivalent<Key> for TextKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        matches!(&key.0, Value::Str(s) if s.text == self.0)
    }
}

/// One level more than the deepest of these, if that may be.
fn deeper<'a>(items: impl Iterator<Item = &'a Value>) -> Result<u16> {
    let depth = items.map(Value::depth).max().unwrap_or(0);
    if depth >= NESTING {
        return Err(Error::new(Kind::Limit, "values are nested too deeply"));
    }
    Ok(depth + 1)
}

impl Dict {
    /// How deep values inside are nested.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(&TextKey(key))
    }
}

impl Value {
    pub fn str(text: impl Into<String>) -> Result<Self> {
        Ok(Self::Str(Text::new(text.into())?))
    }

    pub fn list(items: Vec<Value>) -> Result<Self> {
        Ok(Self::List(Self::seq(items)?))
    }

    pub fn tuple(items: Vec<Value>) -> Result<Self> {
        Ok(Self::Tuple(Self::seq(items)?))
    }

    fn seq(items: Vec<Value>) -> Result<Rc<Seq>> {
        limits::step(items.len() / 4 + 1)?;
        let weight = Weight::new(64 + 32 * items.len())?;
        Ok(Rc::new(Seq { depth: deeper(items.iter())?, items, _weight: weight }))
    }

    pub fn dict(map: IndexMap<Key, Value>) -> Result<Self> {
        limits::step(map.len() / 2 + 1)?;
        let weight = Weight::new(64 + 96 * map.len())?;
        let depth = deeper(map.iter().flat_map(|(k, v)| [k.value(), v]))?;
        Ok(Self::Dict(Rc::new(Dict { map, depth, _weight: weight })))
    }

    pub fn object(object: Object) -> Self {
        Self::Object(Rc::new(object))
    }

    pub fn undefined(message: impl Into<String>) -> Self {
        Self::Undefined(Rc::new(Missing { message: message.into(), kind: Kind::Undefined }))
    }

    /// What the sandbox does not give: nothing, until it is used.
    pub fn unsafe_attribute(&self, name: &str) -> Self {
        let message = format!("access to attribute '{name}' of '{}' object is unsafe.", self.type_name());
        Self::Undefined(Rc::new(Missing { message, kind: Kind::Security }))
    }

    pub fn depth(&self) -> u16 {
        match self {
            Self::List(s) | Self::Tuple(s) => s.depth,
            Self::Dict(d) => d.depth,
            Self::Object(o) => o.depth(),
            _ => 0,
        }
    }

    /// The depth of something that holds these.
    pub fn depth_over(items: &[Value]) -> Result<u16> {
        deeper(items.iter())
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    /// An error, if this is not there.
    pub fn defined(&self) -> Result<&Self> {
        match self {
            Self::Undefined(missing) => Err(Error::new(missing.kind, missing.message.clone())),
            value => Ok(value),
        }
    }

    /// Python's truth.
    pub fn truth(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(i) => *i != 0,
            Self::Float(f) => *f != 0.0,
            Self::Str(s) => !s.text.is_empty(),
            Self::List(s) | Self::Tuple(s) => !s.items.is_empty(),
            Self::Dict(d) => !d.map.is_empty(),
            Self::Object(o) => o.length() != Some(0),
        }
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Object(o) => o.type_name(),
        }
    }

    /// A whole number; `True` is 1.
    pub fn int(&self) -> Option<i128> {
        match self {
            Self::Int(i) => Some(*i),
            Self::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    /// A number as a float.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Float(f) => Some(*f),
            other => other.int().map(|i| i as f64),
        }
    }

    /// `len()`.
    pub fn length(&self) -> Result<usize> {
        Ok(match self {
            Self::Undefined(_) => 0,
            Self::Str(s) => {
                limits::bytes(s.len())?;
                s.chars().count()
            }
            Self::List(s) | Self::Tuple(s) => s.items.len(),
            Self::Dict(d) => d.map.len(),
            Self::Object(o) if o.length().is_some() => o.length().unwrap_or(0),
            other => return Err(Error::typed(format!("object of type '{}' has no len()", other.type_name()))),
        })
    }

    /// What a loop over this gives.
    pub fn iterate(&self) -> Result<Vec<Value>> {
        Ok(match self {
            Self::Undefined(_) => Vec::new(),
            Self::Str(s) => {
                limits::step(s.len())?;
                let _room = Weight::new(s.len() * 96)?;
                s.char_indices().map(|(at, c)| Ok(Self::Str(s.part(at, at + c.len_utf8())?))).collect::<Result<_>>()?
            }
            Self::List(s) | Self::Tuple(s) => {
                limits::step(s.items.len() / 4)?;
                s.items.clone()
            }
            Self::Dict(d) => {
                limits::step(d.map.len() / 4)?;
                d.map.keys().map(|k| k.value().clone()).collect()
            }
            Self::Object(o) => match o.iterate()? {
                Some(items) => items,
                None => return Err(Error::typed(format!("'{}' object is not iterable", self.type_name()))),
            },
            other => return Err(Error::typed(format!("'{}' object is not iterable", other.type_name()))),
        })
    }

    /// The same, with what comes before an error of a generator.
    pub fn iterate_partly(&self) -> Result<(Vec<Value>, Option<Error>)> {
        match self {
            Self::Object(o) => match &**o {
                Object::Iterator(i) => Ok(i.drain()),
                _ => Ok((self.iterate()?, None)),
            },
            _ => Ok((self.iterate()?, None)),
        }
    }
}
