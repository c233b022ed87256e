//! Matrices that are zero but for some entries, which train.

use super::host::host;
use super::parallel::{rows_per_task, Shared, GRAIN};
use super::positions::Positions;
use super::precision::{finish, prepared};
use super::real::{dispatch, Real};
use super::simd::simd;
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::Device;
use rayon::prelude::*;

/// `x Sᵀ` for `x [.., columns]` and S `[rows, columns]` with `values [n]` at the positions; where two are equal they add up.
///
/// Neither S nor its gradient is ever formed: an entry's is the product of a row of inputs and one of gradients.
pub fn sparse_linear(x: &Tensor, values: &Tensor, at: &Positions) -> Result<Tensor> {
    check(values, at)?;
    if x.rank() == 0 || x.last_dim() != at.columns {
        let expected = vec![at.columns];
        return Err(Error::Shape { path: "sparse linear input".into(), expected, actual: x.dims().to_vec() });
    }
    if !x.device().is_cpu() {
        let matrix = sparse_matrix(values, at)?;
        return super::linear(x, &matrix, None, super::WeightLayout::OutIn);
    }
    dispatch!(x.dtype(), T => cpu::<T>(x, values, at))
}

/// S itself, `[rows, columns]`.
pub fn sparse_matrix(values: &Tensor, at: &Positions) -> Result<Tensor> {
    check(values, at)?;
    let index = at.index(values.device())?;
    values.scatter_rows(&index, at.rows * at.columns)?.reshape((at.rows, at.columns))
}

fn check(values: &Tensor, at: &Positions) -> Result<()> {
    if values.dims() == [at.len()] {
        return Ok(());
    }
    Err(Error::Shape { path: "sparse values".into(), expected: vec![at.len()], actual: values.dims().to_vec() })
}

fn cpu<T: Real>(x: &Tensor, values: &Tensor, at: &Positions) -> Result<Tensor> {
    let (dtype, tokens) = (x.dtype(), x.data().elem_count() / at.columns.max(1));
    let inputs = prepared(x.data())?;
    let weights = prepared(values.data())?;
    let (order, start) = at.by_row();
    let turned = turn(&host::<T>(&inputs), tokens, at.columns);
    let y = gathered(&turned, &host::<T>(&weights), &at.column, (&order, &start), tokens);
    let mut shape = x.dims().to_vec();
    let y = finish(turn(&y, at.rows, tokens), &replaced(&mut shape, at.rows), dtype)?;
    let (at, value_type, shape) = (at.clone(), values.dtype(), x.dims().to_vec());
    let tracked = (x.is_tracked(), values.is_tracked());
    Ok(Tensor::from_op(y, &[x, values], move |g| {
        let g = turn(&host::<T>(&prepared(g)?), tokens, at.rows);
        let of_values = if tracked.1 {
            let x = turn(&host::<T>(&inputs), tokens, at.columns);
            let mut out = vec![T::ZERO; at.len()];
            out.par_iter_mut().enumerate().with_min_len((GRAIN / tokens.max(1)).max(1)).for_each(|(i, out)| {
                let row = |m: &[T], r: u32| -> std::ops::Range<usize> {
                    debug_assert!(m.len() >= (r as usize + 1) * tokens);
                    r as usize * tokens..(r as usize + 1) * tokens
                };
                *out = dot(&x[row(&x, at.column[i])], &g[row(&g, at.row[i])]);
            });
            Some(finish(out, &[at.len()], value_type)?)
        } else {
            None
        };
        let of_inputs = if tracked.0 {
            let (order, start) = at.by_column();
            let dx = gathered(&g, &host::<T>(&weights), &at.row, (&order, &start), tokens);
            Some(finish(turn(&dx, at.columns, tokens), &shape, dtype)?)
        } else {
            None
        };
        Ok(vec![of_inputs, of_values])
    }))
}

fn replaced(shape: &mut [usize], last: usize) -> Vec<usize> {
    if let Some(end) = shape.last_mut() {
        *end = last;
    }
    shape.to_vec()
}

/// `[rows, columns]` → `[columns, rows]`.
fn turn<T: Real>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    if rows == 1 || columns == 1 {
        return x.to_vec();
    }
    let mut out = vec![T::ZERO; x.len()];
    out.par_chunks_mut(rows.max(1)).enumerate().with_min_len(rows_per_task(rows)).for_each(|(c, out)| {
        out.iter_mut().enumerate().for_each(|(r, out)| *out = x[r * columns + c]);
    });
    out
}

