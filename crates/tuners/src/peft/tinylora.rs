//! TinyLoRA: a few numbers weigh random mixtures of a weight's largest singular directions.
//!
//! PEFT's `peft.tuners.tinylora`, after LoRA-XS (Bałazy et al. 2024, arXiv 2405.17604).

use super::projections::check_saved;
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::{FieldType, Probability};
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::Attach;
use crate::site::{Call, Input, Site};
use serde_json::Value as Json;
use std::sync::{Arc, OnceLock};
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::module::{Part, Role, WeightKind};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{linalg, Array, Error, Param, Result, Tensor};

crate::config! {
    /// `TinyLoraConfig`
    pub struct TinyLoraConfig {
        standard: [
            peft, target_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Number of singular directions; a layer has at most those that its weight has.
        r: usize = 2, in 1..;
        /// Length of each vector, which is all that trains.
        u: usize = 64, in 1..;
        /// Share of the layers that have no vector of their own: at 1 all share one.
        weight_tying: f64 = 0., in 0. ..=1.;
        /// Seed of the mixtures.
        projection_seed: i64 = 42;
        /// Whether checkpoints hold the mixtures; without them they are made again from the seed.
        save_projection: bool = true;
        /// Vectors that start uniform do so within it.
        init_v_bound: f64 = 0.02;
        tinylora_dropout: Probability = Probability(0.);
        /// True starts with zeros, so that the adapter begins as nothing; `uniform` with random numbers.
        init_weights: Start = Start::Zero;
    }
}

/// How the vectors start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Zero,
    Uniform,
    /// Python leaves in them what the memory held.
    Nothing,
}

impl FieldType for Start {
    const WANTED: &'static str = "true, false or \"uniform\"";
    fn typescript() -> String {
        "boolean | 'uniform'".into()
    }
    fn of(value: &Json) -> Option<Self> {
        match value {
            Json::Bool(true) => Some(Self::Zero),
            Json::Bool(false) => Some(Self::Nothing),
            Json::String(s) if s == "uniform" => Some(Self::Uniform),
            _ => None,
        }
    }
    fn json(&self) -> Json {
        match self {
            Self::Zero => true.into(),
            Self::Nothing => false.into(),
            Self::Uniform => "uniform".into(),
        }
    }
}

/// `ΔW = B R A` with `R = Σ vᵢ Pᵢ`; `B A` are the largest singular triplets of the weight.
#[derive(Clone)]
pub struct TinyLora {
    /// `[r, in]`; of an embedding `[r, width]`.
    a: Param,
    /// `[out, r]`; of an embedding `[vocabulary, r]`.
    b: Param,
    /// `[u, r, r]`
    p: Param,
    /// `[u]`
    v: Param,
    bank: Bank,
    saved: bool,
    dropout: f64,
}

const V: &str = "tinylora_v";

/// Which vector each of `layers` layers has.
fn groups(c: &TinyLoraConfig, layers: usize) -> Vec<usize> {
    let count = ((layers as f64 * (1. - c.weight_tying)).round_ties_even() as usize).max(1);
    let size = (layers / count).max(1);
    (0..layers).map(|i| (i / size).min(count - 1)).collect()
}

impl LayerKind for TinyLora {
    const NAME: &'static str = "TINYLORA";
    const CLASS: &'static str = "TinyLoraConfig";
    const ABOUT: &'static str = "A few numbers that weigh random mixtures of a weight's largest singular directions.";
    type Config = TinyLoraConfig;
    type Adapter = Self;

    fn resolve(c: &TinyLoraConfig, a: &Attach<'_>, _: &mut TunerConfig) -> Result<()> {
        check_saved(a, c, |c| c.save_projection)
    }

    fn bank(c: &TinyLoraConfig, sites: &[Site], init: &mut Init) -> Result<Option<Bank>> {
        let (u, bound) = (c.u, c.init_v_bound);
        let mut bank = Bank::of(sites);
        let mut groups = groups(c, sites.len());
        groups.dedup();
        for group in groups {
            let v = match c.init_weights {
                Start::Zero | Start::Nothing => init.constant(&[u], 0.)?,
                Start::Uniform => init.param(&[u], move |g| g.uniform(&[u], -bound, bound))?,
            };
            bank = bank.keyed(V, group.to_string(), false, Role::Trained, v);
        }
        Ok(Some(bank))
    }

