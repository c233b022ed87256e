//! VeRA: learned vectors between random projections that all layers share.
//!
//! Kopiczko et al. 2023 (arXiv 2310.11454); PEFT's `peft.tuners.vera`.

use super::projections::check_same;
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::Attach;
use crate::site::{Call, Input, Site};
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::module::{Part, Role};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{Error, Param, Result, Tensor};

crate::config! {
    /// `VeraConfig`
    pub struct VeraConfig {
        standard: [
            peft, target_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Rank of the projections.
        r: usize = 256, in 1..;
        /// Seed of the projections, the same for all adapters of a model.
        projection_prng_key: u64 = 0;
        /// Whether checkpoints hold the projections; without them they are made again from the key.
        save_projection: bool = true;
        vera_dropout: Probability = Probability(0.);
        /// Where the inner vector starts.
        d_initial: f64 = 0.1;
        /// False starts with random vectors, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `ΔW = (b ∘ B) (d ∘ A)`: A the first columns of `vera_A [r, in]`, B the first rows of `vera_B [out, r]`.
#[derive(Clone)]
pub struct Vera {
    /// `[out]`
    b: Param,
    /// `[r]`
    d: Param,
    /// `[r, largest in]` and `[largest out, r]`, of all layers.
    projections: (Param, Param),
    /// Whether they are in checkpoints.
    saved: bool,
    dropout: f64,
}

impl LayerKind for Vera {
    const NAME: &'static str = "VERA";
    const CLASS: &'static str = "VeraConfig";
    const ABOUT: &'static str =
        "Learned vectors between random projections that all layers share. Kopiczko et al. 2023 (arXiv 2310.11454).";
    type Config = VeraConfig;
    type Adapter = Self;

    fn resolve(c: &VeraConfig, a: &Attach<'_>, _: &mut TunerConfig) -> Result<()> {
        check_same(a, c, |c| (c.projection_prng_key, c.save_projection))
    }

    fn bank(c: &VeraConfig, sites: &[Site], init: &mut Init) -> Result<Option<Bank>> {
        let largest = |size: fn(&Site) -> usize| sites.iter().map(size).max().unwrap_or(0);
        let (r, inputs, outputs) = (c.r, largest(|s| s.inputs), largest(|s| s.outputs));
        // Both come from a generator of their own, whatever else is drawn.
        let key = c.projection_prng_key;
        let draw = move |second: bool| {
            let mut g = Generator::new(key);
            let first = g.kaiming_uniform(&[r, inputs], 0.)?;
            if second {
                g.kaiming_uniform(&[outputs, r], 0.)
            } else {
                Ok(first)
            }
        };
        let frozen = |shape: &[usize], second: bool| {
            Param::pending(shape, init.dtype, &init.device, false, move || draw(second))
        };
        let role = Role::Buffer { saved: c.save_projection };
        let bank = Bank::of(sites).with("vera_A", role, frozen(&[r, inputs], false));
        Ok(Some(bank.with("vera_B", role, frozen(&[outputs, r], true))))
    }

    fn new(c: &VeraConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "linear layer")?;
        let bank = bank.ok_or_else(|| Error::Invalid("VeRA has no projections".into()))?;
        let (outputs, r, start, fresh) = (site.outputs, c.r, c.d_initial, c.init_weights);
        let b = init.constant(&[outputs], if fresh { 0. } else { 1. })?;
        let d = init.param(&[r], move |g| {
            // Drawn by the constructor in any case.
            let random = g.randn(&[r])?;
            Ok(if fresh { (random.zeros_like()? + start)? } else { random })
        })?;
        let projections = (bank.get("vera_A")?.clone(), bank.get("vera_B")?.clone());
        Ok(Self { b, d, projections, saved: c.save_projection, dropout: c.vera_dropout.0 })
    }
}

impl Vera {
    /// A `[r, in]` and B `[out, r]` of this layer.
    fn slices(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let (a, b) = (call.value(&self.projections.0)?, call.value(&self.projections.1)?);
        Ok((a.narrow(1, 0, call.site.inputs)?.contiguous()?, b.narrow(0, 0, call.site.outputs)?.contiguous()?))
    }
}

impl LayerAdapter for Vera {
    const GROUPS: &'static [&'static str] = &["vera_dropout", "vera_lambda_b", "vera_lambda_d", "vera_A", "vera_B"];

    fn parts(&self) -> Vec<Part<'_>> {
        let role = Role::Buffer { saved: self.saved };
        vec![
            Part::trained("vera_lambda_b", &self.b),
            Part::trained("vera_lambda_d", &self.d),
            Part::trained("vera_A", &self.projections.0).role(role).shared(),
            Part::trained("vera_B", &self.projections.1).role(role).shared(),
        ]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (a, b) = self.slices(call)?;
        let column = |p: &Param| call.value(p)?.unsqueeze(1);
        b.mul(&column(&self.b)?)?.matmul(&a.mul(&column(&self.d)?)?).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b) = self.slices(call)?;
        let (lambda_b, lambda_d) = (call.value(&self.b)?, call.value(&self.d)?);
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(lambda_d.dtype())?;
        let inner = ops::linear(&x, &a, None, WeightLayout::OutIn)?.mul(&lambda_d)?;
        ops::linear(&inner, &b, None, WeightLayout::OutIn)?.mul(&lambda_b).map(Some)
    }
}
