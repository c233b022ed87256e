//! Systems of equations and eigenvectors, in f64 on the CPU.

use super::factor::{from_faer, to_faer};
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::DType;
use faer::linalg::solvers::DenseSolveCore;
use faer::prelude::*;
use faer::Side;

/// `x yᵀ⁻¹` of `x [m, n]` and `y [n, n]` in f64: the z with `z yᵀ = x`, or the nearest where y has no inverse.
pub fn quotient(x: &Array, y: &Array) -> Result<Array> {
    let (x, y) = (to_faer(x)?, to_faer(y)?);
    let z = y.partial_piv_lu().solve(x.transpose());
    if (0..z.ncols()).all(|j| (0..z.nrows()).all(|i| z[(i, j)].is_finite())) {
        return from_faer(z.transpose(), DType::F64);
    }
    const SMALLEST: f64 = 1e-6;
    let svd = y.thin_svd().map_err(|_| diverged())?;
    let (u, s, v) = (svd.U(), svd.S(), svd.V());
    let limit = SMALLEST * (0..y.ncols()).map(|i| s[i]).fold(0., f64::max);
    let scaled = Mat::from_fn(v.nrows(), v.ncols(), |i, j| if s[j] > limit { v[(i, j)] / s[j] } else { 0. });
    let z = &scaled * (u.transpose() * x.transpose());
    from_faer(z.transpose(), DType::F64)
}

/// `x⁻¹` of a square matrix, in f64.
pub fn inverse(x: &Array) -> Result<Array> {
    from_faer(to_faer(x)?.partial_piv_lu().inverse().as_ref(), DType::F64)
}

/// The eigenvectors of a symmetric matrix as columns, those of small eigenvalues first, in f64.
pub fn eigenvectors(x: &Array) -> Result<Array> {
    let eigen = to_faer(x)?.self_adjoint_eigen(Side::Lower).map_err(|_| diverged())?;
    from_faer(eigen.U(), DType::F64)
}

/// All right singular vectors of `x [m, n]` as columns `[n, n]`, in f64.
pub fn full_v(x: &Array) -> Result<Array> {
    let svd = to_faer(x)?.svd().map_err(|_| diverged())?;
    from_faer(svd.V(), DType::F64)
}

fn diverged() -> Error {
    Error::Argument("a decomposition did not converge".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, values};

    #[test]
    fn a_quotient_times_what_it_was_divided_by_is_what_was_divided() {
        let (x, y) = (values(&[3, 4], 1), values(&[4, 4], 2));
        let z = quotient(&x, &y).unwrap();
        assert_close(&z.matmul(&y.t().unwrap()).unwrap(), &x, 1e-10);
        // Without an inverse: of rank one, and x in what it reaches.
        let (a, b) = (values(&[4, 1], 3), values(&[1, 4], 4));
        let y = a.matmul(&b).unwrap();
        let x = values(&[3, 4], 5).matmul(&y.t().unwrap()).unwrap();
        assert_close(&quotient(&x, &y).unwrap().matmul(&y.t().unwrap()).unwrap(), &x, 1e-8);
    }

    #[test]
    fn inverses_eigenvectors_and_singular_vectors_are_what_they_are_called() {
        let x = values(&[4, 4], 6);
        let unit = Array::eye(4, DType::F64, x.device()).unwrap();
        assert_close(&inverse(&x).unwrap().matmul(&x).unwrap(), &unit, 1e-10);
        let symmetric = (&x + x.t().unwrap()).unwrap();
        let e = eigenvectors(&symmetric).unwrap();
        let diagonal = e.t().unwrap().matmul(&symmetric).unwrap().matmul(&e).unwrap().to_vec2::<f64>().unwrap();
        for (i, row) in diagonal.iter().enumerate() {
            assert!(row.iter().enumerate().all(|(j, v)| i == j || v.abs() < 1e-10));
            assert!(i == 0 || diagonal[i - 1][i - 1] <= row[i]);
        }
        let v = full_v(&values(&[2, 4], 7)).unwrap();
        assert_close(&v.t().unwrap().matmul(&v).unwrap(), &unit, 1e-10);
    }
}