    fn new(c: &TinyLoraConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        let known = |k: &WeightKind| matches!(k, WeightKind::Linear { .. } | WeightKind::Embedding);
        site.require(known, "linear layer or embedding")?;
        let bank = bank.ok_or_else(|| Error::Invalid("TinyLoRA has no vectors".into()))?.clone();
        let number = bank.number(site)?;
        let v = bank.find(V, &groups(c, bank.layers.len())[number].to_string())?.clone();
        let (inputs, outputs) = (site.inputs, site.outputs);
        let r = c.r.min(inputs).min(outputs);
        let (rows, columns) = if site.is_linear() { (outputs, inputs) } else { (inputs, outputs) };
        let factors = Arc::new(OnceLock::<(Array, Array)>::new());
        let frozen = |shape: [usize; 2], second: bool| {
            let (site, factors) = (site.clone(), factors.clone());
            Param::pending(&shape, init.dtype, &init.device, false, move || {
                if factors.get().is_none() {
                    let _ = factors.set(singular(&site, r)?);
                }
                let (a, b) = factors.get().ok_or_else(|| Error::Invalid("no singular vectors".into()))?;
                Ok(if second { b.clone() } else { a.clone() })
            })
        };
        let (a, b) = (frozen([r, columns], false), frozen([rows, r], true));
        let (shape, seed) = ([c.u, r, r], c.projection_seed.wrapping_add(number as i64) as u64);
        let p = Param::pending(&shape, init.dtype, &init.device, false, move || {
            Generator::new(seed).normal(&shape, 0., 1. / (r as f64).sqrt())
        });
        Ok(Self { a, b, p, v, bank, saved: c.save_projection, dropout: c.tinylora_dropout.0 })
    }
}

/// A and B of the weight, the singular values' roots in both.
fn singular(site: &Site, r: usize) -> Result<(Array, Array)> {
    let w = site.matrix()?;
    let (u, s, vt) = linalg::svd(&if site.is_linear() { w } else { w.t()? }, r)?;
    let root = s.sqrt()?;
    Ok((vt.broadcast_mul(&root.unsqueeze(1)?)?, u.broadcast_mul(&root)?))
}

impl TinyLora {
    /// `R [r, r]`
    fn mixture(&self, call: &Call<'_>) -> Result<Tensor> {
        let (v, p) = (call.value(&self.v)?, call.value(&self.p)?);
        let (u, r) = (p.dim(0), p.dim(1));
        v.reshape((1, u))?.matmul(&p.reshape((u, r * r))?)?.reshape((r, r))
    }
}

impl LayerAdapter for TinyLora {
    const GROUPS: &'static [&'static str] = &["tinylora_dropout", "tinylora_A", "tinylora_B", "tinylora_P", V];

    fn parts(&self) -> Vec<Part<'_>> {
        let buffer = |group, param, saved| Part::trained(group, param).role(Role::Buffer { saved });
        let mut parts = vec![
            buffer("tinylora_A", &self.a, true),
            buffer("tinylora_B", &self.b, true),
            buffer("tinylora_P", &self.p, self.saved),
        ];
        parts.extend(self.bank.parts(V));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let delta = call.value(&self.b)?.matmul(&self.mixture(call)?)?.matmul(&call.value(&self.a)?)?;
        if call.site.is_linear() { Ok(delta) } else { delta.transpose(0, 1)?.contiguous() }.map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b, mixture) = (call.value(&self.a)?, call.value(&self.b)?, self.mixture(call)?);
        match x {
            Input::Tensor(x) => {
                let x = call.cx.dropout(x, self.dropout)?.to_dtype(a.dtype())?;
                let inner = ops::linear(&x, &a, None, WeightLayout::OutIn)?;
                let mixed = ops::linear(&inner, &mixture, None, WeightLayout::OutIn)?;
                ops::linear(&mixed, &b, None, WeightLayout::OutIn).map(Some)
            }
            Input::Ids(ids) => {
                let rows = call.cx.dropout(&ops::embedding(&b, &ids.data, &ids.shape)?, self.dropout)?;
                let mixed = ops::linear(&rows, &mixture, None, WeightLayout::InOut)?;
                ops::linear(&mixed, &a, None, WeightLayout::InOut).map(Some)
            }
        }
    }
}
