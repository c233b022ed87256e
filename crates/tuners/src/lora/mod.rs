//! LoRA and its relatives: rsLoRA, DoRA, LoRA with a bias, SWIFT's merged linear.
//!
//! Hu et al. 2021 (arXiv 2106.09685); Python's `peft.tuners.lora` and `swift.tuners.lora`.

mod combine;
mod init;
mod layer;
mod merged_linear;

pub use layer::{LoraAdapter, LoraLayer};
pub use merged_linear::MergedLinear;

use crate::config::{Dialect, TunerConfig};
use crate::method::{Attachment, Bias, Method, Traits};
use crate::modules_to_save::ModulesToSave;
use crate::target;
use candle_core::DType;
use serde_json::{json, Map, Value as Json};
use std::collections::HashSet;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{for_each_node_mut, named_nodes, NodeId};
use swift_tuners_nn::{AdapterId, Error, Model, Param, Result};

pub static METHOD: Method = Method {
    kind: "LORA",
    dialects: &[Dialect::Swift, Dialect::Peft],
    defaults,
    check,
    attach: |a| attach(a.model, a.id, a.name, a.config, a.seed),
    combination: Some(combine::COMBINATIONS),
    traits: Traits { merges: true, by_rows: true, ..Traits::DEFAULT },
};

/// How the matrices start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// A uniform in ±1/sqrt(in), B zero (`true`).
    Default,
    /// Both random (`false`), so that the adapter acts from the start.
    Random,
    Gaussian,
    /// Both random with B A = 0.
    Orthogonal,
    /// Meng et al. 2024 (arXiv 2404.02948).
    Pissa,
    /// Büyükakyüz 2024 (arXiv 2406.01775).
    Olora,
}

/// The fields of a LoRA configuration that change what is computed.
#[derive(Clone, Debug)]
pub struct LoraConfig {
    pub r: usize,
    pub alpha: f64,
    pub dropout: f64,
    pub bias: Bias,
    pub rslora: bool,
    pub dora: bool,
    pub lora_bias: bool,
    pub init: Init,
    pub rank_pattern: Vec<(String, f64)>,
    pub alpha_pattern: Vec<(String, f64)>,
    pub modules_to_save: Vec<String>,
    pub dtype: Option<DType>,
    pub merged_linear: Option<Vec<bool>>,
    pub ensure_weight_tying: bool,
}

pub(crate) fn defaults(dialect: Dialect) -> Map<String, Json> {
    let common = json!({
        "task_type": null, "peft_type": "LORA", "auto_mapping": null, "peft_version": null,
        "base_model_name_or_path": null, "revision": null, "inference_mode": false, "r": 8, "target_modules": null,
        "exclude_modules": null, "lora_alpha": 8, "lora_dropout": 0.0, "fan_in_fan_out": false, "bias": "none",
        "use_rslora": false, "modules_to_save": null, "init_lora_weights": true, "layers_to_transform": null,
        "layers_pattern": null, "rank_pattern": {}, "alpha_pattern": {}, "megatron_config": null,
        "megatron_core": "megatron.core", "trainable_token_indices": null, "loftq_config": {}, "eva_config": null,
        "corda_config": null, "use_dora": false, "alora_invocation_tokens": null, "use_qalora": false,
        "qalora_group_size": 16, "layer_replication": null, "lora_bias": false, "target_parameters": null,
        "arrow_config": null, "ensure_weight_tying": false,
    });
    let extra = match dialect {
        Dialect::Swift => json!({
            "lora_dtype": null, "lorap_lr_ratio": 16.0, "lorap_emb_lr": 1e-6, "use_qa_lora": false,
            "use_merged_linear": false, "enable_lora": null,
        }),
        Dialect::Peft => json!({
            "lora_ga_config": null, "velora_config": null, "monteclora_config": null, "use_bdlora": null,
            "lora_dtype": null, "lorap_lr_ratio": null, "lorap_emb_lr": 1e-6,
        }),
    };
    let mut map = Map::new();
    if dialect == Dialect::Swift {
        map.insert("swift_type".into(), "LORA".into());
        map.insert("model_key_mapping".into(), Json::Null);
    }
    for part in [common, extra] {
        if let Json::Object(fields) = part {
            map.extend(fields);
        }
    }
    map
}

