//! Frozen weight matrices in four or eight bits, decoded block by block inside of the products that use them.
//!
//! Dettmers et al. 2023 (QLoRA, arXiv 2305.14314): NF4 as `bitsandbytes.functional.quantize_4bit` makes it; Q8_0 and Q4_K as
//! GGUF files hold them.

use crate::ops::host;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::quantized::k_quants::{BlockQ4K, BlockQ8_0};
use candle_core::quantized::GgmlType;
use candle_core::{DType, Device};
use rayon::prelude::*;
use std::ops::Range;

/// How a packed matrix holds its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Four bits: the quantiles of a normal distribution, times the largest magnitude of 64 values (f32). 4.5 bits a value.
    Nf4,
    /// Eight bits: integers times the scale of 32 values (f16). 8.5 bits a value.
    Q8_0,
    /// Four bits: integers with a scale and a minimum (6 bits each) for 32 values, which scale for 256 (f16). 4.5 bits a value.
    Q4K,
}

impl Packing {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "nf4" => Ok(Self::Nf4),
            "q8_0" => Ok(Self::Q8_0),
            "q4_k" => Ok(Self::Q4K),
            other => Err(Error::config(
                "quantization",
                format!("expected nf4, q8_0 or q4_k, found {:?}", crate::error::printable(other, 40)),
            )),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
        }
    }

    /// What rows of this width are packed as: GGUF's blocks do not cross rows, so where they do not fit, the next finer ones
    /// are taken, or none.
    pub fn for_width(self, width: usize) -> Option<Self> {
        match self {
            Self::Q4K if !width.is_multiple_of(BlockQ4K::BLCK_SIZE) => Self::Q8_0.for_width(width),
            Self::Q8_0 if !width.is_multiple_of(BlockQ8_0::BLCK_SIZE) => None,
            packing => Some(packing),
        }
    }
}

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

#[derive(Clone)]
enum Blocks {
    Nf4 { codes: Vec<u8>, scales: Vec<f32> },
    Q8_0(Vec<BlockQ8_0>),
    Q4K(Vec<BlockQ4K>),
}

/// A matrix `[rows, columns]` on the CPU that stands for values of a float type.
#[derive(Clone)]
pub struct Packed {
    rows: usize,
    columns: usize,
    dtype: DType,
    blocks: Blocks,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({:?}, [{}, {}])", self.packing(), self.rows, self.columns)
    }
}

impl Packed {
    /// Rounds a matrix. `None` where its rows fit no block of this packing.
    pub fn new(matrix: &Array, packing: Packing) -> Result<Option<Self>> {
        let (rows, columns) = matrix.dims2()?;
        let Some(packing) = packing.for_width(columns) else { return Ok(None) };
        let values = matrix.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
        let values = host::<f32>(&values);
        let blocks = match packing {
            Packing::Nf4 => nf4(&values),
            Packing::Q8_0 => Blocks::Q8_0(ggml(&values, rows, columns)),
            Packing::Q4K => Blocks::Q4K(ggml(&values, rows, columns)),
        };
        Ok(Some(Self { rows, columns, dtype: matrix.dtype(), blocks }))
    }

    pub fn packing(&self) -> Packing {
        match self.blocks {
            Blocks::Nf4 { .. } => Packing::Nf4,
            Blocks::Q8_0(_) => Packing::Q8_0,
            Blocks::Q4K(_) => Packing::Q4K,
        }
    }

    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// What the values were, and are taken for.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match &self.blocks {
            Blocks::Nf4 { codes, scales } => codes.len() + size_of_val(&scales[..]),
            Blocks::Q8_0(blocks) => size_of_val(&blocks[..]),
            Blocks::Q4K(blocks) => size_of_val(&blocks[..]),
        }
    }

    /// The values of some rows, one after another.
    pub(crate) fn decode(&self, rows: Range<usize>, out: &mut [f32]) {
        debug_assert_eq!(out.len(), rows.len() * self.columns);
        let (start, end) = (rows.start * self.columns, rows.end * self.columns);
        match &self.blocks {
            Blocks::Nf4 { codes, scales } => decode_nf4(codes, scales, start, out),
            Blocks::Q8_0(blocks) => {
                let size = BlockQ8_0::BLCK_SIZE;
                BlockQ8_0::to_float(&blocks[start / size..end / size], out);
            }
            Blocks::Q4K(blocks) => {
                let size = BlockQ4K::BLCK_SIZE;
                BlockQ4K::to_float(&blocks[start / size..end / size], out);
            }
        }
    }

    /// All values, in the type that they are taken for.
    pub fn array(&self) -> Result<Array> {
        let mut values = vec![0.; self.rows * self.columns];
        let rows = (1 << 15) / self.columns.max(1) + 1;
        values.par_chunks_mut(rows * self.columns.max(1)).enumerate().for_each(|(i, out)| {
            let first = i * rows;
            self.decode(first..(first + rows).min(self.rows), out);
        });
        Ok(Array::from_vec(values, (self.rows, self.columns), &Device::Cpu)?.to_dtype(self.dtype)?)
    }
}

