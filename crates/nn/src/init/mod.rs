//! Random initial values: [`Rng`], a counter-based generator whose values are ours, and [`torch`] and [`numpy`], whose values are
//! those of Python's libraries. Each gives the same values for the same seed on every machine.

pub mod numpy;
pub mod torch;

use crate::tensor::Array;
use crate::Result;
use candle_core::{DType, Device};
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers.
pub struct Rng(ChaCha8Rng);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let u = 1. - self.uniform();
        (-2. * u.ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub fn uniform_array(&mut self, shape: &[usize], bound: f64, dtype: DType, device: &Device) -> Result<Array> {
        self.fill(shape, dtype, device, |r| (r.uniform() * 2. - 1.) * bound)
    }

    pub fn normal_array(&mut self, shape: &[usize], deviation: f64, dtype: DType, device: &Device) -> Result<Array> {
        self.fill(shape, dtype, device, |r| r.normal() * deviation)
    }

    fn fill(
        &mut self,
        shape: &[usize],
        dtype: DType,
        device: &Device,
        mut f: impl FnMut(&mut Self) -> f64,
    ) -> Result<Array> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| f(self) as f32).collect();
        Ok(Array::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
    }
}
