//! Initial values of LoRA's matrices.

use super::Init;
use candle_core::{DType, Device};
use swift_tuners_nn::context::mix;
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::linalg::{qr, svd};
use swift_tuners_nn::{Array, Error, Result};

/// `a [r, in]`, `b [out, r]`, and the base weight `[out, in]` where the initialisation replaces it.
pub struct Start {
    pub a: Array,
    pub b: Array,
    pub base: Option<Array>,
}

/// Initial values that do not depend on the weight, each made when it is wanted.
#[derive(Clone, Copy)]
pub struct Fresh {
    pub init: Init,
    /// A zero, B normal; the delta is (B A)ᵀ.
    pub embedding: bool,
    pub r: usize,
    pub inp: usize,
    pub out: usize,
    pub seed: u64,
}

impl Fresh {
    /// Whether [`dense`] has to make the values, from the weight.
    pub fn needs_weight(&self) -> bool {
        !self.embedding && !matches!(self.init, Init::Default | Init::Random | Init::Gaussian)
    }

    /// `[r, in]`
    pub fn a(&self) -> Result<Array> {
        let (mut rng, shape) = (Rng::new(self.seed), [self.r, self.inp]);
        let (cpu, f32) = (&Device::Cpu, DType::F32);
        match (self.embedding, self.init) {
            (true, Init::Random) => rng.normal_array(&shape, 1., f32, cpu),
            (true, _) => Ok(Array::zeros(&shape, f32, cpu)?),
            (false, Init::Gaussian) => rng.normal_array(&shape, 1. / self.r as f64, f32, cpu),
            // Kaiming uniform with a = sqrt(5).
            (false, _) => rng.uniform_array(&shape, 1. / (self.inp as f64).sqrt(), f32, cpu),
        }
    }

    /// `[out, r]`
    pub fn b(&self) -> Result<Array> {
        let (mut rng, shape) = (Rng::new(mix(self.seed, 1)), [self.out, self.r]);
        let (cpu, f32) = (&Device::Cpu, DType::F32);
        match (self.embedding, self.init) {
            (true, _) => rng.normal_array(&shape, 1., f32, cpu),
            (false, Init::Random) => rng.uniform_array(&shape, 1. / (self.r as f64).sqrt(), f32, cpu),
            (false, _) => Ok(Array::zeros(&shape, f32, cpu)?),
        }
    }
}

/// Values that depend on a dense layer's weight `[out, in]` (f32), or on each other.
pub fn dense(init: Init, weight: &Array, r: usize, scaling: f64, seed: u64) -> Result<Start> {
    let (out, inp) = weight.dims2()?;
    let mut rng = Rng::new(seed);
    let (cpu, f32) = (&Device::Cpu, DType::F32);
    Ok(match init {
        Init::Default | Init::Random | Init::Gaussian => {
            let fresh = Fresh { init, embedding: false, r, inp, out, seed };
            Start { a: fresh.a()?, b: fresh.b()?, base: None }
        }
        Init::Orthogonal => {
            if r % 2 == 1 {
                return Err(Error::config("init_lora_weights", format!("orthogonal needs an even r, found {r}")));
            }
            // The columns of an orthogonal matrix of r span two halves that annihilate each other.
            let q = rng.normal_array(&[r, r], 1., f32, cpu)?;
            let (q, _) = qr(&q)?;
            let odd: Vec<u32> = (0..r as u32).skip(1).step_by(2).collect();
            let even: Vec<u32> = (0..r as u32).step_by(2).collect();
            let half = r / 2;
            let (odd, even) = (
                q.index_select(&Array::from_vec(odd, half, cpu)?, 0)?,
                q.index_select(&Array::from_vec(even, half, cpu)?, 0)?,
            );
            let left = rng.normal_array(&[inp, half], 0.1, f32, cpu)?.matmul(&odd)?; // [in, r]
            let right = rng.normal_array(&[half, out], 0.1, f32, cpu)?;
            let right = right.t()?.matmul(&even)?; // [out, r]
            Start { a: left.t()?.contiguous()?, b: right.contiguous()?, base: None }
        }
        Init::Pissa => {
            let (u, s, vt) = svd(weight, r)?;
            let root = (s / scaling)?.sqrt()?;
            let a = vt.broadcast_mul(&root.unsqueeze(1)?)?;
            let b = u.broadcast_mul(&root.unsqueeze(0)?)?;
            let base = (weight - (b.matmul(&a)? * scaling)?)?;
            Start { a, b, base: Some(base) }
        }
        Init::Olora => {
            let (q, rr) = qr(weight)?;
            let rank = r.min(out.min(inp));
            if rank < r {
                return Err(Error::config("r", format!("olora: {r} is larger than the weight's {rank}")));
            }
            let b = q.narrow(1, 0, r)?.contiguous()?;
            let a = rr.narrow(0, 0, r)?.contiguous()?;
            let base = (weight - (b.matmul(&a)? * scaling)?)?;
            Start { a, b, base: Some(base) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &Array, b: &Array) {
        let gap = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(gap < 1e-5, "{gap}");
    }

    #[test]
    fn replacing_initialisations_keep_the_layer() {
        let w = Rng::new(1).normal_array(&[7, 5], 1., DType::F32, &Device::Cpu).unwrap();
        for init in [Init::Pissa, Init::Olora] {
            let s = dense(init, &w, 3, 0.5, 1).unwrap();
            let product = (s.b.matmul(&s.a).unwrap() * 0.5).unwrap();
            close(&(s.base.unwrap() + product).unwrap(), &w);
        }
    }

    #[test]
    fn orthogonal_starts_at_zero_with_both_factors_random() {
        let w = Rng::new(1).normal_array(&[7, 5], 1., DType::F32, &Device::Cpu).unwrap();
        let s = dense(Init::Orthogonal, &w, 4, 1., 1).unwrap();
        close(&s.b.matmul(&s.a).unwrap(), &w.zeros_like().unwrap());
        assert!(s.b.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.1);
    }
}
