//! Rotary position embedding.

use super::host::{host, uninit};
use super::precision::{finish, prepared};
use super::real::{dispatch, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::{DType, Device};
use rayon::prelude::*;

/// Cosines and sines for the positions of one pass: `[rows, seq, rotary / 2]`, rows 1 or the batch size.
#[derive(Clone)]
pub struct RopeTable {
    cos: Array,
    sin: Array,
}

impl RopeTable {
    /// `angle = position · frequency`; `scale` multiplies both tables (YaRN's attention factor).
    ///
    /// `positions` holds `rows · seq` numbers. The angles are formed in f32 (as Python does) for f32 and narrower models.
    pub fn new(
        positions: &[i64],
        rows: usize,
        frequencies: &[f32],
        scale: f64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let seq = positions.len() / rows.max(1);
        let half = frequencies.len();
        let angles: Vec<f32> = positions.iter().flat_map(|&p| frequencies.iter().map(move |&f| p as f32 * f)).collect();
        let table = |f: fn(f64) -> f64| -> Result<Array> {
            let values: Vec<f64> = angles.iter().map(|&a| f(f64::from(a)) * scale).collect();
            let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            // Half-precision models round the tables, as Python's `cos.to(dtype=x.dtype)` does.
            Ok(Array::from_vec(values, (rows, seq, half), &Device::Cpu)?
                .to_dtype(wide)?
                .to_dtype(dtype)?
                .to_device(device)?)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }
}

/// Rotates the pairs `(x[i], x[i + rotary/2])` of each head by the table's angles; the rest of the head is unchanged.
///
/// `x [batch, seq, heads, head_dim]` → the same shape. Su et al. 2021 (arXiv 2104.09864), in the half-split form.
pub fn rope(x: &Tensor, table: &RopeTable) -> Result<Tensor> {
    let &[batch, seq, _, head_dim] = x.dims() else {
        return Err(Error::Argument(format!("rope: expected [batch, seq, heads, head_dim], found {:?}", x.dims())));
    };
    let (rows, table_seq, half) = table.cos.dims3()?;
    if table_seq != seq || (rows != 1 && rows != batch) || 2 * half > head_dim {
        return Err(Error::Shape {
            path: "rotary table".into(),
            expected: vec![batch, seq, head_dim / 2],
            actual: vec![rows, table_seq, half],
        });
    }
    if !x.device().is_cpu() {
        return composed(x, table, half);
    }
    dispatch!(x.dtype(), T => cpu::<T>(x, table))
}

fn composed(x: &Tensor, table: &RopeTable, half: usize) -> Result<Tensor> {
    let (cos, sin): (Tensor, Tensor) = (table.cos.unsqueeze(2)?.into(), table.sin.unsqueeze(2)?.into());
    let (a, b) = (x.narrow(-1, 0, half)?, x.narrow(-1, half, half)?);
    let first = a.mul(&cos)?.sub(&b.mul(&sin)?)?;
    let second = b.mul(&cos)?.add(&a.mul(&sin)?)?;
    let rest = x.last_dim() - 2 * half;
    if rest == 0 {
        return Tensor::cat(&[&first, &second], -1);
    }
    Tensor::cat(&[&first, &second, &x.narrow(-1, 2 * half, rest)?], -1)
}

fn cpu<T: Real>(x: &Tensor, table: &RopeTable) -> Result<Tensor> {
    let y = rotate::<T>(x.data(), table, T::ONE)?;
    let table = table.clone();
    // The inverse of a rotation is the rotation back (times the square of a YaRN scale, which the tables hold).
    Ok(Tensor::from_op(y, &[x], move |g| Ok(vec![Some(rotate::<T>(g, &table, -T::ONE)?)])))
}

fn rotate<T: Real>(x: &Array, table: &RopeTable, direction: T) -> Result<Array> {
    let dtype = x.dtype();
    let (_, seq, heads, head_dim) = x.dims4()?;
    let (rows, _, half) = table.cos.dims3()?;
    let (xs, cos, sin) = (prepared(x)?, prepared(&table.cos)?, prepared(&table.sin)?);
    let (xv, cos, sin) = (host::<T>(&xs), host::<T>(&cos), host::<T>(&sin));
    let (xv, cos, sin): (&[T], &[T], &[T]) = (&xv, &cos, &sin);
    let mut y = uninit::<T>(xv.len());
    let width = heads * head_dim;
    y.par_chunks_mut(width.max(1)).zip(xv.par_chunks(width.max(1))).with_min_len(16).enumerate().for_each(
        |(token, (y, x))| {
            let at = if rows == 1 { token % seq } else { token } * half;
            let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
            for (y, x) in y.chunks_exact_mut(head_dim).zip(x.chunks_exact(head_dim)) {
                let (x1, x2) = (&x[..half], &x[half..2 * half]);
                let (y1, rest) = y.split_at_mut(half);
                let (y2, tail) = rest.split_at_mut(half);
                for i in 0..half {
                    let s = sin[i] * direction;
                    y1[i] = x1[i] * cos[i] - x2[i] * s;
                    y2[i] = x2[i] * cos[i] + x1[i] * s;
                }
                tail.copy_from_slice(&x[2 * half..]);
            }
        },
    );
    finish(y, x.dims(), dtype)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradients, values};
    use super::*;

    fn table(rows: usize) -> RopeTable {
        let positions: Vec<i64> = (0..3 * rows as i64).map(|p| p * 2 + 1).collect();
        RopeTable::new(&positions, rows, &[1., 0.3], 1.2, DType::F64, &Device::Cpu).unwrap()
    }

    #[test]
    fn gradients_match_difference_quotients() {
        check_gradients(&[values(&[2, 3, 2, 5], 1)], |t| rope(&t[0], &table(1)));
        check_gradients(&[values(&[2, 3, 2, 4], 1)], |t| rope(&t[0], &table(2)));
    }

    #[test]
    fn equals_its_composed_form() {
        let x: Tensor = values(&[2, 3, 2, 5], 1).into();
        assert_close(rope(&x, &table(2)).unwrap().data(), composed(&x, &table(2), 2).unwrap().data(), 1e-12);
    }
}