/// GGUF's own rounding, row by row.
fn ggml<B: GgmlType>(values: &[f32], rows: usize, columns: usize) -> Vec<B> {
    let per_row = columns / B::BLCK_SIZE;
    let mut blocks = vec![B::zeros(); rows * per_row];
    let pairs = blocks.par_chunks_mut(per_row.max(1)).zip(values.par_chunks(columns.max(1)));
    pairs.for_each(|(blocks, row)| B::from_float(row, blocks));
    blocks
}

fn nf4(values: &[f32]) -> Blocks {
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

fn decode_nf4(codes: &[u8], scales: &[f32], start: usize, out: &mut [f32]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::values;
    use candle_core::quantized::{GgmlDType, QTensor};

    fn vector(x: &Array) -> Vec<f32> {
        x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn rows_of_any_width_decode_to_the_whole() {
        for packing in [Packing::Nf4, Packing::Q8_0, Packing::Q4K] {
            for (rows, columns) in [(7, 100), (3, 64), (5, 32), (4, 512), (1, 1), (9, 31)] {
                let matrix = values(&[rows, columns], 3).to_dtype(DType::F32).unwrap();
                let Some(packed) = Packed::new(&matrix, packing).unwrap() else {
                    assert!(columns % 32 != 0 && packing != Packing::Nf4);
                    continue;
                };
                let whole = vector(&packed.array().unwrap());
                for first in 0..rows {
                    for last in first..=rows {
                        let mut out = vec![f32::NAN; (last - first) * columns];
                        packed.decode(first..last, &mut out);
                        assert_eq!(out, whole[first * columns..last * columns]);
                    }
                }
                let step = if packed.packing() == Packing::Q8_0 { 0.005 } else { 0.17 };
                let gap = vector(&matrix).iter().zip(&whole).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(gap < step, "{packing:?} {rows} {columns}: {gap}");
                // What is on a level already stays there.
                let again = Packed::new(&packed.array().unwrap(), packing).unwrap().unwrap();
                if packing == Packing::Nf4 {
                    assert_eq!(vector(&again.array().unwrap()), whole);
                }
            }
        }
    }

    #[test]
    fn ggml_packings_equal_candle_s() {
        let matrix = values(&[6, 512], 5).to_dtype(DType::F32).unwrap();
        for (packing, dtype) in [(Packing::Q8_0, GgmlDType::Q8_0), (Packing::Q4K, GgmlDType::Q4K)] {
            let expected = QTensor::quantize(&matrix, dtype).unwrap().dequantize(&Device::Cpu).unwrap();
            let packed = Packed::new(&matrix, packing).unwrap().unwrap();
            assert_eq!(vector(&packed.array().unwrap()), vector(&expected));
            assert_eq!(packed.packing(), packing);
        }
    }

    #[test]
    fn rows_that_fit_no_block_get_finer_ones_or_none() {
        assert_eq!(Packing::Q4K.for_width(512), Some(Packing::Q4K));
        assert_eq!(Packing::Q4K.for_width(384), Some(Packing::Q8_0));
        assert_eq!(Packing::Q8_0.for_width(100), None);
        assert_eq!(Packing::Nf4.for_width(100), Some(Packing::Nf4));
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        let zeros = Array::zeros((2, 64), DType::F32, &Device::Cpu).unwrap();
        for packing in [Packing::Nf4, Packing::Q8_0] {
            let packed = Packed::new(&zeros, packing).unwrap().unwrap();
            assert!(vector(&packed.array().unwrap()).iter().all(|&v| v == 0.));
        }
    }
}