/// Fields that ask for something this version does not do, with the values that ask for nothing.
fn refuse_unsupported(c: &TunerConfig) -> Result<()> {
    let harmless = |name: &str, v: &Json| match v {
        Json::Null | Json::Bool(false) => true,
        Json::Object(map) => map.is_empty(),
        Json::Array(list) => list.is_empty(),
        _ => matches!(name, "qalora_group_size" | "megatron_core"),
    };
    if c.get("use_qa_lora").is_some_and(|v| !harmless("use_qa_lora", v)) {
        return Err(Error::config("use_qa_lora", "is deprecated in SWIFT and not supported"));
    }
    for name in [
        "megatron_config",
        "trainable_token_indices",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "velora_config",
        "monteclora_config",
        "alora_invocation_tokens",
        "use_qalora",
        "layer_replication",
        "target_parameters",
        "use_bdlora",
        "arrow_config",
        "model_key_mapping",
    ] {
        if let Some(v) = c.get(name).filter(|v| !harmless(name, v)) {
            return Err(Error::config(name, format!("{} is not supported", printable(&v.to_string(), 60))));
        }
    }
    Ok(())
}

fn check(c: &TunerConfig) -> Result<()> {
    LoraConfig::new(c).map(|_| ())
}

/// Both spellings: `float16` as torch, `fp16` as SWIFT's documentation (which Python refuses).
fn parse_dtype(name: &str) -> Result<DType> {
    Ok(match name.trim_start_matches("torch.") {
        "float32" | "fp32" | "f32" => DType::F32,
        "float16" | "fp16" | "f16" | "half" => DType::F16,
        "bfloat16" | "bf16" => DType::BF16,
        "float64" | "f64" => DType::F64,
        other => return Err(Error::config("lora_dtype", format!("unknown dtype {:?}", printable(other, 40)))),
    })
}

