//! LN tuning: full training of norms, on copies that belong to the adapter.
//!
//! Zhao et al. 2023 (arXiv 2312.11420); PEFT's `peft.tuners.ln_tuning`.

use crate::config::Dialect;
use crate::copied::{Copied, CopyKind};
use crate::layers::{resolve_targets, save_heads};
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::modules_to_save;
use crate::target::{self, attach_at, Place};
use swift_tuners_nn::module::{named_nodes, own_parameters, PartName, Role};
use swift_tuners_nn::{Error, Result};

crate::config! {
    /// `LNTuningConfig`
    pub struct LnTuningConfig {
        standard: [peft, target_modules, exclude_modules, modules_to_save];
    }
}

/// The kind of tuner.
#[derive(Clone)]
pub struct LnTuning;

/// PEFT's table by model type.
fn defaults(model_type: &str) -> &'static [&'static str] {
    match model_type {
        "llama" | "mistral" | "gemma" => &["input_layernorm", "post_attention_layernorm", "norm"],
        "qwen2" | "qwen3" => &["post_attention_layernorm"],
        "gemma2" | "gemma3_text" => &[
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
            "norm",
        ],
        "gpt2" => &["ln_1", "ln_2", "ln_f"],
        "t5" => &["layer_norm", "final_layer_norm"],
        _ => &[],
    }
}

impl Kind for LnTuning {
    const NAME: &'static str = "LN_TUNING";
    const DIALECT: Dialect = Dialect::Peft;
    const CLASS: &'static str = "LNTuningConfig";
    const ABOUT: &'static str = "Full training of norms. Zhao et al. 2023 (arXiv 2312.11420).";
    const TRAITS: Traits = Traits::LAYER;
    type Config = LnTuningConfig;

    fn attach(_: &LnTuningConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        let mut resolved = a.config.clone();
        save_heads(a.model, &mut resolved)?;
        resolve_targets(a.model, defaults(a.model.keys.model_type), false, &mut resolved)?;
        let saved = resolved.texts("modules_to_save")?.unwrap_or_default();
        let targets = target::resolve(a.model, &resolved, &saved)?;
        let nodes = named_nodes(&a.model.root).into_iter().filter(|(path, _)| targets.contains(path));
        let mut places: Vec<Place> = Vec::new();
        for (path, node) in nodes {
            if own_parameters(node).iter().all(|(name, _)| name != "weight") {
                return Err(Error::config("target_modules", format!("{path} has no weight of its own")));
            }
            places.push(Place { id: node.id(), path });
        }
        let saved = modules_to_save::places(a.model, &saved)?;
        let (id, name) = (a.id, a.name);
        attach_at(&mut a.model.root, &places, |_, node| Copied::<Self>::attach(node, id, name, |n| n.tuners.len()))?;
        modules_to_save::attach(a, &saved)?;
        Ok(Attachment::new(&resolved))
    }
}

impl CopyKind for LnTuning {
    const WHAT: &'static str = "LN tuning";
    const BASE_NAME: Option<&'static str> = Some("base_layer");
    const ROLE: Role = Role::Trained;
    const REPLACES: bool = true;

    fn name(adapter: &str) -> String {
        format!("ln_tuning_layers.{adapter}")
    }

    fn part(path: String) -> PartName {
        PartName::Inside { group: "ln_tuning_layers", path }
    }
}
