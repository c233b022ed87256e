//! A weight with its low-rank update added, whole or row by row.

use super::gemm::gemm;
use super::host::{host, uninit};
use super::lora_term::rank;
use super::mat::{mat, mat_mut};
use super::parallel::rows_per_task;
use super::precision::{finish, prepared};
use super::real::{dispatch, Real};
use super::simd::simd;
use crate::tensor::Array;
use crate::Result;
use rayon::prelude::*;

/// Rows of `W + scaling · B A` from `first` on, as many as `sum` has; the slices hold whole matrices of these widths.
fn updated_rows<T: Real>(
    (w, a, b): (&[T], &[T], &[T]),
    (inp, r): (usize, usize),
    scaling: f64,
    first: usize,
    sum: &mut [T],
) {
    let n = sum.len() / inp.max(1);
    sum.copy_from_slice(&w[first * inp..(first + n) * inp]);
    let b = mat(&b[first * r..(first + n) * r], r);
    // SAFETY: the rows of `b` are cut above, `a` has r rows by the caller's check, and the sum is ours.
    unsafe { gemm((n, inp, r), mat_mut(sum, inp), T::ONE, b, mat(a, inp), T::of(scaling), false) };
}

/// `W + scaling · B A`, for `w [out, in]`, `b [out, r]`, `a [r, in]` of one compute type; the product is never made by itself.
pub fn add_product(w: &Array, b: &Array, a: &Array, scaling: f64) -> Result<Array> {
    let (out, inp) = w.dims2()?;
    let r = rank(a, b, inp, out)?;
    if !w.device().is_cpu() {
        return Ok((w + (b.matmul(a)? * scaling)?)?);
    }
    dispatch!(w.dtype(), T => {
        let (w, a, b) = (prepared(w)?, prepared(a)?, prepared(b)?);
        let mut sum = uninit::<T>(out * inp);
        {
            let (w, a, b) = (host::<T>(&w), host::<T>(&a), host::<T>(&b));
            let (w, a, b): (&[T], &[T], &[T]) = (&w, &a, &b);
            let rows = rows_per_task(inp);
            sum.par_chunks_mut((rows * inp).max(1)).enumerate().for_each(|(block, sum)| {
                updated_rows((w, a, b), (inp, r), scaling, block * rows, sum);
            });
        }
        finish(sum, &[out, inp], w.dtype())
    })
}

/// The Euclidean norms of the rows of `W + scaling · B A`, `[out]`, for `w [out, in]`, `a [r, in]`, `b [out, r]` of one compute
/// type. The sum is never made as a whole.
pub fn updated_row_norms(w: &Array, a: &Array, b: &Array, scaling: f64) -> Result<Array> {
    let (out, inp) = w.dims2()?;
    let r = rank(a, b, inp, out)?;
    if !w.device().is_cpu() {
        return Ok(add_product(w, b, a, scaling)?.sqr()?.sum(1)?.sqrt()?);
    }
    dispatch!(w.dtype(), T => norms::<T>(w, a, b, scaling, (out, inp, r)))
}

fn norms<T: Real>(
    w: &Array,
    a: &Array,
    b: &Array,
    scaling: f64,
    (out, inp, r): (usize, usize, usize),
) -> Result<Array> {
    const ROWS: usize = 32;
    let (w, a, b) = (prepared(w)?, prepared(a)?, prepared(b)?);
    let mut norms = uninit::<T>(out);
    {
        let (w, a, b) = (host::<T>(&w), host::<T>(&a), host::<T>(&b));
        let (w, a, b): (&[T], &[T], &[T]) = (&w, &a, &b);
        norms.par_chunks_mut(ROWS).enumerate().for_each(|(block, norms)| {
            let mut sum = uninit::<T>(norms.len() * inp);
            updated_rows((w, a, b), (inp, r), scaling, block * ROWS, &mut sum);
            simd(
                #[inline(always)]
                || {
                    for (norm, row) in norms.iter_mut().zip(sum.chunks_exact(inp.max(1))) {
                        let mut lanes = [T::ZERO; 16];
                        let chunks = row.chunks_exact(16);
                        let rest = chunks.remainder();
                        for chunk in chunks {
                            for (lane, &v) in lanes.iter_mut().zip(chunk) {
                                *lane += v * v;
                            }
                        }
                        *norm = lanes.into_iter().chain(rest.iter().map(|&v| v * v)).sum::<T>().sqrt();
                    }
                },
            );
        });
    }
    finish(norms, &[out], w.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, values};

    #[test]
    fn a_product_is_added_by_blocks() {
        for (out, inp, r) in [(1, 5, 2), (700, 40, 3), (33, 1700, 8)] {
            let (w, a, b) = (values(&[out, inp], 1), values(&[r, inp], 2), values(&[out, r], 3));
            let expected = (&w + (b.matmul(&a).unwrap() * 1.5).unwrap()).unwrap();
            assert_close(&add_product(&w, &b, &a, 1.5).unwrap(), &expected, 1e-12);
        }
        assert_eq!(
            add_product(&values(&[2, 3], 1), &values(&[3, 2], 2), &values(&[2, 3], 3), 1.).unwrap_err().code(),
            "ERR_SHAPE"
        );
    }

    #[test]
    fn norms_of_updated_rows_equal_those_of_the_sum() {
        for (out, inp, r) in [(1, 5, 2), (33, 40, 3), (70, 17, 8)] {
            let (w, a, b) = (values(&[out, inp], 1), values(&[r, inp], 2), values(&[out, r], 3));
            let sum = (&w + (b.matmul(&a).unwrap() * 1.5).unwrap()).unwrap();
            let expected = sum.sqr().unwrap().sum(1).unwrap().sqrt().unwrap();
            assert_close(&updated_row_norms(&w, &a, &b, 1.5).unwrap(), &expected, 1e-12);
        }
    }
}