impl LoraConfig {
    pub fn new(c: &TunerConfig) -> Result<Self> {
        refuse_unsupported(c)?;
        let dropout = c.float("lora_dropout")?.unwrap_or(0.);
        if !(0. ..1.).contains(&dropout) {
            return Err(Error::config("lora_dropout", format!("expected a probability below 1, found {dropout}")));
        }
        let init = match c.fields.get("init_lora_weights") {
            None | Some(Json::Null) | Some(Json::Bool(true)) => Init::Default,
            Some(Json::Bool(false)) => Init::Random,
            Some(Json::String(s)) => match s.to_ascii_lowercase().as_str() {
                "gaussian" => Init::Gaussian,
                "orthogonal" => Init::Orthogonal,
                "pissa" => Init::Pissa,
                "olora" => Init::Olora,
                "true" => Init::Default,
                _ => {
                    return Err(Error::config("init_lora_weights", format!("{:?} is not supported", printable(s, 60))))
                }
            },
            Some(v) => {
                return Err(Error::config("init_lora_weights", format!("found {}", printable(&v.to_string(), 60))))
            }
        };
        let bias = match c.text("bias")?.unwrap_or("none") {
            "none" => Bias::None,
            "all" => Bias::All,
            "lora_only" => Bias::Adapted,
            other => {
                return Err(Error::config(
                    "bias",
                    format!("expected none, all or lora_only, found {:?}", printable(other, 40)),
                ))
            }
        };
        let rank_pattern = c.patterns("rank_pattern")?;
        if let Some((name, v)) = rank_pattern.iter().find(|(_, v)| v.fract() != 0. || *v > (1 << 20) as f64) {
            return Err(Error::config(
                format!("rank_pattern.{}", printable(name, 60)),
                format!("expected an integer, found {v}"),
            ));
        }
        let merged_linear = if c.flag("use_merged_linear")? {
            Some(match c.get("enable_lora") {
                None => vec![true],
                Some(Json::Bool(b)) => vec![*b],
                Some(Json::Array(flags)) if !flags.is_empty() => flags
                    .iter()
                    .map(|f| {
                        f.as_bool().ok_or_else(|| Error::config("enable_lora", "expected a list of true and false"))
                    })
                    .collect::<Result<_>>()?,
                Some(_) => return Err(Error::config("enable_lora", "expected a list of true and false")),
            })
        } else {
            None
        };
        if merged_linear.as_ref().is_some_and(|m| !m.contains(&true)) {
            return Err(Error::config("enable_lora", "no block is enabled"));
        }
        let alpha = c.float("lora_alpha")?.ok_or_else(|| Error::config("lora_alpha", "missing"))?;
        let out = Self {
            r: c.size("r")?,
            alpha,
            dropout,
            bias,
            rslora: c.flag("use_rslora")?,
            dora: c.flag("use_dora")?,
            lora_bias: c.flag("lora_bias")?,
            init,
            rank_pattern,
            alpha_pattern: c.patterns("alpha_pattern")?,
            modules_to_save: c.texts("modules_to_save")?.unwrap_or_default(),
            dtype: c.text("lora_dtype")?.map(parse_dtype).transpose()?,
            merged_linear,
            ensure_weight_tying: c.flag("ensure_weight_tying")?,
        };
        if out.dora && (out.lora_bias || out.merged_linear.is_some()) {
            return Err(Error::config("use_dora", "does not go with lora_bias or use_merged_linear"));
        }
        if let (Some(ratio), _) = (c.float("lorap_lr_ratio")?, c.float("lorap_emb_lr")?) {
            if ratio < 0. {
                return Err(Error::config("lorap_lr_ratio", format!("expected a positive number, found {ratio}")));
            }
        }
        // The rules of target matching are checked where they are written, so a bad pattern never reaches the model.
        for field in ["target_modules", "exclude_modules"] {
            match c.get(field) {
                Some(Json::String(s)) if !s.eq_ignore_ascii_case("all-linear") => {
                    target::FullMatch::new(s, field)?;
                }
                _ => {
                    c.texts(field)?;
                }
            }
        }
        c.integers("layers_to_transform")?;
        c.texts("layers_pattern")?;
        Ok(out)
    }

    /// Rank and scaling for one module, after the patterns.
    fn rank_and_scaling(&self, name: &str) -> Result<(usize, f64)> {
        let r = target::pattern_value(&self.rank_pattern, "rank_pattern", name)?.map_or(self.r, |r| r as usize);
        let alpha = target::pattern_value(&self.alpha_pattern, "alpha_pattern", name)?.unwrap_or(self.alpha);
        Ok((r, if self.rslora { alpha / (r as f64).sqrt() } else { alpha / r as f64 }))
    }
}

