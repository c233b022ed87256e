//! LoHa: a Hadamard product of two low-rank updates.
//!
//! Hyeon-Woo et al. 2021 (FedPara, arXiv 2108.06098); PEFT's `peft.tuners.loha`.

use super::lycoris::{core_shape, Dropouts, Factored};
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::{Patterns, Probability};
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use crate::target;
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::{Result, Tensor};

crate::config! {
    /// `LoHaConfig`
    pub struct LoHaConfig {
        standard: [
            peft, target_modules, exclude_modules, layers_to_transform, layers_pattern, modules_to_save, rank_pattern, alpha_pattern,
        ];
        /// Rank of both updates.
        r: usize = 8, in 1..;
        /// The product is scaled by `alpha / r`.
        alpha: usize = 8;
        /// Chance that a row of the update is left out in training.
        rank_dropout: Probability = Probability(0.);
        /// Chance that a layer's update is left out in training.
        module_dropout: Probability = Probability(0.);
        /// Convolutions larger than 1×1 get cores of their kernel's size (proposition 3 of the paper).
        use_effective_conv2d: bool = false;
        /// False starts with random matrices throughout, so that the adapter acts at once.
        init_weights: bool = true;
        rank_pattern: Patterns<f64> = Patterns(Vec::new());
        alpha_pattern: Patterns<f64> = Patterns(Vec::new());
    }
}

/// `ΔW = s (w1_a w1_b) ∘ (w2_a w2_b)`, each factor `Σ t[i,j,..] a[i,·] b[j,·]` where there are cores.
#[derive(Clone)]
pub struct LoHa {
    factors: [Factored; 2],
    scaling: f64,
    dropouts: Dropouts,
}

impl LayerKind for LoHa {
    const NAME: &'static str = "LOHA";
    const CLASS: &'static str = "LoHaConfig";
    const ABOUT: &'static str = "A Hadamard product of two low-rank updates. Hyeon-Woo et al. 2021 (arXiv 2108.06098).";
    type Config = LoHaConfig;
    type Adapter = Self;

    fn new(c: &LoHaConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        let plain = |k: &WeightKind| matches!(k, WeightKind::Linear { transposed: false } | WeightKind::Conv2d(_));
        site.require(plain, "torch.nn.Linear, Conv1d or Conv2d")?;
        let pattern = |patterns: &Patterns<f64>, name| target::pattern_value(&patterns.0, name, &site.path);
        let r = pattern(&c.rank_pattern, "rank_pattern")?.map_or(c.r, |r| r as usize);
        let alpha = pattern(&c.alpha_pattern, "alpha_pattern")?.unwrap_or(c.alpha as f64);
        let kernel = site.kernel();
        let core = kernel.filter(|k| c.use_effective_conv2d && k.iter().any(|&size| size != 1));
        let (shape_a, shape_b) = match core {
            Some(_) => ([r, site.outputs], [r, site.shape[1]]),
            None => ([site.outputs, r], [r, site.inputs]),
        };
        let zero = c.init_weights;
        let mut kaiming = |shape: &[usize]| init.kaiming(shape);
        let first = (kaiming(&shape_a)?, kaiming(&shape_b)?);
        let a = kaiming(&shape_a)?;
        let b = if zero { init.constant(&shape_b, 0.)? } else { init.kaiming(&shape_b)? };
        let mut cores = || core.map(|kernel| init.kaiming(&core_shape(r, kernel))).transpose();
        let factors = [Factored { a: first.0, b: first.1, core: cores()? }, Factored { a, b, core: cores()? }];
        let dropouts = Dropouts { rank: c.rank_dropout.0, scale: true, module: c.module_dropout.0 };
        Ok(Self { factors, scaling: alpha / r as f64, dropouts })
    }
}

impl LayerAdapter for LoHa {
    const GROUPS: &'static [&'static str] = &["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"];

    fn parts(&self) -> Vec<Part<'_>> {
        let [first, second] = &self.factors;
        let mut parts = vec![
            Part::trained("hada_w1_a", &first.a),
            Part::trained("hada_w1_b", &first.b),
            Part::trained("hada_w2_a", &second.a),
            Part::trained("hada_w2_b", &second.b),
        ];
        parts.extend(first.core.iter().map(|t| Part::trained("hada_t1", t)));
        parts.extend(second.core.iter().map(|t| Part::trained("hada_t2", t)));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let [first, second] = &self.factors;
        let delta = first.matrix(call)?.mul(&second.matrix(call)?)?.affine(self.scaling, 0.)?;
        match self.dropouts.outputs(call, &delta)? {
            Some(mask) => delta.mul(&mask.unsqueeze(1)?).map(Some),
            None => Ok(Some(delta)),
        }
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        if self.dropouts.skip(call) {
            return Ok(None);
        }
        self.delta(call)?.map(|delta| call.times(x, &delta)).transpose()
    }
}
