//! Rotations from skew-symmetric matrices, and products with blocks of them.

use super::factor::{from_faer, to_faer};
use crate::ops::compute_dtype;
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::D;
use faer::linalg::solvers::DenseSolveCore;
use rayon::prelude::*;

/// Skew-symmetric matrices from what is above their diagonals, row by row: `v [blocks, n (n − 1) / 2]` → `[blocks, n, n]`.
pub fn skew_from_upper(v: &Tensor, n: usize) -> Result<Tensor> {
    let &[blocks, upper] = v.dims() else { return Err(refused("upper triangles", vec![0, n * (n - 1) / 2], v)) };
    if upper != n * n.saturating_sub(1) / 2 {
        return Err(refused("upper triangles", vec![blocks, n * n.saturating_sub(1) / 2], v));
    }
    // Where each element is in [v, −v, 0].
    let mut index = vec![2 * upper as u32; n * n];
    let mut at = 0;
    for i in 0..n {
        for j in i + 1..n {
            index[i * n + j] = at;
            index[j * n + i] = upper as u32 + at;
            at += 1;
        }
    }
    let index = Array::from_vec(index, n * n, v.device())?;
    let zero = Array::zeros((blocks, 1), v.dtype(), v.device())?.into();
    Tensor::cat(&[v, &v.neg()?, &zero], 1)?.index_select(&index, 1)?.reshape((blocks, n, n))
}

/// Cayley's transform `R = (I − Q)(I + Q)⁻¹`, a rotation where `q` is skew-symmetric.
///
/// `q [.., n, n]` → `[.., n, n]`, in f64 on the CPU inside. `(I + Q)(I − Q)⁻¹` is the transform of `−q`.
pub fn cayley(q: &Tensor) -> Result<Tensor> {
    let n = square(q)?;
    let wide = q.to_dtype(compute_dtype(q.dtype()))?;
    // R = 2 (I + Q)⁻¹ − I
    let eye = Array::eye(n, wide.dtype(), q.device())?;
    let sums = wide.data().broadcast_add(&eye)?.reshape(((), n, n))?;
    let inverses = (0..sums.dim(0)?).into_par_iter().map(|b| {
        let inverse = to_faer(&sums.get(b)?)?.partial_piv_lu().inverse();
        from_faer(inverse.as_ref(), wide.dtype())
    });
    let inverses = Array::stack(&inverses.collect::<Result<Vec<_>>>()?, 0)?.to_device(q.device())?.reshape(q.dims())?;
    let r = inverses.affine(2., 0.)?.broadcast_sub(&eye)?;
    let y = Tensor::from_op(r, &[&wide], move |g| {
        // dR = −2 (I + Q)⁻¹ dQ (I + Q)⁻¹
        let m = inverses.transpose(D::Minus2, D::Minus1)?.contiguous()?;
        Ok(vec![Some(m.matmul(&g.contiguous()?)?.matmul(&m)?.affine(-2., 0.)?)])
    });
    y.to_dtype(q.dtype())
}

/// The first `terms` of Neumann's series of `(I + Q)(I − Q)⁻¹`: `I + 2 Q + 2 Q² + .. + Qᵏ`, the last one not doubled.
///
/// `q [.., n, n]` → `[.., n, n]`. As in PEFT this is near the transform of `−q`, not of `q`; three terms give what four do; and
/// two give `I + 2 Q`.
///
/// Qiu et al. 2025 (arXiv 2506.19847); PEFT's `_cayley_batch` (`peft.tuners.oft`).
pub fn cayley_neumann(q: &Tensor, terms: usize) -> Result<Tensor> {
    let n = square(q)?;
    let eye = Tensor::from(Array::eye(n, q.dtype(), q.device())?).broadcast_to(q.dims())?;
    if terms < 2 {
        return eye.contiguous();
    }
    let mut sum = eye.add(&q.affine(2., 0.)?)?;
    if terms == 2 {
        return Ok(sum);
    }
    let mut power = q.matmul(q)?;
    sum = sum.add(&power.affine(2., 0.)?)?;
    for _ in 3..terms.saturating_sub(1) {
        power = power.matmul(q)?;
        sum = sum.add(&power.affine(2., 0.)?)?;
    }
    sum.add(&power.matmul(q)?)
}