/// Row r of the result is the sum of `weights[i] · x[from[i]]` over the entries i of r; all rows have `width` numbers.
fn gathered<T: Real>(x: &[T], weights: &[T], from: &[u32], (order, start): (&[u32], &[u32]), width: usize) -> Vec<T> {
    let rows = start.len() - 1;
    let mut out = vec![T::ZERO; rows * width];
    let target = Shared(out.as_mut_ptr());
    let entries = order.len() / rows.max(1) + 1;
    (0..rows).into_par_iter().with_min_len(rows_per_task(width * entries)).for_each(|r| {
        // SAFETY: each row is written by one task, and `out` has `rows` of them.
        let out = unsafe { std::slice::from_raw_parts_mut(target.ptr().add(r * width), width) };
        for &i in &order[start[r] as usize..start[r + 1] as usize] {
            let (w, from) = (weights[i as usize], from[i as usize] as usize * width);
            let x = &x[from..from + width];
            simd(
                #[inline(always)]
                || out.iter_mut().zip(x).for_each(|(out, &x)| *out += w * x),
            );
        }
    });
    out
}

fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    simd(
        #[inline(always)]
        || {
            let mut lanes = [T::ZERO; 16];
            let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
            let rest = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(&a, &b)| a * b).sum::<T>();
            for (a, b) in a_chunks.zip(b_chunks) {
                for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                    *lane += a * b;
                }
            }
            lanes.into_iter().sum::<T>() + rest
        },
    )
}

/// The positions of the `count` largest magnitudes (smallest: not `largest`), in that order; of equal ones the first comes first.
pub fn top_magnitudes(w: &Array, count: usize, largest: bool) -> Result<Vec<u32>> {
    let w = w.to_device(&Device::Cpu)?.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let Ok(n) = u32::try_from(w.len()) else {
        return Err(Error::Argument(format!("a weight of {} entries has no 32-bit positions", w.len())));
    };
    let mut at: Vec<u32> = (0..n).collect();
    let magnitude = |&i: &u32| w[i as usize].abs();
    let order = |a: &u32, b: &u32| {
        let by_size = magnitude(a).total_cmp(&magnitude(b));
        (if largest { by_size.reverse() } else { by_size }).then(a.cmp(b))
    };
    let count = count.min(at.len());
    if count < at.len() {
        at.select_nth_unstable_by(count, order);
        at.truncate(count);
    }
    at.sort_unstable_by(order);
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, values};
    use crate::ops::{linear, WeightLayout};

    fn positions() -> Positions {
        let pairs = Array::new(&[[0i64, 3, 3, 1, 0], [2, 0, 1, 2, 2]], &Device::Cpu).unwrap();
        Positions::pairs(&pairs, 4, 3).unwrap()
    }

    #[test]
    fn the_product_is_that_of_the_matrix_and_gradients_are_difference_quotients() {
        let (x, v) = (values(&[2, 3, 3], 1), values(&[5], 2));
        let matrix = sparse_matrix(&v.clone().into(), &positions()).unwrap();
        let expected = linear(&x.clone().into(), &matrix, None, WeightLayout::OutIn).unwrap();
        let found = sparse_linear(&x.clone().into(), &v.clone().into(), &positions()).unwrap();
        assert_close(found.data(), expected.data(), 1e-12);
        check_gradients(&[x, v.clone()], |t| sparse_linear(&t[0], &t[1], &positions()));
        check_gradients(&[values(&[1, 3], 4), v.clone()], |t| sparse_linear(&t[0], &t[1], &positions()));
        check_gradients(&[v], |t| sparse_matrix(&t[0], &positions()));
        let many = values(&[40, 3], 5);
        check_gradients(&[many, values(&[5], 6)], |t| sparse_linear(&t[0], &t[1], &positions()));
    }

    #[test]
    fn positions_outside_are_errors() {
        let flat = |v: &[i64]| Positions::flat(&Array::new(v, &Device::Cpu).unwrap(), 2, 3);
        assert_eq!(flat(&[5, 0]).unwrap().row, [1, 0]);
        assert!(flat(&[6]).unwrap_err().to_string().contains("not in 0..6"));
        assert!(flat(&[-1]).is_err());
        let wrong = Array::new(&[[4i64], [0]], &Device::Cpu).unwrap();
        assert!(Positions::pairs(&wrong, 4, 3).is_err());
    }

    #[test]
    fn the_largest_magnitudes_come_in_order() {
        let w = Array::new(&[[1f32, -4., 2.], [0.5, 3., -2.]], &Device::Cpu).unwrap();
        assert_eq!(top_magnitudes(&w, 3, true).unwrap(), [1, 4, 2]);
        assert_eq!(top_magnitudes(&w, 3, false).unwrap(), [3, 0, 2]);
        assert_eq!(top_magnitudes(&w, 6, true).unwrap().len(), 6);
    }
}
