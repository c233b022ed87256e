//! `torch.Generator('cpu')`: the draws of PyTorch 2.15 on x86 with AVX2, so that a seed gives the values that Python gives.
//!
//! Formats that store a seed in place of values (VeRA, FourierFT, ..) depend on this. The compiler of that kernel has
//! contracted products and sums, hence the multiply-adds here. Arrays are f32 on the CPU, which is also how PyTorch 2.15
//! draws for bf16 and f16: it rounds f32 values. Its tensors are taken to be contiguous; into others it writes in the order
//! of memory, normal values always one by one.

mod box_muller;
mod nn;
mod twister;

use crate::ops::simd;
use crate::tensor::Array;
use crate::{Error, Result};
use box_muller::box_muller;
use candle_core::Device;
use std::collections::HashMap;
use twister::Twister;

/// From here on PyTorch draws normal values in blocks.
const BLOCK: usize = 16;

/// A stream of random numbers: `torch.Generator('cpu').manual_seed(seed)`.
#[derive(Clone)]
pub struct Generator {
    words: Twister,
    /// The second value of a pair drawn by [`Generator::one_normal`]; draws of other kinds leave it waiting.
    next_normal: Option<f64>,
}

/// Whole numbers.
impl Generator {
    /// Only the low 32 bits of the seed count, as in PyTorch.
    pub fn new(seed: u64) -> Self {
        Self { words: Twister::new(seed as u32), next_normal: None }
    }

    #[inline]
    pub fn u32(&mut self) -> u32 {
        self.words.word()
    }

    /// Two words, the high one first.
    #[inline]
    pub fn u64(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }

    /// `torch.randint(low, high, [count])`, from `low` up to, not including, `high`.
    pub fn randint(&mut self, low: i64, high: i64, count: usize) -> Result<Vec<i64>> {
        if low >= high {
            return Err(Error::Argument(format!("randint: no number is at least {low} and less than {high}")));
        }
        let range = high.wrapping_sub(low) as u64;
        // From 2²⁸ on the remainder of 32 bits would prefer small numbers noticeably.
        let remainders = std::iter::repeat_with(|| match range {
            0..0x1000_0000 => u64::from(self.u32()) % range,
            _ => self.u64() % range,
        });
        Ok(remainders.take(count).map(|r| low.wrapping_add(r as i64)).collect())
    }

    /// `torch.randperm(n)`: 0, 1, .., n − 1 in random order.
    pub fn randperm(&mut self, n: usize) -> Result<Vec<u32>> {
        self.randperm_first(n, n)
    }

    /// `torch.randperm(n)[:count]` in memory of `count` numbers. Fails with [`Error::Argument`] for n above 2³² − 1.
    pub fn randperm_first(&mut self, n: usize, count: usize) -> Result<Vec<u32>> {
        let Ok(all) = u32::try_from(n) else {
            return Err(Error::Argument(format!("randperm: {n} is more than {}", u32::MAX)));
        };
        let count = count.min(n);
        if all >= u32::MAX / 20 {
            return Ok(self.inside_out(all, count));
        }
        // Fisher and Yates, forwards: place i is final after step i. Of the places behind `count`, those that differ from
        // their number are in `moved`.
        let mut first: Vec<u32> = (0..count as u32).collect();
        let mut moved = HashMap::new();
        for i in 0..count.min(n.saturating_sub(1)) {
            let other = i + self.u32() as usize % (n - i);
            if other < count {
                first.swap(i, other);
            } else {
                let was = moved.insert(other, first[i]);
                first[i] = was.unwrap_or(other as u32);
            }
        }
        self.words.skip(n.saturating_sub(1).saturating_sub(count));
        Ok(first)
    }

    /// The same in the other direction, which PyTorch takes for large n: place i gets what place z ≤ i holds, and z gets i.
    fn inside_out(&mut self, n: u32, count: usize) -> Vec<u32> {
        let mut first = vec![0; count];
        for i in 0..n {
            let z = (self.u64() % (u64::from(i) + 1)) as usize;
            if (i as usize) < count {
                first[i as usize] = first[z];
            }
            if z < count {
                first[z] = i;
            }
        }
        first
    }
}

