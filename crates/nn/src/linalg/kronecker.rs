//! Products with a Kronecker product that is never formed.

use crate::ops::{
    self, dispatch, finish, gemm, host, mat, mat_mut, prepared, rows_per_task, uninit, Real, WeightLayout,
};
use crate::tensor::Tensor;
use crate::{Error, Result};
use rayon::prelude::*;

/// `x (A ⊗ B)ᵀ`: with a row of `x` read as a matrix X `[k, l]`, it is `A X Bᵀ`.
///
/// `x [.., k l]`, `a [m, k]`, and `b` as factors whose product is B `[n, l]` → `[.., m n]`, in `a`'s dtype, which all share. A
/// row costs O(k l n + m k n) in place of O(k l m n).
pub fn kronecker_product(x: &Tensor, a: &Tensor, b: &[&Tensor]) -> Result<Tensor> {
    let (&[m, k], Some(last)) = (a.dims(), b.last()) else { return Err(refused(x, a)) };
    let l = last.last_dim();
    if x.rank() == 0 || k * l == 0 || x.last_dim() != k * l {
        return Err(refused(x, a));
    }
    let rows = x.data().elem_count() / (k * l);
    let mut h = x.contiguous()?.reshape((rows * k, l))?;
    for factor in b.iter().rev() {
        h = ops::linear(&h, factor, None, WeightLayout::OutIn)?;
    }
    let n = h.last_dim();
    let y = left_product(a, &h.reshape((rows, k, n))?)?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(m * n);
    y.reshape(shape)
}

fn refused(x: &Tensor, a: &Tensor) -> Error {
    Error::Shape { path: "input of a Kronecker product".into(), expected: a.dims().to_vec(), actual: x.dims().to_vec() }
}

/// `a x` for each matrix of `x [rows, k, n]`, `a [m, k]` → `[rows, m, n]`.
fn left_product(a: &Tensor, x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return a.unsqueeze(0)?.matmul(x);
    }
    dispatch!(x.dtype(), T => cpu::<T>(a, x))
}

fn cpu<T: Real>(a: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (rows, k, n, m) = (x.dim(0), x.dim(1), x.dim(2), a.dim(0));
    let dtype = x.dtype();
    let (a_values, x_values) = (prepared(a.data())?, prepared(x.data())?);
    let mut y = uninit::<T>(rows * m * n);
    if m * n > 0 {
        let (av, xv) = (host::<T>(&a_values), host::<T>(&x_values));
        let each = rows_per_task(k.max(m) * n);
        y.par_chunks_mut(each * m * n).zip(xv.par_chunks(each * k * n)).for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(m * n).zip(x.chunks_exact(k * n)) {
                // SAFETY: the sizes are those of the slices.
                unsafe { gemm((m, n, k), mat_mut(y, n), T::ZERO, mat(&av, k), mat(x, n), T::ONE, false) };
            }
        });
    }
    let y = finish(y, &[rows, m, n], dtype)?;
    let (need_a, need_x) = (a.is_tracked(), x.is_tracked());
    Ok(Tensor::from_op(y, &[a, x], move |g| {
        let g = prepared(g)?;
        let (av, xv, g) = (host::<T>(&a_values), host::<T>(&x_values), host::<T>(&g));
        let mut grads = vec![None, None];
        if m * n == 0 {
            return Ok(grads);
        }
        if need_x {
            let mut dx = uninit::<T>(rows * k * n);
            let each = rows_per_task(k.max(m) * n);
            dx.par_chunks_mut(each * k * n).zip(g.par_chunks(each * m * n)).for_each(|(dx, g)| {
                for (dx, g) in dx.chunks_exact_mut(k * n).zip(g.chunks_exact(m * n)) {
                    // SAFETY: as above.
                    unsafe { gemm((k, n, m), mat_mut(dx, n), T::ZERO, mat(&av, k).t(), mat(g, n), T::ONE, false) };
                }
            });
            grads[1] = Some(finish(dx, &[rows, k, n], dtype)?);
        }
        if need_a {
            // Few tasks, whatever the number of threads: each has a sum of its own, added up in order.
            let each = rows_per_task(k.max(m) * n).max(rows.div_ceil(16));
            let sums: Vec<Vec<T>> = g
                .par_chunks(each * m * n)
                .zip(xv.par_chunks(each * k * n))
                .map(|(g, x)| {
                    let mut da = vec![T::ZERO; m * k];
                    for (g, x) in g.chunks_exact(m * n).zip(x.chunks_exact(k * n)) {
                        // SAFETY: as above.
                        unsafe {
                            gemm((m, k, n), mat_mut(&mut da, k), T::ONE, mat(g, n), mat(x, n).t(), T::ONE, false)
                        };
                    }
                    da
                })
                .collect();
            let mut da = vec![T::ZERO; m * k];
            for sum in &sums {
                da.iter_mut().zip(sum).for_each(|(d, &s)| *d += s);
            }
            grads[0] = Some(finish(da, &[m, k], dtype)?);
        }
        Ok(grads)
    }))
}

#[cfg(test)]
mod tests {
    // A list of one operand reads like the lists of several beside it.
    #![allow(clippy::cloned_ref_to_slice_refs)]

    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, values};

    #[test]
    fn gradients_match_difference_quotients() {
        let (x, a, b) = (values(&[2, 3, 12], 1), values(&[2, 3], 2), values(&[5, 4], 3));
        check_gradients(&[x.clone(), a.clone(), b.clone()], |t| kronecker_product(&t[0], &t[1], &[&t[2]]));
        check_gradients(&[a.clone()], |t| kronecker_product(&x.clone().into(), &t[0], &[&b.clone().into()]));
        check_gradients(&[x, a, values(&[5, 2], 4), values(&[2, 4], 5)], |t| {
            kronecker_product(&t[0], &t[1], &[&t[2], &t[3]])
        });
    }

    #[test]
    fn equals_the_product_with_the_matrix_that_is_formed() {
        let (x, a, b): (Tensor, Tensor, Tensor) =
            (values(&[300, 28], 1).into(), values(&[3, 4], 2).into(), values(&[6, 7], 3).into());
        let formed = a.reshape((3, 1, 4, 1)).unwrap().mul(&b.reshape((1, 6, 1, 7)).unwrap()).unwrap();
        let expected = x.matmul(&formed.reshape((18, 28)).unwrap().transpose(0, 1).unwrap()).unwrap();
        assert_close(kronecker_product(&x, &a, &[&b]).unwrap().data(), expected.data(), 1e-12);
    }

    #[test]
    fn an_input_that_does_not_fit_is_refused() {
        let (x, a, b): (Tensor, Tensor, Tensor) =
            (values(&[2, 11], 1).into(), values(&[2, 3], 2).into(), values(&[5, 4], 3).into());
        assert_eq!(kronecker_product(&x, &a, &[&b]).unwrap_err().code(), "ERR_SHAPE");
    }
}
