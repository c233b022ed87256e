//! Dropout with a counter-based mask: the same seed drops the same places on every machine and thread count.

use crate::tensor::{Array, Tensor};
use crate::Result;

/// Whether element `index` survives under `seed`; SplitMix64's finaliser over the counter.
#[inline(always)]
pub(crate) fn keep(seed: u64, index: u64, rate: f32) -> bool {
    let mut z = seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((z >> 40) as f32) >= rate * (1u64 << 24) as f32
}

/// Zeroes elements with probability `rate` and scales the others by `1 / (1 − rate)`.
pub fn dropout(x: &Tensor, rate: f32, seed: u64) -> Result<Tensor> {
    if rate <= 0. {
        return Ok(x.clone());
    }
    let scale = 1. / (1. - rate);
    let mask: Vec<f32> =
        (0..x.data().elem_count() as u64).map(|i| if rate < 1. && keep(seed, i, rate) { scale } else { 0. }).collect();
    let mask = Array::from_vec(mask, x.dims(), &candle_core::Device::Cpu)?.to_dtype(x.dtype())?;
    x.mul(&mask.to_device(x.device())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_mean_and_the_rate() {
        let x: Tensor = Array::ones(100_000, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap().into();
        let y: Vec<f32> = dropout(&x, 0.25, 3).unwrap().data().to_vec1().unwrap();
        let zeros = y.iter().filter(|&&v| v == 0.).count() as f64 / 1e5;
        let mean = y.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        assert!((zeros - 0.25).abs() < 0.01, "{zeros}");
        assert!((mean - 1.).abs() < 0.01, "{mean}");
        let again: Vec<f32> = dropout(&x, 0.25, 3).unwrap().data().to_vec1().unwrap();
        assert_eq!(y, again);
    }
}
