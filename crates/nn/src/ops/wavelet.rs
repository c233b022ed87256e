//! One level of an inverse wavelet transform, of coefficients that are zero but for some.

use super::host::host;
use super::positions::Positions;
use super::precision::{finish, prepared};
use super::real::{dispatch, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// The part of a transform that is kept.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub rows: usize,
    pub columns: usize,
}

/// The inverse transform of the coefficients `[rows, columns]` (even numbers) that have `values [n]` at the positions; its first
/// rows and columns are given, as many as `window` has.
///
/// The quadrants are approximation, horizontal, vertical and diagonal details. `low` is the low-pass filter of reconstruction, whose
/// length is even, and what it adds at the borders is cut off. A coefficient adds a patch of the filter's length squared: only
/// those are computed. Mallat 1989; `pywt.waverec2` with one level.
pub fn inverse_wavelet(values: &Tensor, at: &Positions, low: &[f64], window: Window) -> Result<Tensor> {
    if values.dims() != [at.len()] {
        let expected = vec![at.len()];
        return Err(Error::Shape { path: "coefficients".into(), expected, actual: values.dims().to_vec() });
    }
    let patches = Patches::new(at, low, window);
    if !values.device().is_cpu() {
        return composed(values, &patches);
    }
    dispatch!(values.dtype(), T => cpu::<T>(values, patches))
}

/// What each coefficient adds: the outer product of two filters at its place.
struct Patches {
    low: Vec<f64>,
    high: Vec<f64>,
    /// The first row and column of each patch, which may lie outside, and whether its filters are the high-pass ones.
    row: Vec<(i64, bool)>,
    column: Vec<(i64, bool)>,
    /// Patches by their first row.
    order: Vec<u32>,
    window: Window,
}

impl Patches {
    fn new(at: &Positions, low: &[f64], window: Window) -> Self {
        let alternating = |(i, v): (usize, &f64)| if i % 2 == 0 { *v } else { -*v };
        let high = low.iter().rev().enumerate().map(alternating).collect();
        let cut = low.len() as i64 - 2;
        let place = |index: &[u32], size: usize, other: &[u32], other_size: usize| -> Vec<(i64, bool)> {
            let (half, other_half) = (size as u32 / 2, other_size as u32 / 2);
            // The details beside the approximation are those of the rows, so that a place in the one direction says which
            // filter is used in the other.
            index.iter().zip(other).map(|(&i, &o)| (2 * i64::from(i % half.max(1)) - cut, o >= other_half)).collect()
        };
        let row = place(&at.row, at.rows, &at.column, at.columns);
        let column = place(&at.column, at.columns, &at.row, at.rows);
        let mut order: Vec<u32> = (0..row.len() as u32).collect();
        order.sort_by_key(|&k| row[k as usize].0);
        Self { low: low.to_vec(), high, row, column, order, window }
    }

    fn filter(&self, high: bool) -> &[f64] {
        if high {
            &self.high
        } else {
            &self.low
        }
    }

    /// Where in `0..size` a patch from `start` on lies, and the filter's numbers there.
    fn inside(&self, (start, high): (i64, bool), size: usize) -> (usize, &[f64]) {
        let filter = self.filter(high);
        let first = (-start).clamp(0, filter.len() as i64) as usize;
        let last = (size as i64 - start).clamp(first as i64, filter.len() as i64) as usize;
        ((start + first as i64).max(0) as usize, &filter[first..last])
    }
}

fn cpu<T: Real>(values: &Tensor, patches: Patches) -> Result<Tensor> {
    let dtype = values.dtype();
    let Window { rows, columns } = patches.window;
    let coefficients = prepared(values.data())?;
    let y = added::<T>(&host::<T>(&coefficients), &patches);
    Ok(Tensor::from_op(finish(y, &[rows, columns], dtype)?, &[values], move |g| {
        let g = prepared(g)?;
        let g = host::<T>(&g);
        let one = |k: usize| {
            let (top, down) = patches.inside(patches.row[k], rows);
            let (left, along) = patches.inside(patches.column[k], columns);
            let row = |(i, &d): (usize, &f64)| {
                let g = &g[(top + i) * columns + left..][..along.len()];
                d * g.iter().zip(along).map(|(g, a)| g.wide() * a).sum::<f64>()
            };
            T::of(down.iter().enumerate().map(row).sum())
        };
        let grad: Vec<T> = (0..patches.row.len()).into_par_iter().with_min_len(64).map(one).collect();
        Ok(vec![Some(finish(grad, &[patches.row.len()], dtype)?)])
    }))
}

