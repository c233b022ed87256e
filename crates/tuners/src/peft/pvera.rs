//! PVeRA: VeRA whose inner values are drawn around a learned mean.
//!
//! PEFT's `peft.tuners.pvera`.

use super::projections::check_same;
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::Attach;
use crate::site::{Call, Input, Site};
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::init::{torch::Generator, Rng};
use swift_tuners_nn::module::{Part, Role};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `PveraConfig`
    pub struct PveraConfig {
        standard: [
            peft, target_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Rank of the projections; the inner one has twice as many rows, for means and for variances.
        r: usize = 256, in 1..=524_288;
        /// Seed of the projections, the same for all adapters of a model.
        projection_prng_key: u64 = 0;
        /// Whether checkpoints hold the projections; without them they are made again from the key.
        save_projection: bool = true;
        pvera_dropout: Probability = Probability(0.);
        /// Where the inner vector starts.
        d_initial: f64 = 0.1;
        /// False starts with random vectors, so that the adapter acts at once.
        init_weights: bool = true;
        /// Draws outside of training, too, where the mean is taken otherwise.
        sample_at_inference: bool = false;
        /// Seed of what is drawn in passes, for each layer. Default: the pass's own random numbers.
        generator_seed: Option<i64> = None;
    }
}

/// `b ∘ (B (μ + ε e^(ν/2)))` for `(μ, ν) = d ∘ (A x)`: A the first columns of `pvera_A [2 r, in]`, B the first rows of
/// `pvera_B [out, r]`. Merged, ε is zero.
#[derive(Clone)]
pub struct Pvera {
    /// `[out]`
    b: Param,
    /// `[2 r]`
    d: Param,
    bank: Bank,
    dropout: f64,
    noise: Noise,
}

/// Where ε comes from.
#[derive(Clone)]
struct Noise {
    always: bool,
    /// The layer's own stream, and what it gave to the last pass that may run again (with gradient checkpointing).
    seeded: Option<Arc<Mutex<Stream>>>,
}

/// A layer's own random numbers.
struct Stream {
    generator: Generator,
    /// What it gave to the call of this number.
    last: Option<(u64, Array)>,
}

impl LayerKind for Pvera {
    const NAME: &'static str = "PVERA";
    const CLASS: &'static str = "PveraConfig";
    const ABOUT: &'static str = "VeRA whose inner values are drawn around a learned mean.";
    type Config = PveraConfig;
    type Adapter = Self;

    fn resolve(c: &PveraConfig, a: &Attach<'_>, _: &mut TunerConfig) -> Result<()> {
        check_same(a, c, |c| (c.projection_prng_key, c.save_projection))
    }

    fn bank(c: &PveraConfig, sites: &[Site], init: &mut Init) -> Result<Option<Bank>> {
        let largest = |size: fn(&Site) -> usize| sites.iter().map(size).max().unwrap_or(0);
        let (a, b) = ([2 * c.r, largest(|s| s.inputs)], [largest(|s| s.outputs), c.r]);
        let key = c.projection_prng_key;
        let role = Role::Buffer { saved: c.save_projection };
        let first =
            Param::pending(&a, init.dtype, &init.device, false, move || Generator::new(key).kaiming_uniform(&a, 0.));
        let second = Param::pending(&b, init.dtype, &init.device, false, move || {
            let mut g = Generator::new(key);
            g.skip_uniforms(a[0] * a[1]);
            g.kaiming_uniform(&b, 0.)
        });
        Ok(Some(Bank::of(sites).with("pvera_A", role, first).with("pvera_B", role, second)))
    }

