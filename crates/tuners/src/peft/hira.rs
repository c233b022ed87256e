//! HiRA: a low-rank update that multiplies the weight element by element, and so is of high rank.
//!
//! Huang et al. 2025 (ICLR, "HiRA: Parameter-Efficient Hadamard High-Rank Adaptation"); PEFT's `peft.tuners.hira`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::{Patterns, Probability};
use crate::init::Init;
use crate::layer::{Active, LayerAdapter};
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use crate::target;
use swift_tuners_nn::linalg::hadamard_update;
use swift_tuners_nn::module::{Next, Part};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{Error, Param, Result, Tensor};

crate::config! {
    /// `HiraConfig`
    pub struct HiraConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, modules_to_save, layers_to_transform, layers_pattern, rank_pattern,
        ];
        /// Rank of what multiplies the weight.
        r: usize = 32, in 1..;
        hira_dropout: Probability = Probability(0.);
        /// True starts with B zero, 'gaussian' also with A normal, false with random matrices, so that the adapter acts at once.
        init_weights: Option<Start> = Some(Start::Default);
        /// Ranks by patterns that match the ends of module names; as in PEFT 0.21 only those of a layer's second adapter and later ones.
        rank_pattern: Patterns<f64> = Patterns(Vec::new());
    }
}

crate::choices! {
    /// How the matrices start.
    pub enum Start { Default = true, Random = false, Gaussian = "gaussian" }
}

/// `ΔW = W ∘ (B A)`
#[derive(Clone)]
pub struct Hira {
    /// `[r, in]`, of a convolution `[r, in, height, width]`
    a: Param,
    /// `[out, r]`, of a convolution `[out, r, 1, 1]`
    b: Param,
    embedding: bool,
    dropout: f64,
}

impl LayerKind for Hira {
    const NAME: &'static str = "HIRA";
    const CLASS: &'static str = "HiraConfig";
    const ABOUT: &'static str =
        "A low-rank matrix that multiplies the weight element by element. Huang et al. 2025 (ICLR).";
    type Config = HiraConfig;
    type Adapter = Self;

    fn new(c: &HiraConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        if site.convolution().is_some_and(|conv| conv.groups > 1) {
            let why = format!("{} is a convolution in groups", site.path);
            return Err(Error::config("target_modules", why));
        }
        // Python asks the patterns only for a layer that has an adapter already, and files have these sizes.
        let pattern = target::pattern_value(&c.rank_pattern.0, "rank_pattern", &site.path)?.filter(|_| !site.first);
        let r = pattern.map_or(c.r, |r| r as usize);
        let (mut shape_a, mut shape_b) = (vec![r, site.inputs], vec![site.outputs, r]);
        if let Some(kernel) = site.kernel() {
            shape_a = [&[r], &site.shape[1..]].concat();
            shape_b.extend(kernel.iter().map(|_| 1));
        }
        // Both are drawn normal first.
        let normal = |init: &mut Init, shape: &[usize], replaced: bool| {
            let of = shape.to_vec();
            if replaced {
                init.discard(|g| g.randn(&of)).map(|()| None)
            } else {
                init.param(shape, move |g| g.randn(&of)).map(Some)
            }
        };
        let embedding = !site.is_linear() && site.convolution().is_none();
        // Python leaves an embedding's alone with false only.
        let replaced = match c.init_weights {
            Some(start) => start != Start::Random,
            None => embedding,
        };
        let first = (normal(init, &shape_a, replaced)?, normal(init, &shape_b, replaced)?);
        let (a, b) = match (first, c.init_weights) {
            ((Some(a), Some(b)), _) => (a, b),
            _ if embedding => (init.constant(&shape_a, 0.)?, init.normal(&shape_b, 1.)?),
            (_, Some(Start::Gaussian)) if site.convolution().is_none() => {
                (init.normal(&shape_a, 1. / r as f64)?, init.constant(&shape_b, 0.)?)
            }
            _ => (init.kaiming(&shape_a)?, init.constant(&shape_b, 0.)?),
        };
        Ok(Self { a, b, embedding, dropout: c.hira_dropout.0 })
    }
}

impl Hira {
    /// B `[out, r]` and A `[r, in]`.
    fn factors(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let (a, b) = (call.value(&self.a)?, call.value(&self.b)?);
        let r = a.dim(0);
        Ok((b.reshape((call.site.outputs, r))?, a.reshape((r, call.site.inputs))?))
    }
}

impl LayerAdapter for Hira {
    const GROUPS: &'static [&'static str] =
        &["hira_dropout", "hira_A", "hira_B", "hira_embedding_A", "hira_embedding_B"];

    fn parts(&self) -> Vec<Part<'_>> {
        let [a, b] = if self.embedding { ["hira_embedding_A", "hira_embedding_B"] } else { ["hira_A", "hira_B"] };
        vec![Part::trained(a, &self.a), Part::trained(b, &self.b)]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (b, a) = self.factors(call)?;
        hadamard_update(&call.weights.matrix()?.to_dtype(b.dtype())?, &b, &a, 0.).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let Some(delta) = self.delta(call)? else { return Ok(None) };
        match x {
            Input::Tensor(x) => call.times(&Input::Tensor(call.cx.dropout(x, self.dropout)?), &delta).map(Some),
            Input::Ids(_) => call.times(x, &delta).map(Some),
        }
    }

    /// `x (W ∘ (1 + Σ B A))ᵀ`: one product in place of two.
    fn fused(active: &[Active<'_, Self>], call: &Call<'_>, x: &Input, next: &Next<'_>) -> Result<Option<Tensor>> {
        let drops = call.training() && active.iter().any(|a| a.adapter.dropout > 0.);
        let (Input::Tensor(x), true, false) = (x, call.site.is_linear() && next.bare(call.cx).is_some(), drops) else {
            return Ok(None);
        };
        let factors = active.iter().map(|a| a.adapter.factors(call)).collect::<Result<Vec<_>>>()?;
        let b = Tensor::cat(&factors.iter().map(|(b, _)| b).collect::<Vec<_>>(), 1)?;
        let a = Tensor::cat(&factors.iter().map(|(_, a)| a).collect::<Vec<_>>(), 0)?;
        let w = hadamard_update(&call.weights.matrix()?.to_dtype(b.dtype())?, &b, &a, 1.)?;
        let bias = call.weights.bias().map(|b| b.value(call.cx.grad)?.to_dtype(w.dtype())).transpose()?;
        let y = ops::linear(&x.to_dtype(w.dtype())?, &w, bias.as_ref(), WeightLayout::OutIn)?;
        y.to_dtype(x.dtype()).map(Some)
    }
}
