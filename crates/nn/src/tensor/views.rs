//! Other shapes of the same elements.

use super::shape::{axis, reduce_to};
use super::Tensor;
use crate::{Error, Result};
use candle_core::Shape;

impl Tensor {
    pub fn transpose(&self, d0: isize, d1: isize) -> Result<Self> {
        let (d0, d1) = (axis(self.rank(), d0)?, axis(self.rank(), d1)?);
        let y = self.data.transpose(d0, d1)?;
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.transpose(d0, d1)?)])))
    }

    pub fn permute(&self, dims: &[usize]) -> Result<Self> {
        let y = self.data.permute(dims)?;
        let mut inverse = vec![0; dims.len()];
        dims.iter().enumerate().for_each(|(i, &d)| inverse[d] = i);
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.permute(inverse)?)])))
    }

    pub fn contiguous(&self) -> Result<Self> {
        let y = self.data.contiguous()?;
        Ok(Self::from_op(y, &[self], |g| Ok(vec![Some(g.clone())])))
    }

    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape: Shape = shape.into();
        let y = self.data.reshape(shape)?;
        let before = self.data.shape().clone();
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.reshape(before)?)])))
    }

    pub fn unsqueeze(&self, dim: isize) -> Result<Self> {
        let at = axis(self.rank() + 1, dim)?;
        let mut shape = self.dims().to_vec();
        shape.insert(at, 1);
        self.reshape(shape)
    }

    /// Drops `dim` when its size is 1; otherwise returns the tensor as it is, as PyTorch does.
    pub fn squeeze(&self, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        if self.dim(at) != 1 {
            return Ok(self.clone());
        }
        let mut shape = self.dims().to_vec();
        shape.remove(at);
        self.reshape(shape)
    }

    pub fn narrow(&self, dim: isize, start: usize, length: usize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let size = self.dim(at);
        if start.checked_add(length).is_none_or(|end| end > size) {
            return Err(Error::Argument(format!(
                "narrow: {start} + {length} is past the end of dimension {at}, which has {size}"
            )));
        }
        let y = self.data.narrow(at, start, length)?;
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.pad_with_zeros(at, start, size - start - length)?)])))
    }

    /// Repeats size-1 dimensions (and adds leading ones) up to `shape`.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Self> {
        let y = self.data.broadcast_as(shape)?;
        let before = self.dims().to_vec();
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(reduce_to(g.clone(), &before)?)])))
    }

    /// Moves everything by `by` places along `dim`, what falls off one end coming in at the other (`torch.roll`).
    pub fn roll(&self, by: isize, dim: isize) -> Result<Self> {
        let size = self.dim(axis(self.rank(), dim)?);
        let by = by.rem_euclid(size.max(1) as isize) as usize;
        if by == 0 {
            return Ok(self.clone());
        }
        Self::cat(&[&self.narrow(dim, size - by, by)?, &self.narrow(dim, 0, size - by)?], dim)
    }

    /// Splits the last dimension: `[.., n · size]` → `[.., n, size]`.
    pub fn split_last(&self, size: usize) -> Result<Self> {
        let mut shape = self.dims().to_vec();
        let last = shape.pop().unwrap_or(0);
        if size == 0 || !last.is_multiple_of(size) {
            return Err(Error::Argument(format!("{last} is not a multiple of {size}")));
        }
        shape.extend([last / size, size]);
        self.reshape(shape)
    }

    /// Joins the last two dimensions.
    pub fn merge_last(&self) -> Result<Self> {
        let mut shape = self.dims().to_vec();
        let (b, a) = (shape.pop().unwrap_or(1), shape.pop().unwrap_or(1));
        shape.push(a * b);
        self.reshape(shape)
    }
}
