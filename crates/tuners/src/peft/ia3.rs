//! (IA)³: multiplies what comes out of a layer, or goes into a feed-forward one, by a learned vector.
//!
//! Liu et al. 2022 (arXiv 2205.05638); PEFT's `peft.tuners.ia3`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Names;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::{Attach, Combinations, Made};
use crate::pattern::FullMatch;
use crate::site::{Call, Site};
use candle_core::DType;
use serde_json::Value as Json;
use swift_tuners_nn::combine::{Combination, Combining};
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::{Array, Error, Model, Param, Result, Tensor};

crate::config! {
    /// `IA3Config`
    pub struct Ia3Config {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, modules_to_save,
        ];
        /// Those of the targets whose inputs are multiplied: endings of names, or a regular expression for whole ones. Default: the
        /// model type's own (PEFT's table).
        feedforward_modules: Option<Names> = None;
        /// False starts with random vectors in place of ones.
        init_ia3_weights: bool = true;
    }
}

/// `y = l · base(x)`, or `base(l · x)` in a feed-forward layer. `l [out, 1]` or `[1, in]`, with two more dimensions on convolutions.
#[derive(Clone)]
pub struct Ia3 {
    l: Param,
    feedforward: bool,
}

/// PEFT's tables by model type: targets, and which of them are feed-forward.
fn defaults(model_type: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match model_type {
        "llama" | "mistral" => (&["k_proj", "v_proj", "down_proj"], &["down_proj"]),
        "qwen2" | "qwen3" | "gemma" | "gemma2" | "gemma3_text" => (&["q_proj", "v_proj", "down_proj"], &["down_proj"]),
        "gpt2" => (&["c_attn", "mlp.c_proj"], &["mlp.c_proj"]),
        "bert" | "roberta" => (&["key", "value", "output.dense"], &["output.dense"]),
        "t5" => (&["k", "v", "wo"], &["wo"]),
        _ => (&[], &[]),
    }
}

/// Whether a layer of this path is one of `feedforward_modules`.
fn is_feedforward(config: &TunerConfig, path: &str) -> Result<bool> {
    const FIELD: &str = "feedforward_modules";
    match config.get(FIELD) {
        Some(Json::String(pattern)) => FullMatch::new(pattern, FIELD)?.matches(path),
        // Python looks at the end of the text, not at whole components.
        _ => Ok(config.texts(FIELD)?.unwrap_or_default().iter().any(|end| path.ends_with(end.as_str()))),
    }
}

impl LayerKind for Ia3 {
    const NAME: &'static str = "IA3";
    const CLASS: &'static str = "IA3Config";
    const ABOUT: &'static str =
        "Learned vectors that multiply what layers give or take. Liu et al. 2022 (arXiv 2205.05638).";
    const COMBINATION: Option<Combinations> =
        Some(Combinations { rank: |_, how, _| only_linear(how), config: combined });
    type Config = Ia3Config;
    type Adapter = Self;

    fn check(config: &Ia3Config) -> Result<()> {
        match &config.feedforward_modules {
            Some(Names::Text(pattern)) => FullMatch::new(pattern, "feedforward_modules").map(|_| ()),
            _ => Ok(()),
        }
    }

