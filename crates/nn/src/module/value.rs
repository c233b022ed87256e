//! What goes into and comes out of calls.

use crate::ops::{Mask, RopeTable};
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::sync::Arc;

/// Integers that stay on the host: token ids, labels, positions, masks.
#[derive(Clone, Debug, PartialEq)]
pub struct Ints {
    pub shape: Vec<usize>,
    pub data: Arc<Vec<i64>>,
}

impl Ints {
    pub fn new(shape: Vec<usize>, data: Vec<i64>) -> Result<Self> {
        if shape.iter().product::<usize>() != data.len() {
            return Err(Error::Shape { path: "integers".into(), expected: shape, actual: vec![data.len()] });
        }
        Ok(Self { shape, data: Arc::new(data) })
    }
}

/// What goes into and comes out of a call, as Python would pass it.
#[derive(Clone, Debug)]
pub enum Value {
    None,
    Number(f64),
    Tensor(Tensor),
    Ints(Ints),
    Mask(Mask),
    Rope(RopeValue),
    Tuple(Vec<Value>),
    /// A `ModelOutput`: named fields in order.
    Map(Vec<(&'static str, Value)>),
}

/// The rotary tables of a pass (Python's `position_embeddings`).
#[derive(Clone)]
pub struct RopeValue(pub Arc<RopeTable>);

impl std::fmt::Debug for RopeValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RopeTable")
    }
}

impl From<Tensor> for Value {
    fn from(t: Tensor) -> Self {
        Self::Tensor(t)
    }
}

impl Value {
    /// The tensor itself, or the first element of a tuple or a model output.
    pub fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(t) => Ok(t),
            Self::Tuple(items) => match items.into_iter().next() {
                Some(first) => first.into_tensor(),
                None => Err(Error::Argument("expected a tensor, found an empty tuple".into())),
            },
            Self::Map(fields) => match fields.into_iter().next() {
                Some((_, first)) => first.into_tensor(),
                None => Err(Error::Argument("expected a tensor, found an empty model output".into())),
            },
            other => Err(Error::Argument(format!("expected a tensor, found {}", other.kind()))),
        }
    }

    /// What this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Number(_) => "a number",
            Self::Tensor(_) => "a tensor",
            Self::Ints(_) => "integers",
            Self::Mask(_) => "a mask",
            Self::Rope(_) => "rotary tables",
            Self::Tuple(_) => "a tuple",
            Self::Map(_) => "a model output",
        }
    }

    /// The element of a tuple or model output, to change it; a lone tensor is its own element, whatever `at` says.
    pub fn element_mut(&mut self, at: &Option<Position>) -> Result<&mut Tensor> {
        let kind = self.kind();
        let missing = || match at {
            Some(at) => Error::Argument(format!("the module's output ({kind}) has no tensor {at}")),
            None => Error::Argument(format!("the module's output is {kind}, so a position in it must be given")),
        };
        let found = match (self, at) {
            (Self::Tensor(t), _) => return Ok(t),
            (Self::Tuple(items), Some(Position::Index(i))) => items.get_mut(*i),
            (Self::Map(fields), Some(Position::Index(i))) => fields.get_mut(*i).map(|(_, v)| v),
            (Self::Map(fields), Some(Position::Name(name))) => {
                fields.iter_mut().find(|(n, _)| n == name).map(|(_, v)| v)
            }
            _ => None,
        };
        match found {
            Some(Self::Tensor(t)) => Ok(t),
            _ => Err(missing()),
        }
    }

    /// Every tensor in it.
    pub fn each_tensor(&self, f: &mut dyn FnMut(&Tensor)) {
        match self {
            Self::Tensor(t) => f(t),
            Self::Tuple(items) => items.iter().for_each(|v| v.each_tensor(f)),
            Self::Map(fields) => fields.iter().for_each(|(_, v)| v.each_tensor(f)),
            _ => {}
        }
    }

    /// The same with other tensors.
    pub fn map_all(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        match self {
            Self::Tensor(t) => Self::Tensor(f(t)),
            Self::Tuple(items) => Self::Tuple(items.iter().map(|v| v.map_all(f)).collect()),
            Self::Map(fields) => Self::Map(fields.iter().map(|(n, v)| (*n, v.map_all(f))).collect()),
            other => other.clone(),
        }
    }

    /// Whether both are one value: tensors by where they are.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::Tensor(a), Self::Tensor(b)) => a.data().id() == b.data().id(),
            (Self::Ints(a), Self::Ints(b)) => a == b,
            (Self::Tuple(a), Self::Tuple(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b)),
            (Self::Map(a), Self::Map(b)) => a.len() == b.len() && a.iter().zip(b).all(|((_, a), (_, b))| a.is(b)),
            _ => false,
        }
    }

    /// A field of a model output.
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(fields) => fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// Where a configuration finds a tensor among arguments or outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    Index(usize),
    Name(String),
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(i) => write!(f, "at position {i}"),
            Self::Name(name) => write!(f, "called {name:?}"),
        }
    }
}
