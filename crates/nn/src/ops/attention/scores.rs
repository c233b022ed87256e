//! Rows of scores: masked, dropped, and turned into weights.

use super::sizes::Sizes;
use crate::ops::dropout::keep;
use crate::ops::mask::{Mask, MaskData};
use crate::ops::real::Real;
use crate::ops::reduce::row_max;

pub(super) struct Kernel<'a, T> {
    pub size: Sizes,
    pub mask: &'a Mask,
    pub data: &'a MaskData<T>,
    pub scale: T,
    pub dropout: Option<(f32, u64)>,
}

impl<T: Real> Kernel<'_, T> {
    /// Turns raw products of query `i` with `keys` into masked, scaled scores.
    #[inline(always)]
    pub fn mask_row(&self, row: &mut [T], b: usize, h: usize, i: usize, keys: &std::ops::Range<usize>) {
        let s = &self.size;
        for x in row.iter_mut() {
            *x *= self.scale;
        }
        let position = i as isize + s.keys as isize - s.queries as isize;
        if self.mask.causal {
            let visible = (position + 1 - keys.start as isize).clamp(0, row.len() as isize) as usize;
            row[visible..].fill(T::NEG_INFINITY);
        }
        let window = self.mask.window.map_or(0, |w| position + 1 - w as isize);
        let first = window.max(self.mask.start(b * s.queries + i));
        let hidden = (first - keys.start as isize).clamp(0, row.len() as isize) as usize;
        row[..hidden].fill(T::NEG_INFINITY);
        if let Some(padding) = &self.data.keys {
            let padding = &padding[b * s.keys..][keys.clone()];
            row.iter_mut().zip(padding).for_each(|(x, &p)| *x += p);
        }
        if let Some((dense, per_row, per_head)) = &self.data.dense {
            let heads = if *per_head { s.heads } else { 1 };
            let plane = if *per_row { b * heads } else { 0 } + if *per_head { h } else { 0 };
            let dense = &dense[(plane * s.queries + i) * s.keys..][keys.clone()];
            row.iter_mut().zip(dense).for_each(|(x, &p)| *x += p);
        }
    }

    pub fn drop_row(&self, row: &mut [T], b: usize, h: usize, i: usize, keys: &std::ops::Range<usize>) {
        let Some((rate, seed)) = self.dropout else {
            return;
        };
        let s = &self.size;
        let base = (((b * s.heads + h) * s.queries + i) * s.keys + keys.start) as u64;
        let scale = T::of(1. / (1. - f64::from(rate)));
        for (j, x) in row.iter_mut().enumerate() {
            *x = if keep(seed, base + j as u64, rate) { *x * scale } else { T::ZERO };
        }
    }
}

/// Softmax in place; returns log Σ exp. A row of -inf becomes zeros and +inf.
#[inline(always)]
pub(super) fn softmax_row<T: Real>(row: &mut [T]) -> T {
    let max = row_max(row);
    if max == T::NEG_INFINITY {
        row.fill(T::ZERO);
        return -T::NEG_INFINITY;
    }
    let mut lanes = [T::ZERO; 16];
    let mut chunks = row.chunks_exact_mut(16);
    for chunk in &mut chunks {
        for (x, lane) in chunk.iter_mut().zip(&mut lanes) {
            *x = (*x - max).fast_exp();
            *lane += *x;
        }
    }
    let mut total: T = lanes.into_iter().sum();
    for x in chunks.into_remainder() {
        *x = (*x - max).fast_exp();
        total += *x;
    }
    let inverse = T::ONE / total;
    row.iter_mut().for_each(|x| *x *= inverse);
    max + total.ln()
}
