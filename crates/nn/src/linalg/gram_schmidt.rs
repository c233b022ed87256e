//! Orthonormal columns, with a gradient.

use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::{DType, Device};

/// Orthonormal columns that span what those of `u` span: `wᵢ = tᵢ / ‖tᵢ‖`, where `tᵢ` is `uᵢ` less its projections on
/// `w₁ .. wᵢ₋₁`, taken off one after the other.
///
/// `u [n, r]` → `[n, r]`, in f64 inside. A column that depends on those before it leaves what rounding makes of it, in Python
/// as here. Fails with [`Error::Shape`] where there are more columns than rows.
///
/// PEFT's `apply_GS` (`peft.tuners.hra`).
pub fn gram_schmidt(u: &Tensor) -> Result<Tensor> {
    let &[n, r] = u.dims() else { return Err(shape(u)) };
    if r > n {
        return Err(shape(u));
    }
    let mut w = columns(u.data())?;
    let mut norms = Vec::with_capacity(r);
    // What was taken off column i along each column before it.
    let mut projections = vec![vec![]; r];
    for (i, projections) in projections.iter_mut().enumerate() {
        let (before, rest) = w.split_at_mut(i);
        let t = &mut rest[0];
        for w in before {
            let c = dot(t, w);
            add(t, -c, w);
            projections.push(c);
        }
        let norm = dot(t, t).sqrt();
        t.iter_mut().for_each(|t| *t /= norm);
        norms.push(norm);
    }
    let (dtype, device) = (u.dtype(), u.device().clone());
    let y = array(&w, n, dtype, &device)?;
    Ok(Tensor::from_op(y, &[u], move |g| {
        // Through the steps of the forward pass in reverse order; `t` is recomputed by putting back what was taken off.
        let mut g = columns(g)?;
        for i in (0..r).rev() {
            let (before, rest) = g.split_at_mut(i);
            let dt = &mut rest[0];
            let along = dot(dt, &w[i]);
            add(dt, -along, &w[i]);
            dt.iter_mut().for_each(|d| *d /= norms[i]);
            let mut t: Vec<f64> = w[i].iter().map(|w| w * norms[i]).collect();
            for (j, &c) in projections[i].iter().enumerate().rev() {
                add(&mut t, c, &w[j]);
                let dc = -dot(dt, &w[j]);
                add(&mut before[j], -c, dt);
                add(&mut before[j], dc, &t);
                add(dt, dc, &w[j]);
            }
        }
        Ok(vec![Some(array(&g, n, dtype, &device)?)])
    }))
}

fn shape(u: &Tensor) -> Error {
    let r = u.last_dim();
    Error::Shape { path: "vectors to make orthonormal".into(), expected: vec![r, r], actual: u.dims().to_vec() }
}

/// The columns of a matrix.
fn columns(x: &Array) -> Result<Vec<Vec<f64>>> {
    Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.t()?.to_vec2()?)
}

fn array(columns: &[Vec<f64>], n: usize, dtype: DType, device: &Device) -> Result<Array> {
    let rows: Vec<f64> = (0..n).flat_map(|k| columns.iter().map(move |c| c[k])).collect();
    Ok(Array::from_vec(rows, (n, columns.len()), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `a += scale · b`
fn add(a: &mut [f64], scale: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += scale * b);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::testing::{close_to_python, python};
    use crate::ops::testing::{assert_close, check_gradients, values};

    #[test]
    fn columns_are_orthonormal_and_those_of_peft() {
        let w = gram_schmidt(&values(&[9, 4], 1).into()).unwrap().into_data();
        let eye = Array::eye(4, DType::F64, &Device::Cpu).unwrap();
        assert_close(&w.t().unwrap().matmul(&w).unwrap(), &eye, 1e-12);
        close_to_python(&gram_schmidt(&python("hra_u")).unwrap(), "gram_schmidt");
    }

    #[test]
    fn gradients_match_difference_quotients() {
        check_gradients(&[values(&[6, 4], 2)], |t| gram_schmidt(&t[0]));
        check_gradients(&[values(&[3, 3], 5)], |t| gram_schmidt(&t[0]));
    }

    #[test]
    fn more_columns_than_rows_are_refused() {
        assert_eq!(gram_schmidt(&values(&[2, 3], 1).into()).unwrap_err().code(), "ERR_SHAPE");
    }
}
