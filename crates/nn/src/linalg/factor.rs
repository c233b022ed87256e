//! Factorisations, in f64 on the CPU.

use crate::init::torch::Generator;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device};
use faer::prelude::*;

/// The largest `rank` singular triplets, in f64 inside: `u [m, rank]`, `s [rank]`, `vt [rank, n]`.
pub fn svd(x: &Array, rank: usize) -> Result<(Array, Array, Array)> {
    let m = to_faer(x)?;
    let limit = m.nrows().min(m.ncols());
    if rank > limit {
        return Err(Error::config("r", format!("{rank} is larger than the {limit} singular values of the weight")));
    }
    let svd = m.thin_svd().map_err(|_| Error::Argument("the singular value decomposition did not converge".into()))?;
    let s: Vec<f32> = (0..rank).map(|i| svd.S()[i] as f32).collect();
    let u = from_faer(svd.U().subcols(0, rank), DType::F32)?;
    let vt = from_faer(svd.V().subcols(0, rank).transpose(), DType::F32)?;
    Ok((u, Array::from_vec(s, rank, &Device::Cpu)?, vt))
}

/// About the largest `rank` singular triplets, as `torch.svd_lowrank` draws and computes them: the range of the weight (the
/// shorter way round) times random vectors, sharpened by `iterations` passes of the weight.
///
/// There are as many as the shorter side has where `rank` is more. Halko et al. 2009 (arXiv 0909.4061), algorithms 4.4 and 5.1.
pub fn svd_lowrank(x: &Array, rank: usize, iterations: usize, g: &mut Generator) -> Result<(Array, Array, Array)> {
    let (rows, columns) = x.dims2()?;
    let wide = rows < columns;
    let x = to_faer(x)?;
    let tall = if wide { x.transpose().to_owned() } else { x };
    let random = to_faer(&g.randn(&[tall.ncols(), rank])?)?;
    let mut q = (&tall * random).qr().compute_thin_Q();
    for _ in 0..iterations {
        q = (tall.transpose() * &q).qr().compute_thin_Q();
        q = (&tall * &q).qr().compute_thin_Q();
    }
    let inner = from_faer((q.transpose() * &tall).as_ref(), DType::F64)?;
    let (u, s, vt) = svd(&inner, rank.min(rows).min(columns))?;
    let u = from_faer((&q * to_faer(&u)?).as_ref(), DType::F32)?;
    Ok(if wide { (vt.t()?.contiguous()?, s, u.t()?.contiguous()?) } else { (u, s, vt) })
}

/// Moore's and Penrose's inverse in f64, singular values below `cut` times the largest taken for zero (`torch.linalg.pinv`).
pub fn pseudo_inverse(x: &Array, cut: f64) -> Result<Array> {
    let m = to_faer(x)?;
    let svd = m.thin_svd().map_err(|_| Error::Argument("the singular value decomposition did not converge".into()))?;
    let s: Vec<f64> = (0..m.nrows().min(m.ncols())).map(|i| svd.S()[i]).collect();
    let most = s.iter().fold(0f64, |m, &v| m.max(v));
    let inverse = |v: f64| if v > cut * most { 1. / v } else { 0. };
    let scaled = Mat::from_fn(m.ncols(), s.len(), |i, j| svd.V()[(i, j)] * inverse(s[j]));
    from_faer((scaled * svd.U().transpose()).as_ref(), DType::F64)
}

/// The thin QR decomposition, in f64 inside: `x [m, n]` → `q [m, k]`, `r [k, n]` with `k = min(m, n)`.
pub fn qr(x: &Array) -> Result<(Array, Array)> {
    let m = to_faer(x)?;
    let qr = m.qr();
    Ok((from_faer(qr.compute_thin_Q().as_ref(), DType::F32)?, from_faer(qr.thin_R(), DType::F32)?))
}

/// The orthonormal factor of the QR decomposition whose R has a positive diagonal, which makes it unique.
pub fn unique_q(x: &Array) -> Result<Array> {
    let (q, r) = qr(x)?;
    let signs: Vec<f32> = r.to_vec2::<f32>()?.iter().enumerate().map(|(i, r)| r[i].signum()).collect();
    Ok(q.broadcast_mul(&Array::new(signs, &Device::Cpu)?)?)
}

pub(super) fn to_faer(x: &Array) -> Result<Mat<f64>> {
    let (rows, cols) = x.dims2()?;
    let values: Vec<f64> = x.to_dtype(DType::F64)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    Ok(Mat::from_fn(rows, cols, |i, j| values[i * cols + j]))
}

pub(super) fn from_faer(m: MatRef<'_, f64>, dtype: DType) -> Result<Array> {
    let values: Vec<f64> = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect();
    Ok(Array::from_vec(values, (m.nrows(), m.ncols()), &Device::Cpu)?.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, values};

    #[test]
    fn a_matrix_of_low_rank_is_its_principal_part() {
        for (m, n) in [(9, 6), (5, 8)] {
            let x = values(&[m, 2], 1).matmul(&values(&[2, n], 2)).unwrap().to_dtype(DType::F32).unwrap();
            let (u, s, vt) = svd_lowrank(&x, 3, 2, &mut Generator::new(7)).unwrap();
            assert_eq!((u.dims(), vt.dims()), (&[m, 3][..], &[3, n][..]));
            let again = u.broadcast_mul(&s).unwrap().matmul(&vt).unwrap();
            assert_close(&again, &x, 1e-5);
            let (_, exact, _) = svd(&x, 3).unwrap();
            assert_close(&s, &exact, 1e-5);
        }
    }
}
