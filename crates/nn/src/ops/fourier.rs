//! The inverse Fourier transform of a spectrum that is zero but for some entries.

use super::host::host;
use super::positions::Positions;
use super::precision::{finish, prepared};
use super::real::{dispatch, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::Device;
use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{FftNum, FftPlanner};
use std::collections::BTreeMap;

/// `Re(ifft2(S))` of the spectrum S `[rows, columns]` with `values [n]` at the positions.
///
/// Only rows of S that hold something are transformed, and two columns at once, as the result is real.
pub fn inverse_fourier(values: &Tensor, at: &Positions) -> Result<Tensor> {
    if values.dims() != [at.len()] {
        let expected = vec![at.len()];
        return Err(Error::Shape { path: "spectrum".into(), expected, actual: values.dims().to_vec() });
    }
    if !values.device().is_cpu() {
        return composed(values, at);
    }
    dispatch!(values.dtype(), T => cpu::<T>(values, at))
}

/// `Σ sₖ cos(2π (iₖ a / rows + jₖ b / columns)) / (rows columns)`, as a product of two thin matrices.
fn composed(values: &Tensor, at: &Positions) -> Result<Tensor> {
    let waves = |index: &[u32], size: usize, sine: bool| -> Result<Tensor> {
        let wave = |a: usize| {
            index.iter().map(move |&i| {
                let turn = (a * i as usize % size) as f64 / size as f64 * std::f64::consts::TAU;
                if sine {
                    turn.sin()
                } else {
                    turn.cos()
                }
            })
        };
        let all: Vec<f64> = (0..size).flat_map(wave).collect();
        let all = Array::from_vec(all, (size, index.len()), &Device::Cpu)?.to_dtype(values.dtype())?;
        Ok(all.to_device(values.device())?.into())
    };
    let product = |sine: bool| -> Result<Tensor> {
        let left = waves(&at.row, at.rows, sine)?.mul(values)?;
        left.matmul(&waves(&at.column, at.columns, sine)?.transpose(0, 1)?)
    };
    product(false)?.sub(&product(true)?)?.affine(1. / (at.rows * at.columns) as f64, 0.)
}

/// Entries by the row of S that they are in.
fn lines(at: &Positions) -> Vec<(usize, Vec<usize>)> {
    let mut lines: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    at.row.iter().enumerate().for_each(|(k, &r)| lines.entry(r as usize).or_default().push(k));
    lines.into_iter().collect()
}

fn cpu<T: Real + FftNum>(values: &Tensor, at: &Positions) -> Result<Tensor> {
    let dtype = values.dtype();
    let spectrum = prepared(values.data())?;
    let y = forward::<T>(&host::<T>(&spectrum), at);
    let at = at.clone();
    Ok(Tensor::from_op(finish(y, &[at.rows, at.columns], dtype)?, &[values], move |g| {
        let g = prepared(g)?;
        let grad = backward::<T>(&host::<T>(&g), &at);
        Ok(vec![Some(finish(grad, &[at.len()], dtype)?)])
    }))
}

fn forward<T: Real + FftNum>(spectrum: &[T], at: &Positions) -> Vec<T> {
    let (rows, columns) = (at.rows, at.columns);
    let mut planner = FftPlanner::new();
    let (along, down) = (planner.plan_fft_inverse(columns), planner.plan_fft_inverse(rows));
    let zero = Complex::new(T::ZERO, T::ZERO);
    let scale = T::of(1. / (rows * columns) as f64);
    let lines = lines(at);
    // [lines, columns]: of each row of S that is not empty its transform.
    let mut waves = vec![zero; lines.len() * columns];
    waves.par_chunks_mut(columns.max(1)).zip(&lines).for_each(|(wave, (_, entries))| {
        entries.iter().for_each(|&k| wave[at.column[k] as usize].re += spectrum[k] * scale);
        along.process(wave);
    });
    // The real part of a transform is that of the Hermitian half of what is transformed, and of two such halves one
    // transform gives the first in its real and the second in its imaginary part.
    let half = T::of(0.5);
    let mut turned = vec![T::ZERO; rows * columns]; // [columns, rows]
    turned.par_chunks_mut(2 * rows.max(1)).enumerate().for_each_init(
        || vec![zero; rows],
        |line, (pair, out)| {
            line.fill(zero);
            for (side, b) in (2 * pair..columns.min(2 * pair + 2)).enumerate() {
                for (i, (row, _)) in lines.iter().enumerate() {
                    let z = waves[i * columns + b] * half;
                    let mirrored = (rows - row) % rows;
                    let (a, b) =
                        if side == 0 { (z, z.conj()) } else { (Complex::new(-z.im, z.re), Complex::new(z.im, z.re)) };
                    line[*row] += a;
                    line[mirrored] += b;
                }
            }
            down.process(line);
            let (first, second) = out.split_at_mut(rows);
            first.iter_mut().zip(&*line).for_each(|(out, z)| *out = z.re);
            second.iter_mut().zip(&*line).for_each(|(out, z)| *out = z.im);
        },
    );
    turn(&turned, columns, rows)
}

/// The gradient of each entry: `Σ g[a, b] cos(2π (i a / rows + j b / columns)) / (rows columns)`.
fn backward<T: Real + FftNum>(g: &[T], at: &Positions) -> Vec<T> {
    let (rows, columns) = (at.rows, at.columns);
    let mut planner = FftPlanner::new();
    let (along, down) = (planner.plan_fft_inverse(columns), planner.plan_fft_inverse(rows));
    let zero = Complex::new(T::ZERO, T::ZERO);
    let (half, scale) = (T::of(0.5), T::of(1. / (rows * columns) as f64));
    let turned = turn(g, rows, columns); // [columns, rows]
    let lines = lines(at);
    // [columns, lines]: the transform of each column at the rows that count.
    let mut waves = vec![zero; columns * lines.len()];
    waves.par_chunks_mut(2 * lines.len().max(1)).enumerate().for_each_init(
        || vec![zero; rows],
        |line, (pair, out)| {
            let first = &turned[2 * pair * rows..][..rows];
            let second = turned.get((2 * pair + 1) * rows..(2 * pair + 2) * rows);
            for (a, z) in line.iter_mut().enumerate() {
                *z = Complex::new(first[a], second.map_or(T::ZERO, |s| s[a]));
            }
            down.process(line);
            for (i, (row, _)) in lines.iter().enumerate() {
                let (z, w) = (line[*row], line[(rows - row) % rows].conj());
                out[i] = (z + w) * half;
                if let Some(out) = out.get_mut(lines.len() + i) {
                    let d = (z - w) * half;
                    *out = Complex::new(d.im, -d.re);
                }
            }
        },
    );
    let parts: Vec<Vec<(usize, T)>> = lines
        .par_iter()
        .enumerate()
        .map_init(
            || vec![zero; columns],
            |wave, (i, (_, entries))| {
                wave.iter_mut().enumerate().for_each(|(b, z)| *z = waves[b * lines.len() + i]);
                along.process(wave);
                entries.iter().map(|&k| (k, wave[at.column[k] as usize].re * scale)).collect()
            },
        )
        .collect();
    let mut grad = vec![T::ZERO; at.len()];
    parts.into_iter().flatten().for_each(|(k, g)| grad[k] = g);
    grad
}

/// `[rows, columns]` → `[columns, rows]`, by tiles that stay in the cache.
fn turn<T: Real>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    const TILE: usize = 16;
    let mut out = vec![T::ZERO; x.len()];
    out.par_chunks_mut(TILE * rows.max(1)).enumerate().for_each(|(tile, out)| {
        let first = tile * TILE;
        for r in 0..rows {
            for (c, out) in out.chunks_mut(rows).enumerate() {
                out[r] = x[r * columns + first + c];
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, values};

    #[test]
    fn it_is_the_sum_of_waves_for_every_parity_and_gradients_are_difference_quotients() {
        for (rows, columns) in [(4, 6), (5, 3), (6, 5), (1, 4), (3, 1), (7, 8)] {
            let n = (rows * columns).min(7);
            let flat: Vec<i64> = (0..n as i64).map(|i| i * 3 % (rows * columns) as i64).collect();
            let at = Positions::flat(&Array::new(flat, &Device::Cpu).unwrap(), rows, columns).unwrap();
            let spectrum = values(&[n], 3);
            let found = inverse_fourier(&spectrum.clone().into(), &at).unwrap();
            assert_close(found.data(), composed(&spectrum.clone().into(), &at).unwrap().data(), 1e-12);
            check_gradients(std::slice::from_ref(&spectrum), |s| inverse_fourier(&s[0], &at));
            check_gradients(&[spectrum], |s| composed(&s[0], &at));
        }
    }
}