/// Real numbers.
impl Generator {
    /// `torch.rand(shape)`.
    pub fn rand(&mut self, shape: &[usize]) -> Result<Array> {
        self.uniform(shape, 0., 1.)
    }

    /// `torch.empty(shape).uniform_(from, to)`.
    pub fn uniform(&mut self, shape: &[usize], from: f64, to: f64) -> Result<Array> {
        array(self.uniforms(shape.iter().product(), from as f32, to as f32), shape)
    }

    /// Passes over `count` values that [`Generator::uniform`] would give.
    pub fn skip_uniforms(&mut self, count: usize) {
        self.words.skip(count);
    }

    /// `torch.empty(shape, dtype=torch.float64).uniform_(from, to)`.
    pub fn uniform_f64(&mut self, shape: &[usize], from: f64, to: f64) -> Result<Array> {
        let values: Vec<f64> =
            (0..shape.iter().product()).map(|_| self.one_uniform().mul_add(to - from, from)).collect();
        Ok(Array::from_vec(values, shape, &Device::Cpu)?)
    }

    /// `torch.randn(shape)`.
    pub fn randn(&mut self, shape: &[usize]) -> Result<Array> {
        self.normal(shape, 0., 1.)
    }

    /// `torch.empty(shape).normal_(mean, std)`.
    pub fn normal(&mut self, shape: &[usize], mean: f64, std: f64) -> Result<Array> {
        array(self.normals(shape.iter().product(), mean, std), shape)
    }

    /// `torch.empty(shape, dtype=torch.float64).normal_(mean, std)`; equal but for the last bits of logarithm, sine and
    /// cosine, which are the mathematical library's.
    pub fn normal_f64(&mut self, shape: &[usize], mean: f64, std: f64) -> Result<Array> {
        let count = shape.iter().product();
        let values = if count < BLOCK {
            (0..count).map(|_| self.one_normal(mean, std)).collect()
        } else {
            let mut values: Vec<f64> = (0..count).map(|_| self.one_uniform()).collect();
            in_blocks(&mut values, || self.one_uniform(), |values| box_muller_f64(values, mean, std));
            values
        };
        Ok(Array::from_vec(values, shape, &Device::Cpu)?)
    }

    /// `torch.bernoulli(p)` of an f32 array: one where a number drawn for the element is less than it, else zero.
    pub fn bernoulli(&mut self, p: &Array) -> Result<Array> {
        let mut values: Vec<f32> = p.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        for p in &mut values {
            *p = if self.unit() < *p { 1. } else { 0. };
        }
        array(values, p.dims())
    }

    /// `torch.empty(shape).bernoulli_(p)`: ones with probability `p`, else zeros. Drawn in f64, unlike
    /// [`Generator::bernoulli`]; PyTorch on Intel's processors takes MKL's generator instead.
    pub fn bernoulli_p(&mut self, shape: &[usize], p: f64) -> Result<Array> {
        let values = (0..shape.iter().product()).map(|_| if self.one_uniform() < p { 1. } else { 0. }).collect();
        array(values, shape)
    }

    /// What `torch.nn.functional.dropout(x, p, training=True)` multiplies `x` with: zero with probability `p`, else
    /// `1 / (1 − p)`. Draws nothing where `p` is 0 or 1.
    pub fn dropout_mask(&mut self, shape: &[usize], p: f64) -> Result<Array> {
        let count = shape.iter().product();
        if p == 0. || p == 1. {
            return array(vec![1. - p as f32; count], shape);
        }
        let kept = 1. / (1. - p) as f32;
        array((0..count).map(|_| if self.one_uniform() < 1. - p { kept } else { 0. }).collect(), shape)
    }

