//! A dense layer that keeps a compressed copy of its input for the gradient of its weight.

use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

/// `y = x Wᵀ` for `x [.., in]`, `w [out, in]`, whose gradient for W is that of an input of which only the part along `direction`
/// is left: the features are cut into `groups` (zeros behind the last), each group is kept as its product with the direction
/// `[in / groups, rounded up]`, and counts as that multiple of it, times `scale`. The gradient for x is exact.
///
/// Miles et al. 2024 (VeLoRA, arXiv 2405.17991), algorithm 1.
pub fn compressed_linear(x: &Tensor, w: &Tensor, direction: &Array, groups: usize, scale: f64) -> Result<Tensor> {
    let (inp, out) = (x.last_dim(), w.dim(0));
    let width = direction.elem_count();
    if width != inp.div_ceil(groups.max(1)) || w.last_dim() != inp {
        let expected = vec![inp.div_ceil(groups.max(1)), inp];
        return Err(Error::Shape { path: "compressed_linear".into(), expected, actual: vec![width, w.last_dim()] });
    }
    let rows = x.data().elem_count() / inp.max(1);
    let flat = x.data().reshape((rows, inp))?;
    let y = flat.matmul(&w.data().t()?)?;
    let grouped = flat.pad_with_zeros(1, 0, groups * width - inp)?.reshape((rows * groups, width))?;
    let direction = direction.to_dtype(x.dtype())?.reshape((width, 1))?;
    let kept = grouped.matmul(&direction)?.reshape((rows, groups))?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(out);
    let (weight, before, needs) = (w.data().clone(), x.dims().to_vec(), [x.is_tracked(), w.is_tracked()]);
    Ok(Tensor::from_op(y.reshape(shape)?, &[x, w], move |g| {
        let g = g.reshape((rows, out))?;
        let dx = if needs[0] { Some(g.matmul(&weight)?.reshape(before)?) } else { None };
        let dw = if needs[1] {
            let sums = g.t()?.contiguous()?.matmul(&kept)?.reshape((out * groups, 1))?;
            let whole = sums.matmul(&direction.t()?.contiguous()?)?.reshape((out, groups * width))?;
            Some((whole.narrow(1, 0, inp)?.contiguous()? * scale)?)
        } else {
            None
        };
        Ok(vec![dx, dw])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, leaf, probe, values};
    use candle_core::Device;

    #[test]
    fn the_input_s_gradient_is_exact_and_the_weight_s_that_of_the_kept_part() -> Result<()> {
        let (x, w) = (values(&[2, 3, 5], 1), values(&[4, 5], 2));
        let direction = Array::new(&[0.6f64, 0.8], &Device::Cpu)?;
        check_gradients(std::slice::from_ref(&x), |t| compressed_linear(&t[0], &w.clone().into(), &direction, 3, 0.5));
        let (weight, slot) = leaf(&w);
        probe(&compressed_linear(&x.clone().into(), &weight, &direction, 3, 0.5)?)?.backward()?;
        // The same of an input that was compressed and restored.
        let padded = x.reshape((6, 5))?.pad_with_zeros(1, 0, 1)?.reshape((18, 2))?;
        let kept = padded.matmul(&direction.reshape((2, 1))?)?.matmul(&direction.reshape((1, 2))?)?.reshape((6, 6))?;
        let restored = (kept.narrow(1, 0, 5)?.reshape((2, 3, 5))? * 0.5)?;
        let (weight, expected) = leaf(&w);
        let y = crate::ops::linear(&restored.into(), &weight, None, crate::ops::WeightLayout::OutIn)?;
        probe(&y)?.backward()?;
        assert_close(&slot.get().unwrap(), &expected.get().unwrap(), 1e-12);
        Ok(())
    }
}
