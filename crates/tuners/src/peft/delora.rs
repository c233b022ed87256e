//! DeLoRA: low-rank updates of bounded norm.
//!
//! Bini et al. 2025 (arXiv 2503.18225); PEFT's `peft.tuners.delora`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::{Patterns, Probability};
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use crate::target;
use swift_tuners_nn::module::{Part, Role, WeightKind};
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Param, Result, Tensor};

crate::config! {
    /// `DeloraConfig`
    pub struct DeloraConfig {
        standard: [
            peft, target_modules, exclude_modules, bias, layers_to_transform, layers_pattern, modules_to_save, rank_pattern,
        ];
        /// Rank of the update.
        r: usize = 8, in 1..;
        /// Where the bound of the update's norm starts; it trains.
        delora_lambda: f64 = 15.;
        /// Dropout of what the update gets.
        module_dropout: Probability = Probability(0.);
        /// False starts with random matrices, so that the adapter acts at once.
        init_weights: bool = true;
        rank_pattern: Patterns<f64> = Patterns(Vec::new());
        /// Bounds by patterns that match the ends of module names.
        lambda_pattern: Patterns<f64> = Patterns(Vec::new());
    }
}

/// Lengths count as at least this.
const LEAST: f64 = 1e-4;

/// `ΔW = λ / r · Σₖ Bₖ Aₖ / (‖Aₖ‖ ‖Bₖ‖) · diag(n)`, where n are the norms of the columns of W.
#[derive(Clone)]
pub struct Delora {
    /// `[r, in]`
    a: Param,
    /// `[out, r]`
    b: Param,
    /// `[1]`
    lambda: Param,
    /// `[in]`
    w_norm: Param,
    dropout: f64,
}

impl LayerKind for Delora {
    const NAME: &'static str = "DELORA";
    const CLASS: &'static str = "DeloraConfig";
    const ABOUT: &'static str = "Low-rank updates of bounded norm. Bini et al. 2025 (arXiv 2503.18225).";
    type Config = DeloraConfig;
    type Adapter = Self;

    fn new(c: &DeloraConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let pattern = |patterns: &Patterns<f64>, name| target::pattern_value(&patterns.0, name, &site.path);
        let r = pattern(&c.rank_pattern, "rank_pattern")?.map_or(c.r, |r| r as usize);
        let lambda = pattern(&c.lambda_pattern, "lambda_pattern")?.unwrap_or(c.delora_lambda);
        let a = init.kaiming(&[r, site.inputs])?;
        let b = if c.init_weights { init.constant(&[site.outputs, r], 0.)? } else { init.kaiming(&[site.outputs, r])? };
        let base = site.clone();
        let w_norm = init.derived(&[site.inputs], move || Ok(base.matrix()?.sqr()?.sum(0)?.sqrt()?))?;
        Ok(Self { a, b, lambda: init.constant(&[1], lambda)?, w_norm, dropout: c.module_dropout.0 })
    }
}

impl Delora {
    /// A `[r, in]` with the scale of each component and of each column, and B `[out, r]`.
    fn factors(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let (a, b, lambda) = (call.value(&self.a)?, call.value(&self.b)?, call.value(&self.lambda)?);
        let r = a.dim(0);
        let length = |x: &Tensor, dim: isize| -> Result<Tensor> {
            // max(‖x‖, least), whose gradient below it is zero.
            let square = LEAST * LEAST;
            x.sqr()?.sum(Some(&[dim]), false)?.affine(1., -square)?.relu()?.affine(1., square)?.sqrt()
        };
        let scale = lambda.affine(1. / r as f64, 0.)?.div(&length(&a, 1)?.mul(&length(&b, 0)?)?)?;
        let a = a.mul(&scale.unsqueeze(1)?)?.mul(&call.value(&self.w_norm)?)?;
        Ok((a, b))
    }
}

impl LayerAdapter for Delora {
    const GROUPS: &'static [&'static str] =
        &["delora_dropout", "delora_A", "delora_B", "delora_lambda", "delora_w_norm"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![
            Part::trained("delora_A", &self.a),
            Part::trained("delora_B", &self.b),
            Part::trained("delora_lambda", &self.lambda),
            Part::trained("delora_w_norm", &self.w_norm).role(Role::Buffer { saved: true }),
        ]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (a, b) = self.factors(call)?;
        b.matmul(&a).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b) = self.factors(call)?;
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(a.dtype())?;
        ops::lora_linear(&x, None, &[LoraTerm::new(a, b, 1.)]).map(Some)
    }
}