/// `x diag(R₁, .., R_blocks)`: each part of a row with its own square matrix, or all with the only one.
///
/// `x [.., blocks n]`, `r [blocks, n, n]` or `[1, n, n]` → `[.., blocks n]`, in `x`'s dtype. Fails with [`Error::Shape`] when
/// the blocks do not fill a row.
pub fn block_diagonal_product(x: &Tensor, r: &Tensor) -> Result<Tensor> {
    let n = square(r)?;
    let &[blocks, _, _] = r.dims() else { return Err(refused("blocks", vec![1, n, n], r)) };
    let fits = if blocks == 1 { x.last_dim().is_multiple_of(n) } else { x.last_dim() == blocks * n };
    if x.rank() == 0 || blocks * n == 0 || !fits {
        return Err(refused("input of diagonal blocks", vec![blocks * n], x));
    }
    let wide = x.to_dtype(r.dtype())?.contiguous()?;
    let parts = x.data().elem_count() / n;
    let y = if blocks == 1 {
        wide.reshape((parts, n))?.matmul(&r.reshape((n, n))?)?
    } else {
        let by_block = wide.reshape((parts / blocks, blocks, n))?.transpose(0, 1)?.contiguous()?; // [blocks, rows, n]
        by_block.matmul(r)?.transpose(0, 1)?.contiguous()?
    };
    y.reshape(x.dims())?.to_dtype(x.dtype())
}

/// The size of square matrices.
fn square(q: &Tensor) -> Result<usize> {
    match q.dims() {
        [.., m, n] if m == n => Ok(*n),
        _ => Err(refused("square matrices", vec![q.last_dim(), q.last_dim()], q)),
    }
}

fn refused(path: &str, expected: Vec<usize>, found: &Tensor) -> Error {
    Error::Shape { path: path.into(), expected, actual: found.dims().to_vec() }
}

#[cfg(test)]
mod tests {
    // A list of one operand reads like the lists of several beside it.
    #![allow(clippy::cloned_ref_to_slice_refs)]

    use super::*;
    use crate::linalg::testing::{close_to_python, python};
    use crate::ops::testing::{assert_close, check_gradients, values};
    use candle_core::{DType, Device};

    #[test]
    fn gradients_match_difference_quotients() {
        let v = (values(&[2, 6], 1) * 0.7).unwrap();
        check_gradients(&[v.clone()], |t| skew_from_upper(&t[0], 4));
        check_gradients(&[v.clone()], |t| cayley(&skew_from_upper(&t[0], 4)?));
        // The formula does not need skew symmetry.
        check_gradients(&[(values(&[2, 3, 3], 2) * 0.4).unwrap()], |t| cayley(&t[0]));
        for terms in 2..7 {
            check_gradients(&[v.clone()], |t| cayley_neumann(&skew_from_upper(&t[0], 4)?, terms));
        }
        let x = values(&[2, 3, 12], 3);
        check_gradients(&[x.clone(), values(&[3, 4, 4], 4)], |t| block_diagonal_product(&t[0], &t[1]));
        check_gradients(&[x, values(&[1, 4, 4], 5)], |t| block_diagonal_product(&t[0], &t[1]));
    }

    #[test]
    fn the_transform_of_a_skew_matrix_is_a_rotation_and_its_series_goes_to_that_of_the_negative() {
        let q = skew_from_upper(&(values(&[3, 10], 1) * 0.05).unwrap().into(), 5).unwrap();
        let r = cayley(&q).unwrap().into_data();
        let eye = Array::eye(5, DType::F64, &Device::Cpu).unwrap().broadcast_as((3, 5, 5)).unwrap();
        assert_close(&r.matmul(&r.transpose(1, 2).unwrap()).unwrap(), &eye.contiguous().unwrap(), 1e-12);
        let series = cayley_neumann(&q, 30).unwrap();
        assert_close(series.data(), cayley(&q.neg().unwrap()).unwrap().data(), 1e-12);
    }

    #[test]
    fn rotations_are_pefts() {
        let (x, v) = (python("x"), python("oft_R"));
        let q = skew_from_upper(&v, 4).unwrap();
        close_to_python(&q, "skew");
        close_to_python(&cayley(&q).unwrap(), "cayley");
        for terms in 1..7 {
            close_to_python(&cayley_neumann(&q, terms).unwrap(), &format!("neumann{terms}"));
        }
        close_to_python(&block_diagonal_product(&x, &cayley(&q).unwrap()).unwrap(), "oft");
        let shared = skew_from_upper(&python("oft_R_shared"), 4).unwrap();
        close_to_python(&block_diagonal_product(&x, &cayley(&shared).unwrap()).unwrap(), "oft_shared");
    }

    #[test]
    fn blocks_that_do_not_fill_a_row_are_refused() {
        let x: Tensor = values(&[2, 10], 1).into();
        for blocks in [1, 2, 3] {
            let r = values(&[blocks, 4, 4], 2).into();
            assert_eq!(block_diagonal_product(&x, &r).unwrap_err().code(), "ERR_SHAPE");
        }
        assert_eq!(cayley(&x).unwrap_err().code(), "ERR_SHAPE");
        assert_eq!(skew_from_upper(&x, 4).unwrap_err().code(), "ERR_SHAPE");
    }
}
