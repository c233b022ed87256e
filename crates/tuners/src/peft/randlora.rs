//! RandLora: updates of full rank from random bases that all layers share, with learned weights.
//!
//! Albert et al. 2025 (arXiv 2502.00987); PEFT's `peft.tuners.randlora`.

use super::projections::check_same;
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::Attach;
use crate::site::{Call, Input, Site};
use candle_core::DType;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::module::{Part, Role};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `RandLoraConfig`
    pub struct RandLoraConfig {
        standard: [
            peft, target_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Rank of each basis; a layer has as many as its smaller side holds.
        r: usize = 32, in 1..;
        /// Seed of the bases, the same for all adapters of a model.
        projection_prng_key: u64 = 0;
        /// Whether checkpoints hold the bases; without them they are made again from the key.
        save_projection: bool = true;
        /// Bases of −1, 0 and 1, two thirds of them zero.
        sparse: bool = false;
        /// The same with √d − 1 zeros for each other value.
        very_sparse: bool = false;
        randlora_dropout: Probability = Probability(0.);
        /// The update is scaled by `randlora_alpha / r`.
        randlora_alpha: f64 = 640.;
        /// False starts with random weights, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `ΔW = s B' A'` (transposed where the outputs are fewer): `B' [max, n r]` the first rows and bases of `randlora_B [max, n, r]`,
/// `A' [r n, min]` of `A'[k, j] = λ[k, j] A[k] ∘ γ[j]` with `randlora_A [r, 1, min]`. PEFT multiplies them as they lie, bases first
/// in the one and ranks first in the other.
#[derive(Clone)]
pub struct RandLora {
    /// `[r, n]`
    lambda: Param,
    /// `[n, min]`
    gamma: Param,
    bank: Bank,
    scaling: f64,
    dropout: f64,
}

/// Sides of what all layers share.
#[derive(Clone, Copy)]
struct Sizes {
    r: usize,
    min: usize,
    max: usize,
}

impl Sizes {
    fn bases(self) -> usize {
        self.min.div_ceil(self.r)
    }
}

/// How the bases are drawn.
#[derive(Clone, Copy)]
enum Bases {
    Dense,
    /// One of this many values on each side of zero.
    Sparse(f64),
}

impl Bases {
    /// `randlora_A`, or `randlora_B`.
    fn draw(self, key: u64, sizes: Sizes, second: bool) -> Result<Array> {
        let (Sizes { r, min, max }, n) = (sizes, sizes.bases());
        let mut g = Generator::new(key);
        let x = match self {
            Self::Dense => {
                let first = kaiming_bf16(&mut g, &[r, 1, min])?;
                if second {
                    let all = (0..n).map(|_| kaiming_bf16(&mut g, &[max, 1, r])).collect::<Result<Vec<_>>>()?;
                    Array::cat(&all, 1)?
                } else {
                    first
                }
            }
            Self::Sparse(values) => {
                let first = g.rand(&[r, 1, min])?;
                let x = if second { g.rand(&[max, n, r])? } else { first };
                let (low, high) = ((1. / (2. * values)) as f32, (1. - 1. / (2. * values)) as f32);
                let sign = |v: &f32| f32::from(u8::from(*v > high)) - f32::from(u8::from(*v < low));
                let signs: Vec<f32> = x.flatten_all()?.to_vec1::<f32>()?.iter().map(sign).collect();
                Array::from_vec(signs, x.dims(), x.device())?
            }
        };
        let dtype = if matches!(self, Self::Dense) { DType::BF16 } else { DType::F32 };
        let deviation = (deviation(&x)? as f32).to_owned();
        let rounded = Array::new(deviation, x.device())?.to_dtype(dtype)?.to_dtype(DType::F32)?.to_scalar::<f32>()?;
        let values: Vec<f32> = x.flatten_all()?.to_vec1::<f32>()?.iter().map(|v| v / rounded).collect();
        Ok(Array::from_vec(values, x.dims(), x.device())?.to_dtype(dtype)?.to_dtype(DType::F32)?)
    }
}

/// `torch.nn.init.kaiming_uniform_` of a bf16 tensor: values are rounded, and one that reaches the upper bound so becomes the lower.
fn kaiming_bf16(g: &mut Generator, shape: &[usize]) -> Result<Array> {
    let bound = 1. / (shape[1..].iter().product::<usize>() as f64).sqrt();
    let rounded = |x: Array| -> Result<Vec<f32>> {
        Ok(x.to_dtype(DType::BF16)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?)
    };
    let mut values = rounded(g.kaiming_uniform(shape, 5f64.sqrt())?)?;
    let bound = rounded(Array::new(&[bound as f32], &candle_core::Device::Cpu)?)?[0];
    values.iter_mut().filter(|v| **v >= bound).for_each(|v| *v = -bound);
    Ok(Array::from_vec(values, shape, &candle_core::Device::Cpu)?)
}

/// `x.std()`
fn deviation(x: &Array) -> Result<f64> {
    let x: Vec<f64> = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    Ok((x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (x.len() as f64 - 1.)).sqrt())
}

impl LayerKind for RandLora {
    const NAME: &'static str = "RANDLORA";
    const CLASS: &'static str = "RandLoraConfig";
    const ABOUT: &'static str =
        "Updates of full rank: learned weights of random bases that all layers share. Albert et al. 2025 (arXiv 2502.00987).";
    type Config = RandLoraConfig;
    type Adapter = Self;

    fn resolve(c: &RandLoraConfig, a: &Attach<'_>, _: &mut TunerConfig) -> Result<()> {
        check_same(a, c, |c| (c.projection_prng_key, c.save_projection))
    }

    fn bank(c: &RandLoraConfig, sites: &[Site], init: &mut Init) -> Result<Option<Bank>> {
        let largest = |size: fn(&Site) -> usize| sites.iter().map(size).max().unwrap_or(0);
        let sides = (largest(|s| s.outputs), largest(|s| s.inputs));
        let sizes = Sizes { r: c.r, min: sides.0.min(sides.1), max: sides.0.max(sides.1) };
        let bases = match (c.very_sparse, c.sparse) {
            (true, _) => Bases::Sparse((sizes.min as f64).sqrt()),
            (false, true) => Bases::Sparse(3.),
            (false, false) => Bases::Dense,
        };
        let (key, role) = (c.projection_prng_key, Role::Buffer { saved: c.save_projection });
        let frozen = |shape: &[usize], second: bool| {
            Param::pending(shape, init.dtype, &init.device, false, move || bases.draw(key, sizes, second))
        };
        let bank = Bank::of(sites).with("randlora_A", role, frozen(&[c.r, 1, sizes.min], false));
        Ok(Some(bank.with("randlora_B", role, frozen(&[sizes.max, sizes.bases(), c.r], true))))
    }

    fn new(c: &RandLoraConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "linear layer")?;
        let bank = bank.ok_or_else(|| Error::Invalid("RandLora has no bases".into()))?.clone();
        let (min, max) = (site.inputs.min(site.outputs), site.inputs.max(site.outputs));
        let (r, n, fresh) = (c.r, min.div_ceil(c.r), c.init_weights);
        let lambda = init.param(&[r, n], move |g| {
            // Drawn by the constructor in any case.
            let random = g.randn(&[r, n])?;
            Ok(if fresh { random.zeros_like()? } else { random })
        })?;
        let gamma = init.constant(&[n, min], 1. / if fresh { n.max(min) } else { max } as f64)?;
        Ok(Self { lambda, gamma, bank, scaling: c.randlora_alpha / r as f64, dropout: c.randlora_dropout.0 })
    }
}

impl RandLora {
    /// `A' [r n, min]`
    fn inner(&self, call: &Call<'_>) -> Result<Tensor> {
        let (lambda, gamma) = (call.value(&self.lambda)?, call.value(&self.gamma)?);
        let (r, n, min) = (lambda.dim(0), lambda.dim(1), gamma.dim(1));
        let a = call.value(self.bank.get("randlora_A")?)?.narrow(2, 0, min)?.into_data(); // [r, 1, min]
        let (l, c) = (lambda.data().reshape((r, n, 1))?, gamma.data().reshape((1, n, min))?);
        let value = a.broadcast_mul(&l)?.broadcast_mul(&c)?.reshape((r * n, min))?;
        // Nothing of this size is kept for the backward pass.
        Ok(Tensor::from_op(value, &[&lambda, &gamma], move |g| {
            let of_bases = g.reshape((r, n, min))?.broadcast_mul(&a)?;
            let of_lambda = of_bases.broadcast_mul(&c)?.sum(2)?;
            let of_gamma = of_bases.broadcast_mul(&l)?.sum(0)?;
            Ok(vec![Some(of_lambda), Some(of_gamma)])
        }))
    }

    /// `B' [max, n r]`
    fn outer(&self, call: &Call<'_>) -> Result<Tensor> {
        let b = call.value(self.bank.get("randlora_B")?)?;
        let (n, max) = (self.lambda.shape()[1], call.site.inputs.max(call.site.outputs));
        let b = b.narrow(0, 0, max)?.narrow(1, 0, n)?.contiguous()?;
        let width = n * b.dim(2);
        b.reshape((max, width))
    }
}

impl LayerAdapter for RandLora {
    const GROUPS: &'static [&'static str] =
        &["randlora_dropout", "randlora_lambda", "randlora_gamma", "randlora_A", "randlora_B"];

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts =
            vec![Part::trained("randlora_lambda", &self.lambda), Part::trained("randlora_gamma", &self.gamma)];
        parts.extend(self.bank.parts("randlora_A"));
        parts.extend(self.bank.parts("randlora_B"));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let update = self.outer(call)?.matmul(&self.inner(call)?)?.affine(self.scaling, 0.)?;
        let wide = call.site.inputs > call.site.outputs;
        if wide { update.transpose(0, 1)?.contiguous() } else { Ok(update) }.map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (inputs, outputs) = (call.site.inputs, call.site.outputs);
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(self.lambda.dtype())?;
        let tokens = x.data().elem_count() / inputs.max(1);
        if tokens * (inputs + outputs) > inputs * outputs {
            // The rank is that of the weight: of many rows the factors cost more than their product.
            let delta = self.delta(call)?;
            return delta.map(|delta| call.times(&Input::Tensor(x), &delta)).transpose();
        }
        let (inner, outer) = (self.inner(call)?, self.outer(call)?);
        let (first, second) = if inputs > outputs {
            ((outer, WeightLayout::InOut), (inner, WeightLayout::InOut))
        } else {
            ((inner, WeightLayout::OutIn), (outer, WeightLayout::OutIn))
        };
        let hidden = ops::linear(&x, &first.0, None, first.1)?;
        ops::linear(&hidden, &second.0, None, second.1)?.affine(self.scaling, 0.).map(Some)
    }
}
