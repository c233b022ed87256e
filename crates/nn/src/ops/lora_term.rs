//! Low-rank updates of a dense layer.

use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use std::ops::Range;

/// One adapter's update `scaling · B A`, with `a [r, in]` and `b [out, r]`.
#[derive(Clone)]
pub struct LoraTerm {
    pub a: Tensor,
    pub b: Tensor,
    pub scaling: f64,
    /// The rows of `x`, all dimensions but the last taken together, that get this update, ascending and
    /// without overlap; absent: all of them.
    pub rows: Option<Vec<Range<usize>>>,
}

impl LoraTerm {
    pub fn new(a: Tensor, b: Tensor, scaling: f64) -> Self {
        Self { a, b, scaling, rows: None }
    }

    pub(super) fn segments(&self, rows: usize) -> Vec<Range<usize>> {
        match &self.rows {
            Some(segments) => segments.iter().filter(|s| !s.is_empty()).cloned().collect(),
            None => std::iter::once(0..rows).collect(),
        }
    }
}

/// The rank of the factors `a [r, in]` and `b [out, r]`.
pub(super) fn rank(a: &Array, b: &Array, inp: usize, out: usize) -> Result<usize> {
    let r = a.dims().first().copied().unwrap_or(0);
    if a.dims() != [r, inp] || b.dims() != [out, r] {
        return Err(Error::Shape {
            path: "lora_A / lora_B".into(),
            expected: vec![r, inp, out, r],
            actual: [a.dims(), b.dims()].concat(),
        });
    }
    Ok(r)
}
