//! Sums, means, maxima and softmax along axes.

use super::shape::axis;
use super::Tensor;
use crate::array::Array;
use crate::{Error, Result};

impl Tensor {
    fn axes(&self, dims: Option<&[isize]>) -> Result<Vec<usize>> {
        let mut axes = match dims {
            None => (0..self.rank()).collect(),
            Some(dims) => dims.iter().map(|&d| axis(self.rank(), d)).collect::<Result<Vec<_>>>()?,
        };
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    /// Sum over `dims` (all of them when absent).
    pub fn sum(&self, dims: Option<&[isize]>, keep_dim: bool) -> Result<Self> {
        let axes = self.axes(dims)?;
        let kept = if axes.is_empty() { self.data.clone() } else { self.data.sum_keepdim(axes.clone())? };
        let before = self.dims().to_vec();
        let kept_shape = kept.dims().to_vec();
        let y = if keep_dim {
            kept
        } else {
            let shape: Vec<usize> = (0..self.rank()).filter(|i| !axes.contains(i)).map(|i| self.dim(i)).collect();
            kept.reshape(shape)?
        };
        Ok(Self::from_op(y, &[self], move |g| {
            Ok(vec![Some(g.reshape(kept_shape)?.broadcast_as(before)?.contiguous()?)])
        }))
    }

    pub fn mean(&self, dims: Option<&[isize]>, keep_dim: bool) -> Result<Self> {
        let count: usize = self.axes(dims)?.iter().map(|&i| self.dim(i)).product();
        if count == 0 {
            return Err(Error::Argument("mean of no elements".into()));
        }
        self.sum(dims, keep_dim)?.affine(1. / count as f64, 0.)
    }

    /// Largest value along `dim`; the gradient goes to the first of equal ones.
    pub fn max(&self, dim: isize, keep_dim: bool) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let index = self.data.contiguous()?.argmax_keepdim(at)?;
        let y = self.gather(&index, at as isize)?;
        if keep_dim {
            Ok(y)
        } else {
            y.squeeze(at as isize)
        }
    }

    pub fn argmax(&self, dim: isize) -> Result<Array> {
        Ok(self.data.contiguous()?.argmax(axis(self.rank(), dim)?)?)
    }

    pub fn softmax(&self, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let shifted = self.data.broadcast_sub(&self.data.max_keepdim(at)?)?.exp()?;
        let y = shifted.broadcast_div(&shifted.sum_keepdim(at)?)?;
        let saved = y.clone();
        Ok(Self::from_op(y, &[self], move |g| {
            let inner = g.mul(&saved)?;
            Ok(vec![Some((&inner - saved.broadcast_mul(&inner.sum_keepdim(at)?)?)?)])
        }))
    }

    pub fn log_softmax(&self, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let shifted = self.data.broadcast_sub(&self.data.max_keepdim(at)?)?;
        let y = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(at)?.log()?)?;
        let saved = y.clone();
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some((g - saved.exp()?.broadcast_mul(&g.sum_keepdim(at)?)?)?)])))
    }
}
