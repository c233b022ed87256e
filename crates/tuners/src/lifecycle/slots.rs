//! Where an adapter keeps its tensors, and what each format calls them.

use super::{Flavor, TunedModel};
use crate::bias::Bias;
use crate::tokens::TokenRows;
use std::collections::HashSet;
use swift_tuners_nn::module::{
    all_parameters, own_parameters, saved_nodes, Excerpt, Node, Part, PartName, Role, Tuner,
};
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
    /// What PEFT puts before the model's names.
    prefix: &'static str,
    place: Place,
    /// It is written elsewhere; some of Python's files have it here as well.
    shared: bool,
    excerpt: Option<Excerpt>,
    pub param: Param,
    /// [`Part::saved`]
    pub saved: Option<(usize, Vec<u32>)>,
}

impl Slot {
    fn new(module: &str, prefix: &'static str, place: Place, param: &Param) -> Self {
        let (shared, excerpt, saved) = (false, None, None);
        Self { module: module.to_owned(), prefix, place, shared, excerpt, param: param.clone(), saved }
    }

    /// The key in a file.
    pub fn key(&self, format: Format, adapter: &str) -> String {
        let tail = match &self.place {
            Place::Own { name: PartName::Grouped { group, leaf, saved }, .. } => match format {
                Format::Swift => format!("{group}.{adapter}{leaf}"),
                Format::Peft => format!("{group}{saved}"),
            },
            Place::Own { name: PartName::Inside { group, path }, .. } => match format {
                Format::Swift => format!("{group}.{adapter}.{path}"),
                Format::Peft => format!("{group}.{path}"),
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
            Place::Own { name: PartName::Beside { key, .. }, .. } => return key.clone(),
            Place::Original(name) => format!("original_module.{name}"),
            Place::Base { leaf, .. } => leaf.clone(),
        };
        self.at(format, &tail)
    }

    fn at(&self, format: Format, tail: &str) -> String {
        let prefix = match (format, self.is_model_wide()) {
            (Format::Swift, _) => "",
            (Format::Peft, true) => "base_model.",
            (Format::Peft, false) => self.prefix,
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
                let leaves = [saved, leaf];
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
        matches!(self.place, Place::Own { role: Role::Buffer { .. } | Role::Constant | Role::Frozen | Role::Made, .. })
    }

    pub fn is_saved_copy(&self) -> bool {
        matches!(self.place, Place::Own { role: Role::Copied, .. })
    }

    /// Whether a checkpoint without this tensor lacks something.
    pub fn is_required(&self) -> bool {
        let optional = |role: &Role| matches!(role, Role::Buffer { saved: false } | Role::Constant | Role::Source);
        !self.shared && matches!(&self.place, Place::Own { role, .. } if !optional(role))
    }

    /// Whether it is made of others, and in files alone.
    pub fn is_made(&self) -> bool {
        matches!(self.place, Place::Own { role: Role::Made, .. })
    }

    /// Whether files hold what is made of it.
    pub fn is_source(&self) -> bool {
        matches!(self.place, Place::Own { role: Role::Source, .. })
    }

    /// Whether a checkpoint is written with it.
    pub fn is_saved(&self, format: Format) -> bool {
        match &self.place {
            Place::Own { role, .. } => {
                !self.shared && !matches!(role, Role::Buffer { saved: false } | Role::Constant | Role::Source)
            }
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
        let prefix = if adapter.traits.virtual_tokens { "base_model." } else { Flavor::Peft.prefix() };
        let mut out = Vec::new();
        let keys = self.model.keys;
        let embeddings_targeted = adapter
            .config
            .texts("target_modules")?
            .is_some_and(|t| t.iter().any(|t| t == "embed_tokens" || t == "lm_head"));
        let nodes = saved_nodes(&self.model.root);
        // Single rows are saved in the place of the whole.
        let rows = |node: &Node| node.tuner::<TokenRows>().is_some_and(|t| t.adapters().contains(&id));
        let embeddings_targeted = embeddings_targeted && !nodes.iter().any(|(_, node)| rows(node));
        for (path, node) in nodes {
            for (at, tuner) in node.tuners.iter().enumerate() {
                let parts = tuner.parts(id);
                if parts.is_empty() {
                    continue;
                }
                let module = match tuner.parameter() {
                    Some(_) => {
                        let outer = node.tuners[at + 1..].iter().filter(|t| t.parameter().is_some()).count();
                        format!("{path}{}", ".base_layer".repeat(outer))
                    }
                    None => path.clone(),
                };
                let slot = |place: Place, param: &Param| Slot::new(&module, prefix, place, param);
                let copied = parts.iter().any(|p| p.role == Role::Copied);
                for Part { name, role, param, shared, saved, excerpt, .. } in parts {
                    let slot = slot(Place::Own { name, role }, param);
                    out.push(Slot { shared, saved, excerpt, ..slot });
                }
                let mut push = |place: Place, param: &Param| out.push(slot(place, param));
                if copied {
                    own_parameters(node).into_iter().for_each(|(leaf, p)| push(Place::Original(leaf), p));
                }
                if !tuner.merges() || tuner.parameter().is_some() {
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
                    let place = Place::Own { name: PartName::Plain(leaf), role: Role::Trained };
                    out.push(Slot::new(&path, prefix, place, p));
                }
            }
        }
        let mut base = |leaf: String, kind: BaseKind, param: &Param| {
            let place = Place::Base { leaf, kind };
            out.push(Slot::new("", prefix, place, param))
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
