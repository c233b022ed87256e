//! Where an adapter keeps its tensors, and what each format calls them.

use super::TunedModel;
use crate::bias::Bias;
use std::collections::HashSet;
use swift_tuners_nn::module::{all_parameters, own_parameters, saved_nodes, Excerpt, Part, PartName, Role};
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
enum Place {
    /// What a tuner says that it owns.
    Own { name: PartName, role: Role },
    /// The module's own parameter beside a copy; written by Python in some cases, read here, never written.
    Original(String),
    /// A base parameter under its name in memory.
    Base { leaf: String, kind: BaseKind },
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
    place: Place,
    /// It is written elsewhere; some of Python's files have it here as well.
    shared: bool,
    excerpt: Option<Excerpt>,
    pub param: Param,
}

impl Slot {
    /// The key in a file.
    pub fn key(&self, format: Format, adapter: &str) -> String {
        let tail = match &self.place {
            Place::Own { name: PartName::Grouped { group, leaf, saved }, .. } => match format {
                Format::Swift => format!("{group}.{adapter}{leaf}"),
                Format::Peft => format!("{group}{saved}"),
            },
            Place::Own { name: name @ PartName::Keyed { group, key, .. }, .. } => match format {
                Format::Swift => name.in_memory(adapter),
                Format::Peft => format!("{group}.{key}"),
            },
            Place::Own { name: PartName::Nameless { group }, .. } => match format {
                Format::Swift => format!("{group}.{adapter}"),
                Format::Peft => (*group).to_owned(),
            },
            Place::Own { name: PartName::Named { before, after }, .. } => format!("{before}{adapter}{after}"),
            Place::Own { name: PartName::Plain(name), .. } => name.clone(),
            Place::Original(name) => format!("original_module.{name}"),
            Place::Base { leaf, .. } => leaf.clone(),
        };
        self.at(format, &tail)
    }

    fn at(&self, format: Format, tail: &str) -> String {
        let prefix = match (format, self.is_model_wide()) {
            (Format::Swift, _) => "",
            (Format::Peft, true) => "base_model.",
            (Format::Peft, false) => "base_model.model.",
        };
        let dot = if self.module.is_empty() { "" } else { "." };
        format!("{prefix}{}{dot}{tail}", self.module)
    }

    /// Grouped tensors of the root stand beside the model, not inside it.
    fn is_model_wide(&self) -> bool {
        let beside = |name: &PartName| matches!(name, PartName::Grouped { .. } | PartName::Keyed { .. });
        self.module.is_empty() && matches!(&self.place, Place::Own { name, .. } if beside(name))
    }

    /// Other keys under which Python's versions write the same tensor.
    pub fn aliases(&self, format: Format, adapter: &str) -> Vec<String> {
        let tails = match &self.place {
            Place::Own { name: PartName::Grouped { group, leaf, saved }, .. } if leaf != saved => {
                let leaves = [*saved, *leaf];
                leaves.iter().flat_map(|l| [format!("{group}{l}"), format!("{group}.{adapter}{l}")]).collect()
            }
            Place::Own { name: PartName::Plain(leaf), role: Role::Copied } => {
                vec![format!("modules_to_save.{leaf}"), format!("modules_to_save.{adapter}.{leaf}")]
            }
            // A tuner that sits inside of a module that LoRA wraps.
            Place::Own { name: PartName::Named { before, after }, .. } => {
                vec![format!("base_layer.{before}{adapter}{after}")]
            }
            Place::Own { name: PartName::Plain(name), .. } => vec![format!("base_layer.{name}")],
            Place::Base { leaf, .. } => leaf.strip_prefix("base_layer.").map(str::to_owned).into_iter().collect(),
            _ => Vec::new(),
        };
        tails.iter().map(|tail| self.at(format, tail)).collect()
    }

    /// What files of this format hold in its place.
    pub fn excerpt(&self, format: Format) -> Option<Excerpt> {
        self.excerpt.filter(|_| format == Format::Peft)
    }