    /// 24 random bits as a number in `[0, 1)`.
    #[inline]
    fn unit(&mut self) -> f32 {
        (self.u32() & 0x00ff_ffff) as f32 / (1 << 24) as f32
    }

    /// 53 random bits as a number in `[0, 1)`.
    #[inline]
    fn one_uniform(&mut self) -> f64 {
        (self.u64() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    fn uniforms(&mut self, count: usize, from: f32, to: f32) -> Vec<f32> {
        let mut values: Vec<f32> = (0..count).map(|_| self.unit()).collect();
        if (from, to) != (0., 1.) {
            simd(
                #[inline(always)]
                || values.iter_mut().for_each(|v| *v = v.mul_add(to - from, from)),
            );
        }
        values
    }

    /// Every second value waits in the generator until one of its kind is wanted.
    fn one_normal(&mut self, mean: f64, std: f64) -> f64 {
        let value = self.next_normal.take().unwrap_or_else(|| {
            let (turn, u) = (self.one_uniform(), self.one_uniform());
            let radius = (-2. * (-u).ln_1p()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
            self.next_normal = Some(radius * sin);
            radius * cos
        });
        value.mul_add(std, mean)
    }

    fn normals(&mut self, count: usize, mean: f64, std: f64) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.one_normal(mean, std) as f32).collect();
        }
        let mut values = self.uniforms(count, 0., 1.);
        in_blocks(&mut values, || self.unit(), |values| box_muller(values, mean as f32, std as f32));
        values
    }
}

/// Makes normal values of uniform ones; where the last block is not full, the last 16 values are drawn anew.
fn in_blocks<T>(values: &mut [T], mut draw: impl FnMut() -> T, box_muller: impl Fn(&mut [T])) {
    box_muller(values);
    if !values.len().is_multiple_of(BLOCK) {
        let last = values.len() - BLOCK;
        values[last..].fill_with(&mut draw);
        box_muller(&mut values[last..]);
    }
}

/// [`box_muller`] in f64.
fn box_muller_f64(values: &mut [f64], mean: f64, std: f64) {
    for block in values.chunks_exact_mut(BLOCK) {
        let (cosines, sines) = block.split_at_mut(BLOCK / 2);
        for (c, s) in cosines.iter_mut().zip(sines) {
            let radius = (-2. * (1. - *c).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * *s).sin_cos();
            (*c, *s) = ((radius * cos).mul_add(std, mean), (radius * sin).mul_add(std, mean));
        }
    }
}

