//! Sums of columns that lie a fixed distance apart.

use crate::ops::{dispatch, finish, host, prepared, rows_per_task, simd, uninit, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// `yⱼ = Σ xᵢ` over all i that leave the remainder j when divided by `r`.
///
/// `x [.., n]` → `[.., r]`. Fails with [`Error::Shape`] when a row has fewer than `r` values.
pub fn fold_columns(x: &Tensor, r: usize) -> Result<Tensor> {
    let n = x.last_dim();
    if x.rank() == 0 || r == 0 || n < r {
        return Err(Error::Shape { path: "columns to fold".into(), expected: vec![r], actual: x.dims().to_vec() });
    }
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(r);
    if !x.device().is_cpu() {
        let (rows, padding) = (x.data().elem_count() / n, n.next_multiple_of(r) - n);
        let zeros = Array::zeros((rows, padding), x.dtype(), x.device())?.into();
        let padded = Tensor::cat(&[&x.reshape((rows, n))?, &zeros], 1)?;
        return padded.reshape((rows, n.div_ceil(r), r))?.sum(Some(&[1]), false)?.reshape(shape);
    }
    dispatch!(x.dtype(), T => cpu::<T>(x, r, &shape))
}

fn cpu<T: Real>(x: &Tensor, r: usize, shape: &[usize]) -> Result<Tensor> {
    let (n, dtype, before) = (x.last_dim(), x.dtype(), x.dims().to_vec());
    let xs = prepared(x.data())?;
    let rows = xs.elem_count() / n;
    let mut y = vec![T::ZERO; rows * r];
    let each = rows_per_task(n);
    y.par_chunks_mut(each * r).zip(host::<T>(&xs).par_chunks(each * n)).for_each(|(y, x)| {
        simd(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(r).zip(x.chunks_exact(n)) {
                    for part in x.chunks(r) {
                        y.iter_mut().zip(part).for_each(|(y, &x)| *y += x);
                    }
                }
            },
        );
    });
    let y = finish(y, shape, dtype)?;
    Ok(Tensor::from_op(y, &[x], move |g| {
        let g = prepared(g)?;
        let mut dx = uninit::<T>(rows * n);
        dx.par_chunks_mut(each * n).zip(host::<T>(&g).par_chunks(each * r)).for_each(|(dx, g)| {
            for (dx, g) in dx.chunks_exact_mut(n).zip(g.chunks_exact(r)) {
                dx.chunks_mut(r).for_each(|part| part.copy_from_slice(&g[..part.len()]));
            }
        });
        Ok(vec![Some(finish(dx, &before, dtype)?)])
    }))
}

#[cfg(test)]
mod tests {
    // A list of one operand reads like the lists of several beside it.
    #![allow(clippy::cloned_ref_to_slice_refs)]

    use super::*;
    use crate::ops::testing::{check_gradients, values};

    #[test]
    fn gradients_match_difference_quotients() {
        for r in [1, 3, 4, 7] {
            check_gradients(&[values(&[2, 3, 7], 1)], |t| fold_columns(&t[0], r));
        }
    }

    #[test]
    fn columns_with_the_same_remainder_are_summed() {
        let x: Tensor = Array::new(&[[1f64, 2., 3., 4., 5.]], x_device()).unwrap().into();
        assert_eq!(fold_columns(&x, 2).unwrap().data().to_vec2::<f64>().unwrap(), [[9., 6.]]);
        assert_eq!(fold_columns(&x, 6).unwrap_err().code(), "ERR_SHAPE");
    }

    fn x_device() -> &'static candle_core::Device {
        &candle_core::Device::Cpu
    }
}
