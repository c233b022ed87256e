//! The weights that tuners and merging work on, and how they read as matrices.

use crate::ops::{compute_dtype, Conv2dShape, WeightLayout};
use crate::param::Param;
use crate::tensor::Array;
use crate::Result;

/// What a layer multiplies by.
#[derive(Clone, Copy)]
pub enum Weights<'a> {
    Linear {
        weight: &'a Param,
        bias: Option<&'a Param>,
        layout: WeightLayout,
    },
    Embedding {
        weight: &'a Param,
        /// What the rows are multiplied by as they are looked up (Gemma's square root of the width).
        scale: f64,
    },
    /// `weight [out, in / groups, height, width]`
    Conv2d {
        weight: &'a Param,
        bias: Option<&'a Param>,
        shape: Conv2dShape,
    },
}

impl<'a> Weights<'a> {
    pub fn weight(&self) -> &'a Param {
        match self {
            Self::Linear { weight, .. } | Self::Embedding { weight, .. } | Self::Conv2d { weight, .. } => weight,
        }
    }

    pub fn bias(&self) -> Option<&'a Param> {
        match self {
            Self::Linear { bias, .. } | Self::Conv2d { bias, .. } => *bias,
            Self::Embedding { .. } => None,
        }
    }

    /// The same layer over other values.
    pub(super) fn with(self, values: &'a Param, biases: Option<&'a Param>) -> Self {
        match self {
            Self::Linear { layout, .. } => Self::Linear { weight: values, bias: biases, layout },
            Self::Embedding { scale, .. } => Self::Embedding { weight: values, scale },
            Self::Conv2d { shape, .. } => Self::Conv2d { weight: values, bias: biases, shape },
        }
    }

    pub fn kind(&self) -> WeightKind {
        match self {
            Self::Linear { layout, .. } => WeightKind::Linear { transposed: *layout == WeightLayout::InOut },
            Self::Embedding { .. } => WeightKind::Embedding,
            Self::Conv2d { shape, .. } => WeightKind::Conv2d(*shape),
        }
    }

    /// The weight as a matrix `[out, in]` in f32 or wider.
    pub fn matrix(&self) -> Result<Array> {
        self.kind().matrix(&self.weight().array()?)
    }
}

/// What a layer is, and with it how its weight reads as a matrix `[out, in]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightKind {
    Linear {
        /// The weight lies `[in, out]`.
        transposed: bool,
    },
    /// Counts as `[width, vocabulary]`.
    Embedding,
    /// A patch of the image counts as one input.
    Conv2d(Conv2dShape),
}

impl WeightKind {
    /// Outputs and inputs of a weight of this shape, as [`WeightKind::matrix`] has them.
    pub fn sizes(self, shape: &[usize]) -> (usize, usize) {
        let first = shape.first().copied().unwrap_or(0);
        let rest = shape.iter().skip(1).product();
        if self.flips() {
            (rest, first)
        } else {
            (first, rest)
        }
    }

    fn flips(self) -> bool {
        matches!(self, Self::Linear { transposed: true } | Self::Embedding)
    }

    /// A weight as it lies → `[out, in]` in f32 or wider.
    pub fn matrix(self, weight: &Array) -> Result<Array> {
        let wide = weight.to_dtype(compute_dtype(weight.dtype()))?;
        Ok(if self.flips() { wide.t()?.contiguous()? } else { wide.flatten_from(1)? })
    }

    /// A matrix `[out, in]` → the weight as it lies, of this shape.
    pub fn weight(self, matrix: &Array, shape: &[usize]) -> Result<Array> {
        Ok(if self.flips() { matrix.t()?.contiguous()? } else { matrix.reshape(shape)? })
    }
}
