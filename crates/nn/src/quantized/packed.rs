//! A matrix in few bits.

use super::blocks::{ggml, Blocks};
use super::nf4::{decode_nf4, nf4};
use super::packing::Packing;
use crate::ops::host;
use crate::tensor::Array;
use crate::Result;
use candle_core::quantized::k_quants::{BlockQ4K, BlockQ8_0};
use candle_core::quantized::GgmlType;
use candle_core::{DType, Device};
use rayon::prelude::*;
use std::ops::Range;

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
    fn a_block_of_zeros_stays_zero() {
        let zeros = Array::zeros((2, 64), DType::F32, &Device::Cpu).unwrap();
        for packing in [Packing::Nf4, Packing::Q8_0] {
            let packed = Packed::new(&zeros, packing).unwrap().unwrap();
            assert!(vector(&packed.array().unwrap()).iter().all(|&v| v == 0.));
        }
    }
}
