//! Rounded values in blocks that share a scale.

use candle_core::quantized::k_quants::{BlockQ4K, BlockQ8_0};
use candle_core::quantized::GgmlType;
use rayon::prelude::*;

#[derive(Clone)]
pub(super) enum Blocks {
    Nf4 { codes: Vec<u8>, scales: Vec<f32> },
    Q8_0(Vec<BlockQ8_0>),
    Q4K(Vec<BlockQ4K>),
}

/// GGUF's own rounding, row by row.
pub(super) fn ggml<B: GgmlType>(values: &[f32], rows: usize, columns: usize) -> Vec<B> {
    let per_row = columns / B::BLCK_SIZE;
    let mut blocks = vec![B::zeros(); rows * per_row];
    let pairs = blocks.par_chunks_mut(per_row.max(1)).zip(values.par_chunks(columns.max(1)));
    pairs.for_each(|(blocks, row)| B::from_float(row, blocks));
    blocks
}
