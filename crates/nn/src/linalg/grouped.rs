//! Products of parts of a row with a matrix each.

use crate::ops::{dispatch, finish, gemm, host, mat, mat_mut, prepared, uninit, Real};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Each of the equal parts of a row times its own matrix.
///
/// `x [.., groups k]`, `w [groups, k, n]` → `[.., groups n]`, in one dtype.
pub fn grouped_product(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let &[groups, k, n] = w.dims() else { return Err(refused(x, w)) };
    if x.rank() == 0 || groups * k == 0 || x.last_dim() != groups * k {
        return Err(refused(x, w));
    }
    let rows = x.data().elem_count() / (groups * k);
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(groups * n);
    if !x.device().is_cpu() {
        let by_group = x.reshape((rows, groups, k))?.transpose(0, 1)?.contiguous()?;
        return by_group.matmul(w)?.transpose(0, 1)?.contiguous()?.reshape(shape);
    }
    dispatch!(x.dtype(), T => cpu::<T>(x, w, rows, &shape))
}

fn refused(x: &Tensor, w: &Tensor) -> Error {
    Error::Shape { path: "input of grouped products".into(), expected: w.dims().to_vec(), actual: x.dims().to_vec() }
}

fn cpu<T: Real>(x: &Tensor, w: &Tensor, rows: usize, shape: &[usize]) -> Result<Tensor> {
    let (groups, k, n, dtype) = (w.dim(0), w.dim(1), w.dim(2), x.dtype());
    let (xs, ws) = (prepared(x.data())?, prepared(w.data())?);
    let mut y = uninit::<T>(rows * groups * n);
    if rows > 0 {
        let (xv, wv) = (host::<T>(&xs), host::<T>(&ws));
        for g in 0..groups {
            let w = mat(&wv[g * k * n..][..k * n], n);
            let c = mat_mut(&mut y[g * n..], groups * n);
            // SAFETY: rows are `groups · k` and `groups · n` values apart, and the last part ends where the slices do.
            unsafe { gemm((rows, n, k), c, T::ZERO, mat(&xv[g * k..], groups * k), w, T::ONE, true) };
        }
    }
    let y = finish(y, shape, dtype)?;
    let (need_x, need_w, before) = (x.is_tracked(), w.is_tracked(), x.dims().to_vec());
    Ok(Tensor::from_op(y, &[x, w], move |d| {
        let d = prepared(d)?;
        let (xv, wv, d) = (host::<T>(&xs), host::<T>(&ws), host::<T>(&d));
        let (mut dx, mut dw) = (vec![T::ZERO; xv.len()], vec![T::ZERO; wv.len()]);
        for g in (0..groups).filter(|_| rows > 0) {
            let (part, d) = (g * k * n..(g + 1) * k * n, mat(&d[g * n..], groups * n));
            // SAFETY: as above.
            unsafe {
                if need_x {
                    let dx = mat_mut(&mut dx[g * k..], groups * k);
                    gemm((rows, k, n), dx, T::ZERO, d, mat(&wv[part.clone()], n).t(), T::ONE, true);
                }
                if need_w {
                    let x = mat(&xv[g * k..], groups * k).t();
                    gemm((k, n, rows), mat_mut(&mut dw[part], n), T::ZERO, x, d, T::ONE, true);
                }
            }
        }
        let dx = if need_x { Some(finish(dx, &before, dtype)?) } else { None };
        Ok(vec![dx, if need_w { Some(finish(dw, &[groups, k, n], dtype)?) } else { None }])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, values};

    #[test]
    fn gradients_match_difference_quotients() {
        let (x, w) = (values(&[2, 3, 12], 1), values(&[3, 4, 5], 2));
        check_gradients(&[x.clone(), w.clone()], |t| grouped_product(&t[0], &t[1]));
        check_gradients(std::slice::from_ref(&w), |t| grouped_product(&x.clone().into(), &t[0]));
    }

    #[test]
    fn each_part_has_its_own_matrix() {
        let (x, w) = (values(&[70, 8], 1), values(&[2, 4, 3], 2));
        let y = grouped_product(&x.clone().into(), &w.clone().into()).unwrap();
        for g in 0..2 {
            let expected = x.narrow(1, g * 4, 4).unwrap().contiguous().unwrap().matmul(&w.get(g).unwrap()).unwrap();
            assert_close(&y.data().narrow(1, g * 3, 3).unwrap().contiguous().unwrap(), &expected, 1e-12);
        }
        assert_eq!(grouped_product(&values(&[2, 7], 1).into(), &w.into()).unwrap_err().code(), "ERR_SHAPE");
    }
}
