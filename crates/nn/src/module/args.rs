//! The arguments of a call.

use super::value::{Ints, Position, Value};
use crate::ops::Mask;
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::ops::Range;

/// The arguments of a call, positional and named.
#[derive(Clone, Debug, Default)]
pub struct Args {
    pub positional: Vec<Value>,
    pub named: Vec<(&'static str, Value)>,
}

impl Args {
    pub fn one(x: Tensor) -> Self {
        Self { positional: vec![x.into()], named: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.named.push((name, value.into()));
        self
    }

    /// By position or by name, as Python binds arguments.
    pub fn get(&self, position: usize, name: &str) -> &Value {
        if let Some(value) = self.positional.get(position) {
            return value;
        }
        self.named(name)
    }

    pub fn named(&self, name: &str) -> &Value {
        self.named.iter().find(|(n, _)| *n == name).map_or(&Value::None, |(_, v)| v)
    }

    /// Whether something is given under a name, a `None` included.
    pub fn has(&self, name: &str) -> bool {
        self.named.iter().any(|(n, _)| *n == name)
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let values = self.positional.iter().chain(self.named.iter().map(|(_, v)| v));
        values.filter_map(|v| if let Value::Tensor(t) = v { Some(t) } else { None })
    }

    pub(super) fn map_tensors(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        let mut one = |v: &Value| match v {
            Value::Tensor(t) => Value::Tensor(f(t)),
            other => other.clone(),
        };
        Self {
            positional: self.positional.iter().map(&mut one).collect(),
            named: self.named.iter().map(|(n, v)| (*n, one(v))).collect(),
        }
    }

    /// The same call for some rows of the batch: tensors and integers of `batch` rows are cut, the rest stays.
    pub fn narrow_rows(&self, batch: usize, rows: &Range<usize>) -> Result<Self> {
        let one = |v: &Value| {
            Ok(match v {
                Value::Tensor(t) if t.dims().first() == Some(&batch) => {
                    Value::Tensor(t.narrow(0, rows.start, rows.len())?)
                }
                Value::Ints(i) if i.shape.first() == Some(&batch) => {
                    let width = i.data.len() / batch.max(1);
                    let mut shape = i.shape.clone();
                    shape[0] = rows.len();
                    Value::Ints(Ints::new(shape, i.data[rows.start * width..rows.end * width].to_vec())?)
                }
                other => other.clone(),
            })
        };
        Ok(Self {
            positional: self.positional.iter().map(one).collect::<Result<_>>()?,
            named: self.named.iter().map(|(n, v)| Ok((*n, one(v)?))).collect::<Result<_>>()?,
        })
    }

    pub(super) fn detached(&self) -> Self {
        self.map_tensors(&mut Tensor::detach)
    }

    /// The value at a position or under a name, to change it.
    pub fn get_mut(&mut self, at: &Position) -> Result<&mut Value> {
        let missing = || Error::Argument(format!("the module is not called with an argument {at}"));
        match at {
            Position::Index(i) => self.positional.get_mut(*i).ok_or_else(missing),
            Position::Name(name) => self.named.iter_mut().find(|(n, _)| n == name).map(|(_, v)| v).ok_or_else(missing),
        }
    }

    pub fn tensor(&self, position: usize, name: &str) -> Result<&Tensor> {
        match self.get(position, name) {
            Value::Tensor(t) => Ok(t),
            other => Err(Error::Argument(format!("{name}: expected a tensor, found {}", other.kind()))),
        }
    }

    pub fn ints(&self, name: &str) -> Option<&Ints> {
        match self.named(name) {
            Value::Ints(i) => Some(i),
            _ => None,
        }
    }

    pub fn optional_tensor(&self, name: &str) -> Option<&Tensor> {
        match self.named(name) {
            Value::Tensor(t) => Some(t),
            _ => None,
        }
    }

    pub fn mask(&self, position: usize, name: &str) -> Mask {
        match self.get(position, name) {
            Value::Mask(m) => m.clone(),
            _ => Mask::default(),
        }
    }
}
