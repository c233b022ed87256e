//! LoftQ: the weight rounded to a few bits, and factors of what the rounding lost.
//!
//! Li et al. 2023 (arXiv 2310.08659); PEFT's `loftq_init`, which rounds with bitsandbytes. The weight stays dense with rounded values,
//! as there.

use crate::site::Site;
use candle_core::DType;
use swift_tuners_nn::linalg::svd;
use swift_tuners_nn::quantized::{Packed, Packing};
use swift_tuners_nn::{Array, Error, Result};

crate::object! {
    /// Bits, and how often rounding and decomposing take turns.
    pub struct LoftQConfig {
        /// 4 (NF4 in blocks of 64) or 8 (integers with a scale for each row).
        loftq_bits: usize = 4;
        loftq_iter: usize = 1, in 1..;
    }
    check check;
}

fn check(name: &str, c: &LoftQConfig) -> Result<()> {
    match c.loftq_bits {
        4 | 8 => Ok(()),
        other => Err(Error::config(format!("{name}.loftq_bits"), format!("expected 4 or 8, found {other}"))),
    }
}

/// A, B and the rounded weight `[out, in]`. The factors are not divided by the scaling, as in PEFT.
pub fn loftq(c: &LoftQConfig, site: &Site, r: usize) -> Result<(Array, Array, Array)> {
    if site.is_transposed() || !site.is_linear() || site.weight().packing().is_some() {
        let why = format!("loftq is for linear layers that are not packed, which {} is not", site.path);
        return Err(Error::config("init_lora_weights", why));
    }
    let weight = site.matrix()?.to_dtype(DType::F32)?;
    let mut rest = weight.clone();
    let mut turn = 1;
    loop {
        let rounded = if c.loftq_bits == 4 { nf4(&rest)? } else { int8(&rest)? };
        let (u, s, vt) = svd(&(&weight - &rounded)?, r)?;
        let root = s.sqrt()?;
        let (a, b) = (vt.broadcast_mul(&root.unsqueeze(1)?)?, u.broadcast_mul(&root.unsqueeze(0)?)?);
        if turn == c.loftq_iter {
            return Ok((a, b, rounded));
        }
        rest = (&weight - b.matmul(&a)?)?;
        turn += 1;
    }
}

fn nf4(x: &Array) -> Result<Array> {
    match Packed::new(x, Packing::Nf4)? {
        Some(packed) => packed.array(),
        None => Ok(x.clone()),
    }
}

/// To the nearest of 255 multiples of each row's largest magnitude / 127.
fn int8(x: &Array) -> Result<Array> {
    let most = x.abs()?.max_keepdim(1)?.maximum(f64::from(f32::MIN_POSITIVE))?;
    Ok((x.broadcast_div(&most)? * 127.)?.round()?.broadcast_mul(&(most / 127.)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn eight_bits_keep_each_row_s_largest_and_round_the_others() {
        let x = Array::new(&[[1.27f32, 0.104, -0.996], [0., 0., 0.]], &Device::Cpu).unwrap();
        let y = int8(&x).unwrap().to_vec2::<f32>().unwrap();
        for (found, expected) in y[0].iter().zip([1.27, 0.10, -1.0]) {
            assert!((found - expected).abs() < 1e-6, "{y:?}");
        }
        assert_eq!(y[1], [0., 0., 0.]);
    }
}