fn array(values: Vec<f32>, shape: &[usize]) -> Result<Array> {
    Ok(Array::from_vec(values, shape, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use serde_json::Value;

    /// What PyTorch drew, one after the other, from one seed each (torch_draws.py).
    const DRAWS: &str = include_str!("torch_draws.json");

    fn bits(x: &Array) -> Vec<i64> {
        let x = x.flatten_all().unwrap();
        match x.dtype() {
            DType::F64 => x.to_vec1::<f64>().unwrap().into_iter().map(|v| v.to_bits() as i64).collect(),
            _ => x.to_vec1::<f32>().unwrap().into_iter().map(|v| i64::from(v.to_bits())).collect(),
        }
    }

    fn draw(g: &mut Generator, name: &str, shape: &[usize], a: &[f64]) -> Vec<i64> {
        let p = |count: usize| Array::arange(0u32, count as u32, &Device::Cpu).unwrap();
        let arrays = match name {
            "rand" => vec![g.rand(shape)],
            "uniform" => vec![g.uniform(shape, a[0], a[1])],
            "uniform_f64" => vec![g.uniform_f64(shape, a[0], a[1])],
            "randn" => vec![g.randn(shape)],
            "normal" => vec![g.normal(shape, a[0], a[1])],
            "normal_f64" => vec![g.normal_f64(shape, a[0], a[1])],
            "bernoulli" => vec![g.bernoulli(&(p(shape[0]).to_dtype(DType::F32).unwrap() / shape[0] as f64).unwrap())],
            "bernoulli_p" => vec![g.bernoulli_p(shape, a[0])],
            "dropout" => vec![g.dropout_mask(shape, a[0])],
            "kaiming_uniform" => vec![g.kaiming_uniform(shape, a[0])],
            "kaiming_normal" => vec![g.kaiming_normal(shape, a[0])],
            "xavier_uniform" => vec![g.xavier_uniform(shape, a[0])],
            "xavier_normal" => vec![g.xavier_normal(shape, a[0])],
            "trunc_normal" => vec![g.trunc_normal(shape, a[0], a[1], a[2], a[3])],
            "orthogonal" => vec![g.orthogonal(shape, a[0])],
            "embedding" => vec![g.embedding(shape[0], shape[1], Some(a[0] as usize))],
            "layer" => {
                let (weight, bias) = g.layer(shape, a[0] == 1.).unwrap();
                [Some(weight), bias].into_iter().flatten().map(Ok).collect()
            }
            "randperm" => return g.randperm(shape[0]).unwrap().into_iter().map(i64::from).collect(),
            "randint" => return g.randint(a[0] as i64, a[1] as i64, shape[0]).unwrap(),
            _ => panic!("no draw is called {name}"),
        };
        arrays.into_iter().flat_map(|x| bits(&x.unwrap())).collect()
    }

    #[test]
    fn every_draw_of_a_sequence_has_the_bits_of_pytorchs() {
        let cases: Value = serde_json::from_str(DRAWS).unwrap();
        for sequence in cases["sequences"].as_array().unwrap() {
            let seed = sequence["seed"].as_u64().unwrap();
            let mut g = Generator::new(seed);
            for (i, case) in sequence["draws"].as_array().unwrap().iter().enumerate() {
                let name = case[0].as_str().unwrap();
                let shape: Vec<usize> = serde_json::from_value(case[1].clone()).unwrap();
                let arguments: Vec<f64> = serde_json::from_value(case[2].clone()).unwrap();
                let expected: Vec<i64> = serde_json::from_value(case[3].clone()).unwrap();
                let found = draw(&mut g, name, &shape, &arguments);
                assert_eq!(found.len(), expected.len(), "{name} {shape:?}");
                for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let equal = match name {
                        // The last bits are the mathematical library's, and those of the QR decomposition.
                        "normal_f64" => found.abs_diff(*expected) <= 4,
                        "orthogonal" => (f32::from_bits(*found as u32) - f32::from_bits(*expected as u32)).abs() < 1e-6,
                        _ => found == expected,
                    };
                    assert!(equal, "seed {seed}, draw {i}, {name} {shape:?}, value {at}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_a_permutation_are_those_of_the_whole_and_leave_the_generator_where_it_does() {
        for (n, count) in [(0, 3), (1, 1), (2, 1), (40, 39), (40, 40), (1000, 7), (1000, 700)] {
            let (mut whole, mut part) = (Generator::new(9), Generator::new(9));
            let all = whole.randperm(n).unwrap();
            assert_eq!(part.randperm_first(n, count).unwrap(), all[..count.min(n)]);
            assert_eq!(part.u32(), whole.u32());
        }
    }

    #[test]
    #[ignore = "draws 430 million words"]
    fn a_large_permutation_is_drawn_in_the_other_direction() {
        // torch.randperm(n, generator=torch.Generator().manual_seed(4), dtype=torch.int32)[:6]; torch.randint(0, 2**16, [1])
        for (n, expected, next) in [
            (214_748_363, [73_142_633, 2_669_179, 202_861_023, 97_475_696, 97_428_672, 24_141_895], 43_204),
            (214_748_364, [30_365_799, 63_205_612, 212_378_397, 166_416_929, 102_559_406, 60_949_807], 7_321),
        ] {
            let mut g = Generator::new(4);
            assert_eq!(g.randperm_first(n, 6).unwrap(), expected);
            assert_eq!(g.randint(0, 1 << 16, 1).unwrap(), [next]);
        }
    }
}
