//! Householder reflections of the rows of an array.

use crate::ops::{
    compute_dtype, dispatch, finish, host, lora_linear, prepared, rows_per_task, simd, sum, LoraTerm, Real,
};
use crate::tensor::Tensor;
use crate::{Error, Result};
use rayon::prelude::*;

/// `x Hᵣ .. H₂ H₁` with `Hᵢ = I − 2 vᵢ vᵢᵀ` and `vᵢ = uᵢ / ‖uᵢ‖` for the columns of `u`: the input with which a layer of weight
/// `W` computes what one of weight `W H₁ H₂ .. Hᵣ` does.
///
/// `x [.., n]`, `u [n, r]` → `[.., n]`, in `x`'s dtype. A row costs O(n r). Saves `x`, and that only for `u`'s gradient. Fails
/// with [`Error::Shape`] when `u` has not as many rows as `x` columns.
///
/// Yuan et al. 2024 (arXiv 2405.17484), section 3.
pub fn reflect_each(x: &Tensor, u: &Tensor) -> Result<Tensor> {
    check(x, u)?;
    let u = u.to_dtype(compute_dtype(x.dtype()))?;
    if !x.device().is_cpu() {
        return composed(x, &u);
    }
    dispatch!(x.dtype(), T => cpu::<T>(x, &u))
}

/// `x (I − 2 U Uᵀ)`: all reflections at once, where the columns of `u` are orthonormal.
///
/// `x [.., n]`, `u [n, r]` → `[.., n]`, in `x`'s dtype.
pub fn reflect_all(x: &Tensor, u: &Tensor) -> Result<Tensor> {
    check(x, u)?;
    let wide = x.to_dtype(compute_dtype(x.dtype()))?;
    let u = u.to_dtype(wide.dtype())?;
    let term = LoraTerm::new(u.transpose(0, 1)?.contiguous()?, u, -2.);
    wide.add(&lora_linear(&wide, None, &[term])?)?.to_dtype(x.dtype())
}

fn check(x: &Tensor, u: &Tensor) -> Result<()> {
    if x.rank() == 0 || u.rank() != 2 || u.dim(0) != x.last_dim() {
        return Err(Error::Shape {
            path: "reflection vectors".into(),
            expected: vec![x.last_dim(), u.last_dim()],
            actual: u.dims().to_vec(),
        });
    }
    Ok(())
}

fn composed(x: &Tensor, u: &Tensor) -> Result<Tensor> {
    let v = u.div(&u.sqr()?.sum(Some(&[0]), true)?.sqrt()?)?;
    let mut y = x.to_dtype(u.dtype())?.reshape((x.data().elem_count() / u.dim(0).max(1), u.dim(0)))?; // [rows, n]
    for i in (0..u.dim(1)).rev() {
        let v = v.narrow(1, i, 1)?.contiguous()?;
        y = y.sub(&y.matmul(&v)?.matmul(&v.transpose(0, 1)?)?.affine(2., 0.)?)?;
    }
    y.reshape(x.dims())?.to_dtype(x.dtype())
}

fn cpu<T: Real>(x: &Tensor, u: &Tensor) -> Result<Tensor> {
    let (dtype, shape) = (x.dtype(), x.dims().to_vec());
    let (n, r) = (u.dim(0), u.dim(1));
    if n == 0 {
        return Ok(x.clone());
    }
    let xs = prepared(x.data())?;
    let (units, norms) = units(&host::<T>(&prepared(u.data())?), n, r);
    let mut y = host::<T>(&xs).to_vec();
    y.par_chunks_mut(rows_per_task(n) * n).for_each(|rows| {
        simd(
            #[inline(always)]
            || rows.chunks_exact_mut(n).for_each(|row| reflect(row, units.chunks_exact(n).rev())),
        );
    });
    let y = finish(y, &shape, dtype)?;
    let (need_x, need_u) = (x.is_tracked(), u.is_tracked());
    let xs = need_u.then_some(xs);
    Ok(Tensor::from_op(y, &[x, u], move |g| {
        let g = prepared(g)?;
        let mut dx = host::<T>(&g).to_vec();
        let Some(xs) = xs else {
            dx.par_chunks_mut(rows_per_task(n) * n).for_each(|rows| {
                simd(
                    #[inline(always)]
                    || rows.chunks_exact_mut(n).for_each(|row| reflect(row, units.chunks_exact(n))),
                );
            });
            return Ok(vec![Some(finish(dx, &shape, dtype)?), None]);
        };
        // Few tasks, whatever the number of threads: each has sums of its own, added up in order.
        let per_task = rows_per_task(n).max((dx.len() / n).div_ceil(16));
        let sums: Vec<Vec<T>> = dx
            .par_chunks_mut(per_task * n)
            .zip(host::<T>(&xs).par_chunks(per_task * n))
            .map(|(g, x)| {
                let (mut dv, mut row) = (vec![T::ZERO; r * n], vec![T::ZERO; n]);
                simd(
                    #[inline(always)]
                    || {
                        for (g, x) in g.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
                            row.copy_from_slice(x);
                            reflect(&mut row, units.chunks_exact(n).rev());
                            for (dv, v) in dv.chunks_exact_mut(n).zip(units.chunks_exact(n)) {
                                undo(&mut row, g, dv, v);
                            }
                        }
                    },
                );
                dv
            })
            .collect();
        let mut dv = vec![T::ZERO; r * n];
        for sums in &sums {
            dv.iter_mut().zip(sums).for_each(|(d, &s)| *d += s);
        }
        // v = u / ‖u‖
        let mut du = vec![T::ZERO; n * r];
        for (i, ((dv, v), &norm)) in dv.chunks_exact(n).zip(units.chunks_exact(n)).zip(&norms).enumerate() {
            let along = dot(dv, v);
            for (k, (&dv, &v)) in dv.iter().zip(v).enumerate() {
                du[k * r + i] = (dv - along * v) / norm;
            }
        }
        let dx = if need_x { Some(finish(dx, &shape, dtype)?) } else { None };
        Ok(vec![dx, Some(finish(du, &[n, r], T::DTYPE)?)])
    }))
}

