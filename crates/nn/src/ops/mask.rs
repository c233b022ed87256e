//! Which keys a query may see.

use super::host::host;
use super::precision::compute_dtype;
use super::real::Real;
use crate::tensor::Array;
use crate::Result;
use candle_core::{DType, Device};
use std::ops::Range;
use std::sync::Arc;

/// Which keys a query may see. The parts add up; a query that sees nothing attends to nothing and gives zeros.
#[derive(Clone, Default, Debug)]
pub struct Mask {
    /// Query `i` sees keys up to its own position; queries are the last ones of the keys.
    pub causal: bool,
    /// Sliding window: only the last `window` positions, its own included.
    pub window: Option<usize>,
    /// `[batch, keys]`, added to the scores of every query (0 = visible, -inf = hidden).
    pub keys: Option<Array>,
    /// `[batch or 1, heads or 1, queries, keys]`, added to the scores.
    pub dense: Option<Array>,
    /// `[batch, queries]`: the first key that each query may see, never falling within a row. Rows that are packed of several
    /// sequences keep them apart with it.
    pub starts: Option<Arc<Vec<usize>>>,
}

impl Mask {
    /// From 1 (keep) and 0 (hide) per token, `[batch, keys]` in row-major order; absent when nothing is hidden.
    pub fn padding(keep: &[i64], batch: usize, device: &Device) -> Result<Option<Array>> {
        if keep.iter().all(|&k| k != 0) {
            return Ok(None);
        }
        let values: Vec<f32> = keep.iter().map(|&k| if k != 0 { 0. } else { f32::NEG_INFINITY }).collect();
        let width = keep.len() / batch.max(1);
        Ok(Some(Array::from_vec(values, (batch, width), device)?))
    }

    /// The same mask as one additive array `[batch or 1, heads or 1, queries, keys]` in f32, hidden places at a very
    /// negative finite value.
    pub fn to_dense(&self, queries: usize, keys: usize, device: &Device) -> Result<Array> {
        const HIDDEN: f32 = -1e30;
        let offset = keys as isize - queries as isize;
        let rows = self.starts.as_ref().map_or(1, |starts| starts.len() / queries.max(1));
        let structure: Vec<f32> = (0..rows * queries)
            .flat_map(|i| (0..keys as isize).map(move |j| (i, j)))
            .map(|(i, j)| self.sees((i % queries) as isize + offset, j) && j >= self.start(i))
            .map(|visible| if visible { 0. } else { HIDDEN })
            .collect();
        let mut mask = Array::from_vec(structure, (rows, 1, queries, keys), device)?;
        if let Some(padding) = &self.keys {
            let padding = padding.to_dtype(DType::F32)?.unsqueeze(1)?.unsqueeze(1)?;
            mask = mask.broadcast_add(&padding)?;
        }
        if let Some(dense) = &self.dense {
            mask = mask.broadcast_add(&dense.to_dtype(DType::F32)?)?;
        }
        Ok(mask.maximum(HIDDEN)?)
    }

    fn sees(&self, position: isize, key: isize) -> bool {
        (!self.causal || key <= position) && self.window.is_none_or(|w| position - key < w as isize)
    }

    /// The first key that a query may see, counted over all rows of the batch.
    pub(super) fn start(&self, query: usize) -> isize {
        self.starts.as_ref().map_or(0, |starts| starts[query] as isize)
    }

    /// The range of keys that the queries `rows` of row `b` of the batch may see at all.
    pub(super) fn key_range(&self, b: usize, rows: &Range<usize>, queries: usize, keys: usize) -> Range<usize> {
        let offset = keys as isize - queries as isize;
        let end = if self.causal { (rows.end as isize + offset).clamp(0, keys as isize) } else { keys as isize };
        let window = self.window.map_or(0, |w| rows.start as isize + offset + 1 - w as isize);
        let start = window.max(self.start(b * queries + rows.start)).clamp(0, end);
        start as usize..end as usize
    }
}

/// Mask arrays as slices of the compute type.
pub(super) struct MaskData<T> {
    pub keys: Option<Vec<T>>,
    pub dense: Option<(Vec<T>, bool, bool)>,
}

impl<T: Real> MaskData<T> {
    pub fn new(mask: &Mask, dtype: DType) -> Result<Self> {
        let wide = compute_dtype(dtype);
        let read = |x: &Array| -> Result<Vec<T>> {
            let x = x.to_dtype(wide)?.to_device(&Device::Cpu)?.contiguous()?;
            let v = host::<T>(&x).to_vec();
            Ok(v)
        };
        Ok(Self {
            keys: mask.keys.as_ref().map(read).transpose()?,
            dense: match &mask.dense {
                Some(d) => Some((read(d)?, d.dims()[0] > 1, d.dims()[1] > 1)),
                None => None,
            },
        })
    }
}
