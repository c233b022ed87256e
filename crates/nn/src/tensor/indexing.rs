//! Picking by index, and joining.

use super::shape::axis;
use super::Tensor;
use crate::array::Array;
use crate::{Error, Result};

impl Tensor {
    /// Picks rows `index` (1-dimensional integers) along `dim`.
    pub fn index_select(&self, index: &Array, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let y = self.data.contiguous()?.index_select(&index.contiguous()?, at)?;
        let (before, index) = (self.data.clone(), index.clone());
        Ok(Self::from_op(y, &[self], move |g| {
            Ok(vec![Some(before.zeros_like()?.index_add(&index.contiguous()?, &g.contiguous()?, at)?)])
        }))
    }

    /// The inverse of picking rows: `[n, ..]` → `[rows, ..]`, row `i` added to row `index[i]` of zeros.
    pub fn scatter_rows(&self, index: &Array, rows: usize) -> Result<Self> {
        let mut shape = self.dims().to_vec();
        shape[0] = rows;
        let index = index.contiguous()?;
        let y = Array::zeros(shape, self.dtype(), self.device())?.index_add(&index, &self.data.contiguous()?, 0)?;
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.contiguous()?.index_select(&index, 0)?)])))
    }

    pub fn gather(&self, index: &Array, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let y = self.data.contiguous()?.gather(&index.contiguous()?, at)?;
        let (before, index) = (self.data.clone(), index.clone());
        Ok(Self::from_op(y, &[self], move |g| {
            Ok(vec![Some(before.zeros_like()?.scatter_add(&index.contiguous()?, &g.contiguous()?, at)?)])
        }))
    }

    /// With what `values` has in the place of the elements at `index` along `dim`, one slice for each of the different numbers.
    pub fn index_copy(&self, dim: isize, index: &[u32], values: &Self) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        if index.is_empty() {
            return Ok(self.clone());
        }
        let mut shape = vec![1; self.rank()];
        shape[at] = index.len();
        let index = Array::from_slice(index, index.len(), self.device())?;
        let wide = index.reshape(shape)?.broadcast_as(values.dims())?.contiguous()?;
        let y = self.data.contiguous()?.scatter(&wide, &values.data.contiguous()?, at)?;
        let tracked = (self.is_tracked(), values.is_tracked());
        Ok(Self::from_op(y, &[self, values], move |g| {
            let g = g.contiguous()?;
            let rest =
                if tracked.0 { Some(g.scatter(&wide, &wide.to_dtype(g.dtype())?.zeros_like()?, at)?) } else { None };
            let own = if tracked.1 { Some(g.index_select(&index, at)?) } else { None };
            Ok(vec![rest, own])
        }))
    }

    pub fn cat(tensors: &[&Tensor], dim: isize) -> Result<Self> {
        let Some(first) = tensors.first() else {
            return Err(Error::Argument("cat needs at least one tensor".into()));
        };
        let at = axis(first.rank(), dim)?;
        let data: Vec<&Array> = tensors.iter().map(|t| &t.data).collect();
        let y = Array::cat(&data, at)?;
        let sizes: Vec<usize> = tensors.iter().map(|t| t.dim(at)).collect();
        let tracked: Vec<bool> = tensors.iter().map(|t| t.is_tracked()).collect();
        Ok(Self::from_op(y, tensors, move |g| {
            let mut start = 0;
            let mut out = Vec::with_capacity(sizes.len());
            for (&size, &tracked) in sizes.iter().zip(&tracked) {
                out.push(if tracked { Some(g.narrow(at, start, size)?.contiguous()?) } else { None });
                start += size;
            }
            Ok(out)
        }))
    }

    pub fn stack(tensors: &[&Tensor], dim: isize) -> Result<Self> {
        let expanded = tensors.iter().map(|t| t.unsqueeze(dim)).collect::<Result<Vec<_>>>()?;
        Self::cat(&expanded.iter().collect::<Vec<_>>(), dim)
    }
}