/// The columns of `u [n, r]` as rows of length one, and what their lengths were.
fn units<T: Real>(u: &[T], n: usize, r: usize) -> (Vec<T>, Vec<T>) {
    let mut units: Vec<T> = (0..r).flat_map(|i| (0..n).map(move |k| u[k * r + i])).collect();
    let norms: Vec<T> = units.chunks_exact(n).map(|u| dot(u, u).sqrt()).collect();
    for (v, &norm) in units.chunks_exact_mut(n).zip(&norms) {
        v.iter_mut().for_each(|v| *v /= norm);
    }
    (units, norms)
}

#[inline(always)]
fn reflect<'a, T: Real>(row: &mut [T], units: impl Iterator<Item = &'a [T]>) {
    for v in units {
        let twice = T::of(2.) * dot(row, v);
        row.iter_mut().zip(v).for_each(|(x, &v)| *x -= twice * v);
    }
}

/// One reflection of the backward pass. A reflection is its own inverse, so `x`, which holds what the forward pass made of
/// the row with it, becomes what that had before it; `g` goes from the gradient of the one to that of the other.
///
/// `dv += −2 ((xᵀ v) g + (gᵀ v) x)`, with the former `x` and the latter `g`.
#[inline(always)]
fn undo<T: Real>(x: &mut [T], g: &mut [T], dv: &mut [T], v: &[T]) {
    let (a, b) = (T::of(2.) * dot(x, v), T::of(2.) * dot(g, v));
    for (((x, g), dv), &v) in x.iter_mut().zip(g).zip(dv).zip(v) {
        *x -= a * v;
        *dv += a * *g - b * *x;
        *g -= b * v;
    }
}

#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    sum(a.iter().zip(b).map(|(&a, &b)| a * b))
}

#[cfg(test)]
mod tests {
    // A list of one operand reads like the lists of several beside it.
    #![allow(clippy::cloned_ref_to_slice_refs)]

    use super::*;
    use crate::linalg::testing::{close_to_python, python};
    use crate::ops::testing::{assert_close, check_gradients, leaf, probe, values};
    use candle_core::DType;

    #[test]
    fn gradients_match_difference_quotients() {
        let (x, u) = (values(&[2, 3, 7], 1), values(&[7, 4], 2));
        check_gradients(&[x.clone(), u.clone()], |t| reflect_each(&t[0], &t[1]));
        check_gradients(&[x.clone()], |t| reflect_each(&t[0], &u.clone().into()));
        check_gradients(&[u.clone()], |t| reflect_each(&x.clone().into(), &t[0]));
        check_gradients(&[x, u], |t| reflect_all(&t[0], &t[1]));
    }

    #[test]
    fn many_rows_give_what_the_primitive_operations_give() {
        let (x, u) = (values(&[5, 400, 37], 1), values(&[37, 5], 2));
        let run = |f: fn(&Tensor, &Tensor) -> Result<Tensor>| {
            let ((x, dx), (u, du)) = (leaf(&x), leaf(&u));
            let y = f(&x, &u).unwrap();
            probe(&y).unwrap().backward().unwrap();
            [y.into_data(), dx.get().unwrap(), du.get().unwrap()]
        };
        for (a, b) in run(reflect_each).iter().zip(&run(composed)) {
            assert_close(a, b, 1e-11);
        }
    }

    #[test]
    fn half_precision_is_rounded_once() {
        let (x, u) =
            (values(&[3, 8], 1).to_dtype(DType::BF16).unwrap(), values(&[8, 2], 2).to_dtype(DType::F32).unwrap());
        let wide = reflect_each(&x.to_dtype(DType::F32).unwrap().into(), &u.clone().into()).unwrap();
        let half = reflect_each(&x.into(), &u.into()).unwrap();
        assert_eq!(half.dtype(), DType::BF16);
        assert_close(half.data(), &wide.to_dtype(DType::BF16).unwrap().into_data(), 0.);
    }

    #[test]
    fn reflections_are_pefts() {
        let (x, u) = (python("x"), python("hra_u"));
        close_to_python(&reflect_each(&x, &u).unwrap(), "hra");
        close_to_python(&reflect_all(&x, &crate::linalg::gram_schmidt(&u).unwrap()).unwrap(), "hra_gs");
    }

    #[test]
    fn vectors_of_another_length_are_refused() {
        let x: Tensor = values(&[2, 5], 1).into();
        assert_eq!(reflect_each(&x, &values(&[4, 2], 2).into()).unwrap_err().code(), "ERR_SHAPE");
    }
}