    fn default_targets(model: &Model) -> &'static [&'static str] {
        defaults(model.keys.model_type).0
    }

    fn resolve(config: &Ia3Config, a: &Attach<'_>, resolved: &mut TunerConfig) -> Result<()> {
        if config.feedforward_modules.is_none() {
            let kind = a.model.keys.model_type;
            let (_, feedforward) = defaults(kind);
            if feedforward.is_empty() {
                let why = format!("missing: PEFT has no defaults for {kind}");
                return Err(Error::config("feedforward_modules", why));
            }
            resolved.set("feedforward_modules", feedforward);
        }
        let lists = [resolved.get("target_modules"), resolved.get("feedforward_modules")];
        if let [Some(Json::Array(targets)), Some(Json::Array(feedforward))] = lists {
            if let Some(other) = feedforward.iter().find(|f| !targets.contains(f)) {
                return Err(Error::config("feedforward_modules", format!("{other} is not among target_modules")));
            }
        }
        Ok(())
    }

    fn new(c: &Ia3Config, site: &Site, _: Option<&Bank>, init: &mut Init, resolved: &TunerConfig) -> Result<Self> {
        site.require(|k| *k != WeightKind::Embedding, "linear layer or convolution")?;
        site.refuse_conv1d()?;
        let feedforward = is_feedforward(resolved, &site.path)?;
        if feedforward && site.convolution().is_some_and(|c| c.groups > 1) {
            let why = format!("{} is a convolution in groups", site.path);
            return Err(Error::config("feedforward_modules", why));
        }
        let n = if feedforward { site.channels() } else { site.outputs };
        let shape = match (site.convolution(), feedforward) {
            (Some(_), _) => vec![1, n, 1, 1],
            (None, true) => vec![1, n],
            (None, false) => vec![n, 1],
        };
        let ones = c.init_ia3_weights;
        let of = shape.clone();
        let l = init.param(&shape, move |g| {
            // Drawn by the constructor in any case.
            let random = g.randn(&of)?;
            Ok(if ones { random.ones_like()? } else { random })
        })?;
        Ok(Self { l, feedforward })
    }
}

impl LayerAdapter for Ia3 {
    const GROUPS: &'static [&'static str] = &["ia3_l"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::trained("ia3_l", &self.l)]
    }

    fn maps_input(&self) -> bool {
        self.feedforward
    }

    fn input(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        scaled(x, &call.per_input(&call.value(&self.l)?)?)
    }

    fn output(&self, call: &Call<'_>, y: &Tensor) -> Result<Option<Tensor>> {
        if self.feedforward {
            return Ok(None);
        }
        scaled(y, &call.per_channel(&call.value(&self.l)?)?).map(Some)
    }

    fn combined(of: &[(&Self, f64)], how: &mut Combining) -> Result<Option<Vec<Array>>> {
        let mut sum: Option<Array> = None;
        for (adapter, weight) in of {
            let l = ((how.read)(&adapter.l)?.to_dtype(DType::F32)? * *weight)?;
            sum = Some(match sum {
                Some(sum) => (sum + l)?,
                None => l,
            });
        }
        Ok(sum.map(|l| vec![l]))
    }
}

/// In the wider type, and back in x's.
fn scaled(x: &Tensor, l: &Tensor) -> Result<Tensor> {
    x.to_dtype(l.dtype())?.mul(l)?.to_dtype(x.dtype())
}

fn only_linear(how: Combination) -> Result<usize> {
    if how == Combination::Linear {
        return Ok(1);
    }
    Err(Error::config("combinationType", "adapters of the type IA3 are summed with weights: linear"))
}

/// The first one's configuration with the targets of all.
fn combined(configs: &[&TunerConfig], _: usize, _: &[Made]) -> Result<TunerConfig> {
    let mut config = configs[0].clone();
    for field in ["target_modules", "feedforward_modules"] {
        let patterns = configs.iter().filter(|c| matches!(c.get(field), Some(Json::String(_)))).count();
        if patterns != 0 && patterns != configs.len() {
            return Err(Error::config(field, "all adapters must give a list, or all of them a pattern"));
        }
        let mut all: Vec<String> = Vec::new();
        for c in configs {
            all.extend(c.texts(field)?.unwrap_or_default());
        }
        let value: Json = if patterns > 0 {
            all.iter().map(|p| format!("({p})")).collect::<Vec<_>>().join("|").into()
        } else {
            all.sort();
            all.dedup();
            all.into()
        };
        config.set(field, value);
    }
    // Where none of them acts the sum does nothing.
    config.set("init_ia3_weights", true);
    Ok(config)
}
