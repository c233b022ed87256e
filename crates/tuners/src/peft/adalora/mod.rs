//! AdaLoRA: low-rank updates as singular triplets, whose number is moved to where they matter while training goes on.
//!
//! Zhang et al. 2023 (arXiv 2303.10512); PEFT's `peft.tuners.adalora`.

mod allocator;
mod fields;

pub use fields::AdaLoraConfig;

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::lora::{share_copy, Start};
use crate::method::{Attach, Traits};
use crate::site::{Call, Input, Site};
use crate::tokens;
use allocator::Allocator;
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::module::{Part, Role, WeightKind};
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Error, Model, Param, Result, Tensor};

/// `ΔW = s B diag(E) A`, `s = alpha / (rank + 1e-5)` with the rank that it started with.
#[derive(Clone)]
pub struct AdaLora {
    /// `[r, in]`
    a: Param,
    /// `[out, r]`
    b: Param,
    /// `[r, 1]`
    e: Param,
    /// The rank at the start, `[1]`.
    rank: Param,
    scaling: f64,
    dropout: f64,
    /// What a file keeps of the triplets, where that is not all.
    kept: Arc<Mutex<Option<Vec<u32>>>>,
}

/// PEFT's table by model type.
fn defaults(model_type: &str) -> &'static [&'static str] {
    match model_type {
        "llama" | "qwen2" | "qwen3" | "gemma" | "gemma2" | "gemma3_text" => &["q_proj", "v_proj"],
        "gpt2" => &["c_attn"],
        "bert" => &["query", "value"],
        "roberta" => &["query", "key", "value", "dense"],
        "t5" => &["q", "k", "v", "o", "wi", "wo"],
        _ => &[],
    }
}

impl LayerKind for AdaLora {
    const NAME: &'static str = "ADALORA";
    const CLASS: &'static str = "AdaLoraConfig";
    const ABOUT: &'static str =
        "Low-rank updates whose ranks go to where they matter while training goes on. Zhang et al. 2023 (arXiv 2303.10512).";
    const TRAITS: Traits = Traits { steps: true, ..Traits::LAYER };
    type Config = AdaLoraConfig;
    type Adapter = Self;

    fn check(config: &AdaLoraConfig) -> Result<()> {
        fields::check(config)
    }

    fn default_targets(model: &Model) -> &'static [&'static str] {
        defaults(model.keys.model_type)
    }

    fn resolve(_: &AdaLoraConfig, a: &Attach<'_>, _: &mut TunerConfig) -> Result<()> {
        let trains = |c: &TunerConfig| Ok::<_, Error>(c.kind == Self::NAME && !c.flag("inference_mode")?);
        for other in &a.others {
            if trains(a.config)? && trains(other)? {
                let why = "one adapter of a model trains: set it for all others";
                return Err(Error::config("inference_mode", why));
            }
        }
        Ok(())
    }

    fn new(c: &AdaLoraConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k != WeightKind::Embedding, "linear layer or convolution")?;
        site.refuse_conv1d()?;
        if site.convolution().is_some_and(|conv| conv.groups > 1) {
            return Err(Error::config("target_modules", format!("{} is a convolution in groups", site.path)));
        }
        let kept = c.rank_pattern.as_ref().and_then(|kept| kept.of_module(&site.path));
        let r = kept.map_or(c.init_r, |kept| kept.iter().filter(|k| **k).count());
        let (shape_a, shape_e, shape_b) = ([r, site.inputs], [r, 1], [site.outputs, r]);
        let random = c.init_lora_weights == Start::Random;
        let (a, e, b, rank);
        if random {
            a = init.param(&shape_a, move |g| g.randn(&shape_a))?;
            e = init.param(&shape_e, move |g| g.randn(&shape_e))?;
            b = init.param(&shape_b, move |g| g.randn(&shape_b))?;
            init.discard(|g| g.randn(&[1]))?;
        } else {
            // The constructors' values, and that of the rank's parameter.
            init.discard(|g| Ok((g.randn(&shape_a)?, g.randn(&shape_e)?, g.randn(&shape_b)?, g.randn(&[1])?)))?;
            e = init.constant(&shape_e, 0.)?;
            a = init.param(&shape_a, move |g| g.normal(&shape_a, 0., 0.02))?;
            b = init.param(&shape_b, move |g| g.normal(&shape_b, 0., 0.02))?;
        }
        rank = init.constant(&[1], if r == 0 { 0. } else { c.init_r as f64 })?;
        rank.set_requires_grad(false);
        let alpha = if c.lora_alpha.0 > 0. { c.lora_alpha.0 } else { r as f64 };
        let scaling = alpha / (c.init_r as f64 + 1e-5);
        Ok(Self { a, b, e, rank, scaling, dropout: c.lora_dropout.0, kept: Arc::default() })
    }

    fn finish(c: &AdaLoraConfig, a: &mut Attach<'_>) -> Result<()> {
        Allocator::attach(c, a);
        if c.ensure_weight_tying {
            share_copy(a)?;
        }
        if let Some(tokens) = &c.trainable_token_indices {
            let saved = a.config.texts("modules_to_save")?.unwrap_or_default();
            tokens::attach_listed(a, tokens, c.ensure_weight_tying, &saved)?;
        }
        Ok(())
    }
}

impl AdaLora {
    fn is_empty(&self) -> bool {
        self.e.numel() == 0
    }

    /// A with its rows times the singular values.
    fn scaled(&self, call: &Call<'_>) -> Result<Tensor> {
        call.value(&self.a)?.mul(&call.value(&self.e)?)
    }
}

impl LayerAdapter for AdaLora {
    const GROUPS: &'static [&'static str] = &[
        "lora_dropout",
        "lora_A",
        "lora_B",
        "lora_embedding_A",
        "lora_embedding_B",
        "lora_magnitude_vector",
        "lora_E",
        "ranknum",
    ];

    fn parts(&self) -> Vec<Part<'_>> {
        let kept = self.kept.lock();
        let cut = |dim: usize| kept.clone().map(|kept| (dim, kept));
        vec![
            Part { saved: cut(0), ..Part::trained("lora_A", &self.a) },
            Part { saved: cut(1), ..Part::trained("lora_B", &self.b) },
            Part { saved: cut(0), ..Part::trained("lora_E", &self.e) },
            Part::trained("ranknum", &self.rank).role(Role::Constant),
        ]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        if self.is_empty() {
            return Ok(None);
        }
        call.value(&self.b)?.matmul(&self.scaled(call)?)?.affine(self.scaling, 0.).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        if self.is_empty() {
            return Ok(None);
        }
        let x = call.cx.dropout(&x.tensor()?.to_dtype(self.a.dtype())?, self.dropout)?;
        if call.site.convolution().is_some() {
            return self.delta(call)?.map(|delta| call.times(&Input::Tensor(x), &delta)).transpose();
        }
        let term = LoraTerm::new(self.scaled(call)?, call.value(&self.b)?, self.scaling);
        ops::lora_linear(&x, None, &[term]).map(Some)
    }
}
