//! Where an adapter keeps its tensors, and what each format calls them.

use super::TunedModel;
use crate::lora::{Bias, LoraLayer, MergedLinear};
use crate::modules_to_save::ModulesToSave;
use swift_tuners_nn::module::{all_parameters, model_nodes, own_parameters, TensorName};
use swift_tuners_nn::{Param, Result};

/// The two ways of naming an adapter's tensors on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Paths inside the base model, with the adapter's name.
    Swift,
    /// `base_model.model.` before the path, without the adapter's name.
    Peft,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    LoraA,
    LoraB,
    LoraBBias,
    EmbeddingA,
    EmbeddingB,
    Magnitude,
    MergedA,
    MergedB,
    /// What a tuner says that it owns.
    Own {
        name: TensorName,
        buffer: bool,
    },
    /// A parameter of a `modules_to_save` copy.
    Saved(String),
    /// The module's own parameter beside the copy; written by Python in some cases, read here, never written.
    Original(String),
    /// A base parameter under its name in memory.
    Base {
        leaf: String,
        kind: BaseKind,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BaseKind {
    Bias,
    Embedding,
    /// LongLoRA's embeddings and norms.
    Shared,
}

/// One tensor of an adapter.
#[derive(Clone)]
pub struct Slot {
    module: String,
    part: Part,
    pub param: Param,
}

impl Slot {
    /// The key in a file.
    pub fn key(&self, format: Format, adapter: &str) -> String {
        let named = |name: &str, leaf: &str| match format {
            Format::Swift => format!("{name}.{adapter}{leaf}"),
            Format::Peft => format!("{name}{leaf}"),
        };
        let tail = match &self.part {
            Part::LoraA => named("lora_A", ".weight"),
            Part::LoraB => named("lora_B", ".weight"),
            Part::LoraBBias => named("lora_B", ".bias"),
            Part::EmbeddingA => named("lora_embedding_A", ""),
            Part::EmbeddingB => named("lora_embedding_B", ""),
            Part::Magnitude if format == Format::Peft => "lora_magnitude_vector".into(),
            Part::Magnitude => named("lora_magnitude_vector", ".weight"),
            Part::MergedA => named("lora_A", ""),
            Part::MergedB => named("lora_B", ""),
            Part::Own { name: TensorName::Named { before, after }, .. } => format!("{before}{adapter}{after}"),
            Part::Own { name: TensorName::Plain(name), .. } => name.clone(),
            Part::Saved(leaf) => leaf.clone(),
            Part::Original(leaf) => format!("original_module.{leaf}"),
            Part::Base { leaf, .. } => leaf.clone(),
        };
        let prefix = if format == Format::Peft { "base_model.model." } else { "" };
        let dot = if self.module.is_empty() { "" } else { "." };
        format!("{prefix}{}{dot}{tail}", self.module)
    }

    /// Other keys under which Python's versions write the same tensor.
    pub fn aliases(&self, format: Format, adapter: &str) -> Vec<String> {
        let prefix = if format == Format::Peft { "base_model.model." } else { "" };
        let at = |tail: String| format!("{prefix}{}.{tail}", self.module);
        match &self.part {
            Part::Magnitude => ["", ".weight"]
                .into_iter()
                .flat_map(|leaf| {
                    [format!("lora_magnitude_vector{leaf}"), format!("lora_magnitude_vector.{adapter}{leaf}")]
                })
                .map(at)
                .collect(),
            Part::Saved(leaf) => {
                vec![at(format!("modules_to_save.{leaf}")), at(format!("modules_to_save.{adapter}.{leaf}"))]
            }
            // A tuner that sits inside of a module that LoRA wraps.
            Part::Own { name, .. } => {
                let tail = match name {
                    TensorName::Named { before, after } => format!("{before}{adapter}{after}"),
                    TensorName::Plain(name) => name.clone(),
                };
                vec![at(format!("base_layer.{tail}"))]
            }
            Part::Base { leaf, .. } if leaf.starts_with("base_layer.") => {
                vec![at(leaf["base_layer.".len()..].to_owned())]
            }
            _ => Vec::new(),
        }
    }

    /// Whether this belongs to the adapter alone (and not to the base).
    pub fn is_own(&self) -> bool {
        !matches!(self.part, Part::Base { .. } | Part::Original(_))
    }

    /// Whether this is the base's, but trained with the adapter.
    pub fn is_base_trained(&self) -> bool {
        matches!(self.part, Part::Base { kind: BaseKind::Bias | BaseKind::Shared, .. })
    }

    /// Saved with the adapter, but never trained.
    pub fn is_buffer(&self) -> bool {
        matches!(self.part, Part::Own { buffer: true, .. })
    }

    pub fn is_saved_copy(&self) -> bool {
        matches!(self.part, Part::Saved(_))
    }

    /// Whether a checkpoint without this tensor lacks something.
    pub fn is_required(&self) -> bool {
        self.is_own()
    }

    /// Whether a checkpoint is written with it.
    pub fn is_saved(&self, format: Format) -> bool {
        match &self.part {
            Part::Original(_) => false,
            // PEFT carries adapted embeddings along (`save_embedding_layers="auto"`), SWIFT does not.
            Part::Base { kind: BaseKind::Embedding, .. } => format == Format::Peft,
            _ => true,
        }
    }
}

impl TunedModel {
    /// The tensors of an adapter, in the order of the model.
    pub fn slots(&self, name: &str) -> Result<Vec<Slot>> {
        let Some(adapter) = self.adapters.get(name) else {
            return Err(self.unknown(name));
        };
        let id = adapter.id;
        let mut out = Vec::new();
        let keys = self.model.keys;
        let embeddings_targeted = adapter
            .config
            .texts("target_modules")?
            .is_some_and(|t| t.iter().any(|t| t == "embed_tokens" || t == "lm_head"));
        for (path, node) in model_nodes(&self.model.root) {
            let mut push =
                |part: Part, param: &Param| out.push(Slot { module: path.clone(), part, param: param.clone() });
            if let Some(layer) = node.tuner::<LoraLayer>() {
                if let Some(a) = layer.adapter(id) {
                    let embedding = layer.is_embedding();
                    push(if embedding { Part::EmbeddingA } else { Part::LoraA }, &a.a);
                    push(if embedding { Part::EmbeddingB } else { Part::LoraB }, &a.b);
                    if let Some(b) = &a.b_bias {
                        push(Part::LoraBBias, b);
                    }
                    if let Some(m) = &a.magnitude {
                        push(Part::Magnitude, m);
                    }
                    let ends = path == keys.input_embedding || Some(path.as_str()) == keys.output_embedding;
                    if embeddings_targeted && ends {
                        for (leaf, p) in own_parameters(node) {
                            let part = Part::Base { leaf: format!("base_layer.{leaf}"), kind: BaseKind::Embedding };
                            push(part, p);
                        }
                    }
                    if adapter.bias == Bias::LoraOnly {
                        for (leaf, p) in own_parameters(node).into_iter().filter(|(l, _)| l == "bias") {
                            push(Part::Base { leaf: format!("base_layer.{leaf}"), kind: BaseKind::Bias }, p);
                        }
                    }
                }
            }
            if let Some(m) = node.tuner::<MergedLinear>().filter(|m| m.id == id) {
                push(Part::MergedA, &m.a);
                push(Part::MergedB, &m.b);
            }
            if let Some(wrapper) = node.tuner::<ModulesToSave>() {
                if let Some(copy) = wrapper.copies().iter().find(|c| c.id == id) {
                    for (leaf, p) in all_parameters(&copy.node) {
                        push(Part::Saved(leaf), p);
                    }
                    for (leaf, p) in own_parameters(node) {
                        push(Part::Original(leaf), p);
                    }
                }
            }
            for tensor in node.tuners.iter().flat_map(|t| t.tensors(id)) {
                push(Part::Own { name: tensor.name, buffer: tensor.buffer }, &tensor.param);
            }
            if node.inserted_for() == Some(id) {
                for (leaf, p) in own_parameters(node) {
                    push(Part::Own { name: TensorName::Plain(leaf), buffer: false }, p);
                }
            }
        }
        if !adapter.shared.is_empty() {
            for (path, param) in
                own_parameters(&self.model.root).into_iter().filter(|(p, _)| adapter.shared.contains(p))
            {
                let part = Part::Base { leaf: path, kind: BaseKind::Shared };
                out.push(Slot { module: String::new(), part, param: param.clone() });
            }
        }
        if adapter.bias == Bias::All {
            for (path, param) in all_parameters(&self.model.root) {
                let ours = ["lora_", "modules_to_save.", "original_module."].iter().any(|p| path.contains(p));
                if path.contains("bias") && !ours {
                    let part = Part::Base { leaf: path, kind: BaseKind::Bias };
                    out.push(Slot { module: String::new(), part, param: param.clone() });
                }
            }
        }
        Ok(out)
    }
}