pub(crate) fn attach(
    model: &mut Model,
    id: AdapterId,
    name: &str,
    config: &TunerConfig,
    seed: u64,
) -> Result<Attachment> {
    let mut config = config.clone();
    if config.dialect == Dialect::Peft && config.text("task_type")? == Some("SEQ_CLS") {
        let mut saved = config.texts("modules_to_save")?.unwrap_or_default();
        for head in model.keys.head_names() {
            if !saved.iter().any(|s| s == head) {
                saved.push((*head).to_owned());
            }
        }
        if !saved.is_empty() {
            config.fields.insert("modules_to_save".into(), saved.into());
        }
    }
    let lora = LoraConfig::new(&config)?;
    let mut targets = target::resolve(model, &config, &lora.modules_to_save)?;
    let all_linear =
        matches!(config.get("target_modules"), Some(Json::String(s)) if s.eq_ignore_ascii_case("all-linear"));
    if all_linear || config.get("target_modules").is_none() {
        let resolved =
            if all_linear { targets.clone() } else { model.keys.lora_targets.iter().map(|&t| t.to_owned()).collect() };
        config.fields.insert("target_modules".into(), resolved.into());
    }
    if lora.ensure_weight_tying {
        tie_output(model, &mut targets);
    }
    let dtype = match (lora.dtype, config.dialect) {
        (Some(dtype), _) => Some(dtype),
        // PEFT keeps adapters of half-precision models in f32 (`autocast_adapter_dtype`).
        (None, Dialect::Peft) => Some(swift_tuners_nn::ops::compute_dtype(model.dtype)),
        (None, Dialect::Swift) => None,
    };

    let mut places: Vec<(NodeId, String)> = Vec::new();
    let mut saved: Vec<NodeId> = Vec::new();
    let wanted: HashSet<&String> = targets.iter().collect();
    for (path, node) in named_nodes(&model.root) {
        if wanted.contains(&path) {
            places.push((node.id(), path.clone()));
        }
        if lora.modules_to_save.iter().any(|m| target::has_suffix(&path, m)) {
            saved.push(node.id());
        }
    }
    if !lora.modules_to_save.is_empty() && saved.is_empty() {
        return Err(Error::Target {
            pattern: format!("modules_to_save {:?}", lora.modules_to_save),
            nearest: named_nodes(&model.root).into_iter().map(|(p, _)| p).filter(|p| !p.contains('.')).collect(),
        });
    }
    let mut failed = None;
    let mut fan_in_fan_out = false;
    for_each_node_mut(&mut model.root, &mut |node| {
        if failed.is_some() {
            return;
        }
        if let Some((_, path)) = places.iter().find(|(place, _)| *place == node.id()) {
            let seed = path.bytes().fold(seed, |s, b| swift_tuners_nn::context::mix(s, u64::from(b)));
            let attached = lora.rank_and_scaling(path).and_then(|(r, scaling)| match &lora.merged_linear {
                Some(enabled) => MergedLinear::attach(node, path, id, name, &lora, enabled, r, scaling, dtype, seed),
                None => LoraLayer::attach(node, path, id, name, &lora, r, scaling, dtype, seed),
            });
            match attached {
                Ok(transposed) => fan_in_fan_out |= transposed,
                Err(e) => failed = Some(e),
            }
        } else if saved.contains(&node.id()) {
            if let Err(e) = ModulesToSave::attach(node, id, name) {
                failed = Some(e);
            }
        }
    });
    if let Some(e) = failed {
        return Err(e);
    }
    if lora.ensure_weight_tying {
        share_tied(model, id);
    }
    // Corrected as Python corrects it, also in the saved configuration.
    config.fields.insert("fan_in_fan_out".into(), fan_in_fan_out.into());
    Ok(Attachment { config, bias: lora.bias, shared: Vec::new() })
}

/// With `ensure_weight_tying`, an adapted embedding's tied output projection is adapted too.
fn tie_output(model: &Model, targets: &mut Vec<String>) {
    let keys = model.keys;
    let Some(output) = keys.output_embedding else {
        return;
    };
    let weight = |path: &str| model.parameter(&format!("{path}.weight"));
    let tied = matches!((weight(keys.input_embedding), weight(output)), (Some(a), Some(b)) if a.is(&b));
    if tied && targets.iter().any(|t| t == keys.input_embedding) && !targets.iter().any(|t| t == output) {
        targets.push(output.to_owned());
    }
}

/// The output projection's adapter is the embedding's, transposed: A is Bᵀ and B is Aᵀ, over one memory.
fn share_tied(model: &mut Model, id: AdapterId) {
    let keys = model.keys;
    let find = |path: &str| named_nodes(&model.root).into_iter().find(|(p, _)| p == path).map(|(_, n)| n);
    let embedding = find(keys.input_embedding).and_then(|n| n.tuner::<LoraLayer>()?.adapter(id));
    let Some((a, b)) = embedding.map(|e| (e.a.clone(), e.b.clone())) else {
        return;
    };
    let Some(output) = keys.output_embedding.and_then(find).map(|n| n.id()) else {
        return;
    };
    for_each_node_mut(&mut model.root, &mut |node| {
        if node.id() == output {
            if let Some(adapter) =
                node.tuner_mut::<LoraLayer>().and_then(|l| l.adapters.iter_mut().find(|x| x.id == id))
            {
                adapter.a = Param::transposed(&b);
                adapter.b = Param::transposed(&a);
            }
        }
    });
}