/// The sum of all patches, by bands of rows.
fn added<T: Real>(values: &[T], patches: &Patches) -> Vec<T> {
    const BAND: usize = 64;
    let Window { rows, columns } = patches.window;
    let length = patches.low.len() as i64;
    let mut out = vec![T::ZERO; rows * columns];
    out.par_chunks_mut(BAND * columns.max(1)).enumerate().for_each(|(band, out)| {
        let (first, last) = ((band * BAND) as i64, ((band + 1) * BAND) as i64);
        let begin = patches.order.partition_point(|&k| patches.row[k as usize].0 + length <= first);
        let near = patches.order[begin..].iter().take_while(|&&k| patches.row[k as usize].0 < last);
        for k in near.map(|&k| k as usize) {
            let (start, high) = patches.row[k];
            let (top, down) = patches.inside((start - first, high), out.len() / columns);
            let (left, along) = patches.inside(patches.column[k], columns);
            for (i, d) in down.iter().enumerate() {
                let d = values[k] * T::of(*d);
                let out = &mut out[(top + i) * columns + left..][..along.len()];
                out.iter_mut().zip(along).for_each(|(out, &a)| *out += d * T::of(a));
            }
        }
    });
    out
}

fn composed(values: &Tensor, patches: &Patches) -> Result<Tensor> {
    let Window { rows, columns } = patches.window;
    let (mut of, mut to, mut by) = (Vec::new(), Vec::new(), Vec::new());
    for k in 0..patches.row.len() {
        let (top, down) = patches.inside(patches.row[k], rows);
        let (left, along) = patches.inside(patches.column[k], columns);
        for (i, d) in down.iter().enumerate() {
            for (j, a) in along.iter().enumerate() {
                of.push(k as u32);
                to.push(((top + i) * columns + left + j) as i64);
                by.push(d * a);
            }
        }
    }
    let (n, device) = (of.len(), values.device());
    let by: Tensor =
        Array::from_vec(by, n, &candle_core::Device::Cpu)?.to_dtype(values.dtype())?.to_device(device)?.into();
    let parts = values.index_select(&Array::from_vec(of, n, device)?, 0)?.mul(&by)?;
    parts.scatter_rows(&Array::from_vec(to, n, device)?, rows * columns)?.reshape((rows, columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, values};
    use candle_core::Device;

    #[test]
    fn haar_s_transform_of_one_coefficient_each() {
        let half = 0.5f64.sqrt();
        let at = Positions::pairs(&Array::new(&[[0i64, 0, 1, 1], [0, 1, 0, 1]], &Device::Cpu).unwrap(), 2, 2).unwrap();
        let one = |k: usize| {
            let mut v = vec![0.; 4];
            v[k] = 1.;
            let v = Array::from_vec(v, 4, &Device::Cpu).unwrap();
            let y = inverse_wavelet(&v.into(), &at, &[half, half], Window { rows: 2, columns: 2 }).unwrap();
            y.data().affine(2., 0.).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        let signs = [[1., 1., 1., 1.], [1., 1., -1., -1.], [1., -1., 1., -1.], [1., -1., -1., 1.]];
        for (k, expected) in signs.iter().enumerate() {
            assert!(one(k).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{k}: {:?}", one(k));
        }
    }

    #[test]
    fn the_patches_are_those_of_the_composed_form_and_gradients_are_difference_quotients() {
        let low = [0.48296, 0.83652, 0.22414, -0.12941];
        let flat = Array::new(&[0i64, 7, 13, 22, 41, 63, 97, 130], &Device::Cpu).unwrap();
        let at = Positions::flat(&flat, 12, 14).unwrap();
        let (v, window) = (values(&[8], 3), Window { rows: 9, columns: 12 });
        let found = inverse_wavelet(&v.clone().into(), &at, &low, window).unwrap();
        let patches = Patches::new(&at, &low, window);
        assert_close(found.data(), composed(&v.clone().into(), &patches).unwrap().data(), 1e-12);
        check_gradients(std::slice::from_ref(&v), |v| inverse_wavelet(&v[0], &at, &low, window));
        check_gradients(&[v], |v| composed(&v[0], &patches));
    }
}