    /// Whether this belongs to the adapter alone (and not to the base).
    pub fn is_own(&self) -> bool {
        !self.shared && matches!(self.place, Place::Own { .. })
    }

    /// Whether this is the base's, but trained with the adapter.
    pub fn is_base_trained(&self) -> bool {
        matches!(self.place, Place::Base { kind: BaseKind::Bias | BaseKind::Shared, .. })
    }

    /// Never trained.
    pub fn is_buffer(&self) -> bool {
        matches!(self.place, Place::Own { role: Role::Buffer { .. }, .. })
    }

    pub fn is_saved_copy(&self) -> bool {
        matches!(self.place, Place::Own { role: Role::Copied, .. })
    }

    /// Whether a checkpoint without this tensor lacks something.
    pub fn is_required(&self) -> bool {
        !self.shared && matches!(&self.place, Place::Own { role, .. } if !matches!(role, Role::Buffer { saved: false }))
    }

    /// Whether a checkpoint is written with it.
    pub fn is_saved(&self, format: Format) -> bool {
        match &self.place {
            Place::Own { role, .. } => !self.shared && !matches!(role, Role::Buffer { saved: false }),
            Place::Original(_) => false,
            // PEFT carries adapted embeddings along (`save_embedding_layers="auto"`), SWIFT does not.
            Place::Base { kind: BaseKind::Embedding, .. } => format == Format::Peft,
            Place::Base { .. } => true,
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
        for (path, node) in saved_nodes(&self.model.root) {
            let mut put = |place: Place, shared: bool, excerpt: Option<Excerpt>, param: &Param| {
                out.push(Slot { module: path.clone(), place, shared, excerpt, param: param.clone() })
            };
            for tuner in &node.tuners {
                let parts = tuner.parts(id);
                if parts.is_empty() {
                    continue;
                }
                let copied = parts.iter().any(|p| p.role == Role::Copied);
                for Part { name, role, param, shared, excerpt, .. } in parts {
                    put(Place::Own { name, role }, shared, excerpt, param);
                }
                let mut push = |place: Place, param: &Param| put(place, false, None, param);
                if copied {
                    own_parameters(node).into_iter().for_each(|(leaf, p)| push(Place::Original(leaf), p));
                }
                if !tuner.merges() {
                    continue;
                }
                let base = |leaf: &str| format!("base_layer.{leaf}");
                let ends = path == keys.input_embedding || Some(path.as_str()) == keys.output_embedding;
                if embeddings_targeted && ends {
                    for (leaf, p) in own_parameters(node) {
                        push(Place::Base { leaf: base(&leaf), kind: BaseKind::Embedding }, p);
                    }
                }
                if adapter.bias == Bias::Adapted {
                    for (leaf, p) in own_parameters(node).into_iter().filter(|(l, _)| l == "bias") {
                        push(Place::Base { leaf: base(&leaf), kind: BaseKind::Bias }, p);
                    }
                }
            }
            if node.inserted_for() == Some(id) {
                for (leaf, p) in own_parameters(node) {
                    put(Place::Own { name: PartName::Plain(leaf), role: Role::Trained }, false, None, p);
                }
            }
        }
        let mut base = |leaf: String, kind: BaseKind, param: &Param| {
            let place = Place::Base { leaf, kind };
            out.push(Slot { module: String::new(), place, shared: false, excerpt: None, param: param.clone() })
        };
        if !adapter.shared.is_empty() {
            let own = own_parameters(&self.model.root).into_iter();
            own.filter(|(p, _)| adapter.shared.contains(p)).for_each(|(path, p)| base(path, BaseKind::Shared, p));
        }
        if adapter.bias == Bias::All {
            let model: HashSet<usize> = own_parameters(&self.model.root).iter().map(|(_, p)| p.id()).collect();
            let all = all_parameters(&self.model.root).into_iter().filter(|(_, p)| model.contains(&p.id()));
            let biases = all.filter(|(path, _)| path.contains("bias") && !path.contains("original_module."));
            biases.for_each(|(path, param)| base(path, BaseKind::Bias, param));
        }
        Ok(out)
    }
}
