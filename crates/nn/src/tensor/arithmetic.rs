//! Sums, products and matrix products.

use super::shape::reduce_to;
use super::Tensor;
use crate::array::Array;
use crate::ops::add_arrays;
use crate::{Error, Result};

impl Tensor {
    fn broadcast_op(
        &self,
        rhs: &Self,
        value: candle_core::Result<Array>,
        grads: impl FnOnce(&Array, &Array, &Array, bool, bool) -> Result<(Option<Array>, Option<Array>)> + Send + 'static,
    ) -> Result<Self> {
        let value = value?;
        let (a, b) = (self.data.clone(), rhs.data.clone());
        let (ta, tb) = (self.is_tracked(), rhs.is_tracked());
        Ok(Self::from_op(value, &[self, rhs], move |g| {
            let (ga, gb) = grads(g, &a, &b, ta, tb)?;
            let ga = ga.map(|x| reduce_to(x, a.dims())).transpose()?;
            let gb = gb.map(|x| reduce_to(x, b.dims())).transpose()?;
            Ok(vec![ga, gb])
        }))
    }

    pub fn add(&self, rhs: &Self) -> Result<Self> {
        self.broadcast_op(rhs, add_arrays(&self.data, &rhs.data), |g, _, _, ta, tb| {
            Ok((ta.then(|| g.clone()), tb.then(|| g.clone())))
        })
    }

    pub fn sub(&self, rhs: &Self) -> Result<Self> {
        self.broadcast_op(rhs, self.data.broadcast_sub(&rhs.data), |g, _, _, ta, tb| {
            Ok((ta.then(|| g.clone()), if tb { Some(g.neg()?) } else { None }))
        })
    }

    pub fn mul(&self, rhs: &Self) -> Result<Self> {
        self.broadcast_op(rhs, self.data.broadcast_mul(&rhs.data), |g, a, b, ta, tb| {
            let ga = if ta { Some(g.broadcast_mul(b)?) } else { None };
            let gb = if tb { Some(g.broadcast_mul(a)?) } else { None };
            Ok((ga, gb))
        })
    }

    pub fn div(&self, rhs: &Self) -> Result<Self> {
        self.broadcast_op(rhs, self.data.broadcast_div(&rhs.data), |g, a, b, ta, tb| {
            let scaled = g.broadcast_div(b)?;
            let gb = if tb { Some(scaled.broadcast_mul(a)?.broadcast_div(b)?.neg()?) } else { None };
            Ok((ta.then_some(scaled), gb))
        })
    }

    /// `self · scale + shift`.
    pub fn affine(&self, scale: f64, shift: f64) -> Result<Self> {
        let y = self.data.affine(scale, shift)?;
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.affine(scale, 0.)?)])))
    }

    /// Batched matrix product with broadcasting over the leading dimensions: `[.., m, k] · [.., k, n]` → `[.., m, n]`.
    pub fn matmul(&self, rhs: &Self) -> Result<Self> {
        if self.rank() < 2 || rhs.rank() < 2 || self.dim(self.rank() - 1) != rhs.dim(rhs.rank() - 2) {
            return Err(Error::Argument(format!("matmul: {:?} and {:?} do not fit", self.dims(), rhs.dims())));
        }
        let y = self.data.broadcast_matmul(&rhs.data)?;
        let (a, b) = (self.data.clone(), rhs.data.clone());
        let (ta, tb) = (self.is_tracked(), rhs.is_tracked());
        Ok(Self::from_op(y, &[self, rhs], move |g| {
            let g = g.contiguous()?;
            let ga = if ta { Some(reduce_to(g.broadcast_matmul(&b.t()?)?, a.dims())?) } else { None };
            let gb = if tb { Some(reduce_to(a.t()?.broadcast_matmul(&g)?, b.dims())?) } else { None };
            Ok(vec![ga, gb])
        }))
    }
}
