//! Weight matrices as products read them.

use crate::quantized::Packed;
use crate::tensor::Tensor;
use crate::Result;
use candle_core::DType;
use std::sync::Arc;

/// How a weight matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `torch.nn.Linear`: `[out, in]`.
    OutIn,
    /// GPT-2's `Conv1D`: `[in, out]`.
    InOut,
}

impl WeightLayout {
    pub(super) fn sizes(self, dims: &[usize]) -> (usize, usize) {
        match (self, dims) {
            (Self::OutIn, &[out, inp]) => (inp, out),
            (Self::InOut, &[inp, out]) => (inp, out),
            _ => (0, 0),
        }
    }

    /// How the same memory reads as the transposed matrix.
    pub(super) fn t(self) -> Self {
        match self {
            Self::OutIn => Self::InOut,
            Self::InOut => Self::OutIn,
        }
    }
}

/// A weight matrix as products read it.
#[derive(Clone, Debug)]
pub enum Weight {
    Dense(Tensor),
    /// Frozen, in a few bits per value.
    Packed(Arc<Packed>),
}

impl Weight {
    pub(crate) fn dims(&self) -> Vec<usize> {
        match self {
            Self::Dense(w) => w.dims().to_vec(),
            Self::Packed(w) => w.shape().to_vec(),
        }
    }

    pub fn dtype(&self) -> DType {
        match self {
            Self::Dense(w) => w.dtype(),
            Self::Packed(w) => w.dtype(),
        }
    }

    /// The whole matrix, decoded.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Dense(w) => Ok(w.clone()),
            Self::Packed(w) => Ok(w.array()?.into()),
        }
    }

    pub(super) fn tracked(&self) -> Option<&Tensor> {
        match self {
            Self::Dense(w) => Some(w),
            Self::Packed(_) => None,
        }
    }
}

impl From<Tensor> for Weight {
    fn from(w: Tensor) -> Self {
        Self::Dense(w)
    }
}

/// A layer that updates are added to.
pub type Base<'a> = (&'a Weight, Option<&'a Tensor>, WeightLayout);
