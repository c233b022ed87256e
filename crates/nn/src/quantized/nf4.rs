//! NF4: four bits for a value, at the quantiles of a normal distribution.

use super::blocks::Blocks;
use rayon::prelude::*;

/// NF4's levels.
const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];
/// Values that share a scale in NF4.
const NF4_BLOCK: usize = 64;

/// The two levels that each byte stands for: the high half comes first.
static NF4_PAIRS: [[f32; 2]; 256] = {
    let mut pairs = [[0.; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [NF4[byte >> 4], NF4[byte & 15]];
        byte += 1;
    }
    pairs
};

pub(super) fn nf4(values: &[f32]) -> Blocks {
    let mut codes = vec![0u8; values.len().div_ceil(2)];
    let mut scales = vec![0f32; values.len().div_ceil(NF4_BLOCK)];
    let blocks = codes.par_chunks_mut(NF4_BLOCK / 2).zip(&mut scales).zip(values.par_chunks(NF4_BLOCK));
    blocks.for_each(|((codes, scale), values)| {
        *scale = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        let size = scale.max(1e-38);
        // bitsandbytes multiplies in whole blocks and divides in the last, shorter one.
        let whole = values.len() == NF4_BLOCK;
        let level = |v: f32| nearest_nf4(if whole { v * (1. / size) } else { v / size });
        for (code, pair) in codes.iter_mut().zip(values.chunks(2)) {
            *code = level(pair[0]) << 4 | pair.get(1).map_or(0, |&v| level(v));
        }
    });
    Blocks::Nf4 { codes, scales }
}

/// The level next to `x`, the lower one at the middle.
fn nearest_nf4(x: f32) -> u8 {
    (0..15).filter(|&i| x > (NF4[i] + NF4[i + 1]) / 2.).count() as u8
}

pub(super) fn decode_nf4(codes: &[u8], scales: &[f32], start: usize, out: &mut [f32]) {
    let level = |i: usize| NF4_PAIRS[codes[i / 2] as usize][i % 2] * scales[i / NF4_BLOCK];
    let end = start + out.len();
    // Rows may begin and end inside of a block.
    let aligned = start.next_multiple_of(NF4_BLOCK).min(end);
    let (head, rest) = out.split_at_mut(aligned - start);
    head.iter_mut().enumerate().for_each(|(i, v)| *v = level(start + i));
    let mut at = aligned;
    let mut chunks = rest.chunks_exact_mut(NF4_BLOCK);
    for chunk in &mut chunks {
        let scale = scales[at / NF4_BLOCK];
        for (pair, &code) in chunk.chunks_exact_mut(2).zip(&codes[at / 2..at / 2 + NF4_BLOCK / 2]) {
            let [first, second] = NF4_PAIRS[code as usize];
            pair[0] = first * scale;
            pair[1] = second * scale;
        }
        at += NF4_BLOCK;
    }
    chunks.into_remainder().iter_mut().enumerate().for_each(|(i, v)| *v = level(at + i));
}
