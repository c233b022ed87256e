//! Low-rank updates of parameters that modules read by themselves.

use crate::ops::LoraTerm;
use crate::param::Param;
use crate::tensor::{Array, Tensor};
use crate::update::Update;
use crate::{Error, Result};
use candle_core::DType;

/// `s B A` for a matrix, or one such product for each matrix of a stack `[matrices, out, in]`: `a [r · matrices, in]` holds the
/// matrices' factors one below the other, `b [out, r · matrices]` has those of one rank side by side.
#[derive(Clone)]
pub struct LowRank {
    pub a: Param,
    pub b: Param,
    pub scaling: f64,
    /// The shape of what is updated.
    pub shape: Vec<usize>,
}

impl LowRank {
    fn matrices(&self) -> usize {
        if self.shape.len() == 3 {
            self.shape[0]
        } else {
            1
        }
    }

    /// `a [matrices, r, in]` and `b [matrices, out, r]`.
    fn factors(&self, grad: bool) -> Result<(Tensor, Tensor)> {
        let (a, b) = (self.a.value(grad)?, self.b.value(grad)?);
        let (n, inp, out) = (self.matrices(), a.last_dim(), b.dim(0));
        if n == 0 || a.dim(0) % n != 0 || b.last_dim() != a.dim(0) {
            let expected = vec![a.dim(0), inp, out, a.dim(0)];
            return Err(Error::Shape {
                path: "lora_A / lora_B".into(),
                expected,
                actual: [a.dims(), b.dims()].concat(),
            });
        }
        let r = a.dim(0) / n;
        Ok((a.reshape((n, r, inp))?, b.reshape((out, r, n))?.permute(&[2, 0, 1])?.contiguous()?))
    }

    /// `value` with the update in it, computed in f32 or wider.
    pub fn added(&self, value: &Array) -> Result<Array> {
        let wide = crate::ops::compute_dtype(value.dtype());
        let delta = self.delta(false)?.into_data().to_dtype(wide)?;
        Ok((value.to_dtype(wide)? + delta)?.to_dtype(value.dtype())?)
    }
}

impl Update for LowRank {
    fn delta(&self, grad: bool) -> Result<Tensor> {
        let (a, b) = self.factors(grad)?;
        b.matmul(&a)?.affine(self.scaling, 0.)?.reshape(self.shape.as_slice())
    }

    fn term(&self, at: usize, dtype: DType, grad: bool) -> Result<LoraTerm> {
        let (a, b) = (self.a.value(grad)?, self.b.value(grad)?);
        let n = self.matrices();
        let r = a.dim(0) / n.max(1);
        let a = a.narrow(0, at * r, r)?.contiguous()?;
        let b = b.reshape((b.dim(0), r, n))?.narrow(2, at, 1)?.squeeze(2)?.contiguous()?;
        Ok(LoraTerm::new(a.to_dtype(dtype)?, b.to_dtype(dtype)?, self.scaling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, values};
    use crate::ops::{lora_linear, WeightLayout};
    use std::sync::Arc;

    /// Experts' numbers are slowest in A and fastest in B.
    #[test]
    fn each_matrix_of_a_stack_has_factors_of_its_own() -> Result<()> {
        let (a, b) = (values(&[6, 5], 1), values(&[4, 6], 2));
        let update = LowRank {
            a: Param::new(a.clone(), true),
            b: Param::new(b.clone(), true),
            scaling: 0.5,
            shape: vec![3, 4, 5],
        };
        let delta = update.delta(false)?.into_data();
        let base = Param::new(values(&[3, 4, 5], 3), false);
        let whole = base.updated(vec![Arc::new(update.clone())]).array()?;
        assert_close(&whole, &update.added(&base.array()?)?, 1e-12);
        let x = Tensor::from(values(&[2, 5], 4));
        for e in 0..3 {
            let columns: Vec<Array> = (0..2).map(|i| b.narrow(1, i * 3 + e, 1)).collect::<candle_core::Result<_>>()?;
            let expected = (Array::cat(&columns, 1)?.matmul(&a.narrow(0, e * 2, 2)?)? * 0.5)?;
            assert_close(&delta.get(e)?, &expected, 1e-12);
            let (w, terms) = base.updated(vec![Arc::new(update.clone())]).matrix_of(e, true)?;
            let y = lora_linear(&x, Some((&w, None, WeightLayout::OutIn)), &terms)?;
            assert_close(y.data(), &x.data().matmul(&whole.get(e)?.t()?)?, 1e-12);
        }
        Ok(())
    }
}
