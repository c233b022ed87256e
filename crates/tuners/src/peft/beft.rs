//! BEFT: a bias that is added to what layers give.
//!
//! PEFT's `peft.tuners.beft` ("BEFT: Bias-Efficient Fine-Tuning of Language Models", arXiv 2509.15974).

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Site};
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::{Array, Error, Model, Param, Result, Tensor};

crate::config! {
    /// `BeftConfig`
    pub struct BeftConfig {
        standard: [peft, target_modules, modules_to_save];
        /// False starts with random biases, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `y = base(x) + b`
#[derive(Clone)]
pub struct Beft {
    /// `[1, out]`
    bias: Param,
}

impl LayerKind for Beft {
    const NAME: &'static str = "BEFT";
    const CLASS: &'static str = "BeftConfig";
    const ABOUT: &'static str = "A bias that is added to what layers give (arXiv 2509.15974).";
    type Config = BeftConfig;
    type Adapter = Self;

    /// PEFT's table.
    fn default_targets(model: &Model) -> &'static [&'static str] {
        match model.keys.model_type {
            "t5" => &["v"],
            "bert" | "roberta" => &["value"],
            "llama" | "mistral" | "gemma" | "gemma2" | "gemma3_text" | "qwen2" | "qwen3" => &["v_proj"],
            _ => &[],
        }
    }

    fn new(c: &BeftConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let (shape, zero) = ([1, site.outputs], c.init_weights);
        let bias = init.param(&shape, move |g| {
            // Drawn by the constructor in any case.
            let random = g.randn(&shape)?;
            Ok(if zero { random.zeros_like()? } else { random })
        })?;
        Ok(Self { bias })
    }
}

impl LayerAdapter for Beft {
    const GROUPS: &'static [&'static str] = &["beft_bias"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::trained("beft_bias", &self.bias)]
    }

    fn output(&self, call: &Call<'_>, y: &Tensor) -> Result<Option<Tensor>> {
        let bias = call.value(&self.bias)?.reshape(call.site.outputs)?;
        y.to_dtype(bias.dtype())?.add(&bias)?.to_dtype(y.dtype()).map(Some)
    }

    fn merged_weight(&self, _: &Call<'_>, w: Array) -> Result<Array> {
        Ok(w)
    }

    fn merged_bias(
        &self,
        call: &Call<'_>,
        _: &dyn Fn() -> Result<Array>,
        bias: Option<&Array>,
    ) -> Result<Option<Array>> {
        let Some(bias) = bias else {
            return Err(Error::Invalid(format!("{} has no bias to merge into", call.site.path)));
        };
        Ok(Some((bias + self.bias.array()?.flatten_all()?.to_dtype(bias.dtype())?)?))
    }
}
