//! The packings: NF4, Q8_0, Q4_K.

use crate::{Error, Result};
use candle_core::quantized::k_quants::{BlockQ4K, BlockQ8_0};
use candle_core::quantized::GgmlType;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_fit_no_block_get_finer_ones_or_none() {
        assert_eq!(Packing::Q4K.for_width(512), Some(Packing::Q4K));
        assert_eq!(Packing::Q4K.for_width(384), Some(Packing::Q8_0));
        assert_eq!(Packing::Q8_0.for_width(100), None);
        assert_eq!(Packing::Nf4.for_width(100), Some(Packing::Nf4));
    }
}
