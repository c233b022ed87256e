//! A frozen matrix times a low-rank one, element by element.

use crate::ops::{dispatch, finish, gemm, host, mat, mat_mut, prepared, rows_per_task, simd, uninit, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// `W ∘ (shift + B A)` with the gradients of the factors alone.
///
/// `w [out, in]`, `b [out, r]`, `a [r, in]` → `[out, in]`, all in one dtype. Saves nothing but its inputs.
///
/// Huang et al. 2025 (HiRA, ICLR).
pub fn hadamard_update(w: &Array, b: &Tensor, a: &Tensor, shift: f64) -> Result<Tensor> {
    let (&[out, inp], &[out_b, r], &[r_a, inp_a]) = (w.dims(), b.dims(), a.dims()) else {
        return Err(refused(w, b, a));
    };
    if (out, inp, r) != (out_b, inp_a, r_a) {
        return Err(refused(w, b, a));
    }
    if !w.device().is_cpu() {
        return Tensor::from(w.clone()).mul(&b.matmul(a)?.affine(1., shift)?);
    }
    dispatch!(b.dtype(), T => cpu::<T>(w, b, a, shift))
}

fn refused(w: &Array, b: &Tensor, a: &Tensor) -> Error {
    let actual = [b.dims(), a.dims()].concat();
    Error::Shape { path: "factors of an update".into(), expected: w.dims().to_vec(), actual }
}

fn cpu<T: Real>(w: &Array, b: &Tensor, a: &Tensor, shift: f64) -> Result<Tensor> {
    let (out, inp, r, dtype) = (w.dims()[0], w.dims()[1], b.dim(1), b.dtype());
    let (w, bs, as_) = (prepared(&w.to_dtype(dtype)?)?, prepared(b.data())?, prepared(a.data())?);
    let mut y = uninit::<T>(out * inp);
    let each = rows_per_task(inp).max(8);
    if inp > 0 {
        let (wv, bv, av) = (host::<T>(&w), host::<T>(&bs), host::<T>(&as_));
        y.par_chunks_mut(each * inp).zip(wv.par_chunks(each * inp)).enumerate().for_each(|(i, (y, w))| {
            let rows = y.len() / inp;
            let b = &bv[i * each * r..(i * each + rows) * r];
            if r == 0 {
                y.fill(T::ZERO);
            }
            // SAFETY: the sizes are those of the slices.
            unsafe { gemm((rows, inp, r), mat_mut(y, inp), T::ZERO, mat(b, r), mat(&av, inp), T::ONE, false) };
            let shift = T::of(shift);
            simd(
                #[inline(always)]
                || y.iter_mut().zip(w).for_each(|(y, &w)| *y = w * (*y + shift)),
            );
        });
    }
    let y = finish(y, &[out, inp], dtype)?;
    let (need_b, need_a) = (b.is_tracked(), a.is_tracked());
    Ok(Tensor::from_op(y, &[b, a], move |g| {
        let g = prepared(g)?;
        let (bv, av) = (host::<T>(&bs), host::<T>(&as_));
        let mut dm = uninit::<T>(out * inp);
        let each = each * inp.max(1);
        dm.par_chunks_mut(each).zip(host::<T>(&g).par_chunks(each)).zip(host::<T>(&w).par_chunks(each)).for_each(
            |((dm, g), w)| {
                simd(
                    #[inline(always)]
                    || dm.iter_mut().zip(g).zip(w).for_each(|((dm, &g), &w)| *dm = g * w),
                );
            },
        );
        let (mut db, mut da) = (vec![T::ZERO; out * r], vec![T::ZERO; r * inp]);
        // SAFETY: the sizes are those of the vectors.
        unsafe {
            let dm = mat(&dm, inp);
            if need_b {
                gemm((out, r, inp), mat_mut(&mut db, r), T::ZERO, dm, mat(&av, inp).t(), T::ONE, true);
            }
            if need_a {
                gemm((r, inp, out), mat_mut(&mut da, inp), T::ZERO, mat(&bv, r).t(), dm, T::ONE, true);
            }
        }
        let db = if need_b { Some(finish(db, &[out, r], dtype)?) } else { None };
        Ok(vec![db, if need_a { Some(finish(da, &[r, inp], dtype)?) } else { None }])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, values};

    #[test]
    fn gradients_match_difference_quotients() {
        let (w, b, a) = (values(&[5, 4], 1), values(&[5, 2], 2), values(&[2, 4], 3));
        for shift in [0., 1.] {
            check_gradients(&[b.clone(), a.clone()], |t| hadamard_update(&w, &t[0], &t[1], shift));
        }
        check_gradients(std::slice::from_ref(&a), |t| hadamard_update(&w, &b.clone().into(), &t[0], 1.));
    }

    #[test]
    fn equals_the_primitive_operations() {
        let (w, b, a) = (values(&[300, 70], 1), values(&[300, 3], 2), values(&[3, 70], 3));
        let expected = (&w * (b.matmul(&a).unwrap() + 1.).unwrap()).unwrap();
        let found = hadamard_update(&w, &b.into(), &a.into(), 1.).unwrap();
        assert_close(found.data(), &expected, 1e-12);
        assert_eq!(
            hadamard_update(&w, &values(&[3, 2], 1).into(), &values(&[2, 70], 1).into(), 1.).unwrap_err().code(),
            "ERR_SHAPE"
        );
    }
}