    fn new(c: &PveraConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "linear layer")?;
        let bank = bank.ok_or_else(|| Error::Invalid("PVeRA has no projections".into()))?.clone();
        let (n, start, fresh) = (2 * c.r, c.d_initial, c.init_weights);
        let b = init.constant(&[site.outputs], if fresh { 0. } else { 1. })?;
        let d = init.param(&[n], move |g| {
            // Drawn by the constructor in any case.
            let random = g.randn(&[n])?;
            Ok(if fresh { (random.zeros_like()? + start)? } else { random })
        })?;
        let seeded = c
            .generator_seed
            .map(|seed| Arc::new(Mutex::new(Stream { generator: Generator::new(seed as u64), last: None })));
        let noise = Noise { always: c.sample_at_inference, seeded };
        Ok(Self { b, d, bank, dropout: c.pvera_dropout.0, noise })
    }
}

impl Noise {
    /// ε of a call, or nothing where the mean is taken.
    fn draw(&self, call: &Call<'_>, shape: &[usize]) -> Result<Option<Array>> {
        if !(call.training() || self.always) {
            return Ok(None);
        }
        let number = call.cx.next_seed();
        let Some(stream) = &self.seeded else {
            let mut rng = Rng::new(number);
            return Ok(Some(rng.normal_array(shape, 1., candle_core::DType::F32, &candle_core::Device::Cpu)?));
        };
        let Stream { generator, last } = &mut *stream.lock();
        let again = call.training() && call.cx.checkpointing;
        match last {
            Some((at, noise)) if again && *at == number && noise.dims() == shape => Ok(Some(noise.clone())),
            _ => {
                let noise = generator.randn(shape)?;
                *last = again.then(|| (number, noise.clone()));
                Ok(Some(noise))
            }
        }
    }
}

impl Pvera {
    /// A `[2 r, in]` and B `[out, r]` of this layer.
    fn slices(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let (a, b) = (call.value(self.bank.get("pvera_A")?)?, call.value(self.bank.get("pvera_B")?)?);
        Ok((a.narrow(1, 0, call.site.inputs)?.contiguous()?, b.narrow(0, 0, call.site.outputs)?.contiguous()?))
    }
}

impl LayerAdapter for Pvera {
    const GROUPS: &'static [&'static str] =
        &["pvera_dropout", "pvera_lambda_b", "pvera_lambda_d", "pvera_A", "pvera_B"];

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::trained("pvera_lambda_b", &self.b), Part::trained("pvera_lambda_d", &self.d)];
        parts.extend(self.bank.parts("pvera_A"));
        parts.extend(self.bank.parts("pvera_B"));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (a, b) = self.slices(call)?;
        let r = b.dim(1);
        let d = call.value(&self.d)?.narrow(0, 0, r)?.unsqueeze(1)?;
        let b = b.mul(&call.value(&self.b)?.unsqueeze(1)?)?;
        b.matmul(&a.narrow(0, 0, r)?.mul(&d)?).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b) = self.slices(call)?;
        let (lambda_b, lambda_d, r) = (call.value(&self.b)?, call.value(&self.d)?, b.dim(1));
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(lambda_d.dtype())?;
        let last = x.rank() - 1;
        let mut shape = x.dims().to_vec();
        shape[last] = r;
        let inner = match self.noise.draw(call, &shape)? {
            // Of the mean alone half of A is needed.
            None => {
                let a = a.narrow(0, 0, r)?.contiguous()?;
                ops::linear(&x, &a, None, WeightLayout::OutIn)?.mul(&lambda_d.narrow(0, 0, r)?)?
            }
            Some(noise) => {
                let both = ops::linear(&x, &a, None, WeightLayout::OutIn)?.mul(&lambda_d)?;
                let deviation = both.narrow(last as isize, r, r)?.affine(0.5, 0.)?.exp()?;
                let noise: Tensor = noise.to_dtype(deviation.dtype())?.to_device(deviation.device())?.into();
                both.narrow(last as isize, 0, r)?.add(&deviation.mul(&noise)?)?
            }
        };
        ops::linear(&inner.contiguous()?, &b, None, WeightLayout::OutIn)?.mul(&lambda_b).map(Some)
    }
}
