//! The tensors that an adapter owns: each is declared once, and names, keys, roles and learning rates follow from it.

use crate::adapter_id::AdapterId;
use crate::param::Param;
use crate::tensor::Array;
use crate::Result;
use std::borrow::Cow;

/// One tensor of an adapter at one place.
pub struct Part<'a> {
    pub name: PartName,
    pub role: Role,
    pub rate: Rate,
    /// Another place's tensor, which has a name here as well.
    pub shared: bool,
    /// What PEFT's files hold in its place.
    pub excerpt: Option<Excerpt>,
    pub param: &'a Param,
    /// The slices along a dimension that a file holds; nothing where it holds all.
    pub saved: Option<(usize, Vec<u32>)>,
}

/// What a tensor is called below the module that its tuner sits on. Python joins the adapter's name in different ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartName {
    /// `<group>.<adapter><leaf>` in memory and in SWIFT's files, `<group><saved>` in PEFT's, which leave the adapter's name out.
    Grouped { group: &'static str, leaf: Cow<'static, str>, saved: Cow<'static, str> },
    /// `<group>.<adapter>.<path>` in memory, `<group>.<path>` in PEFT's files: of a module inside of a tuner.
    Inside { group: &'static str, path: String },
    /// One of several tensors beside the model, `<group>.<key>` in PEFT's files: `<group>.<key>.<adapter>` in memory, or
    /// `<group>.<adapter>.<key>` where the adapter's name does not come last.
    Keyed { group: &'static str, key: String, adapter_last: bool },
    /// `<group>` in memory, `<group>.<adapter>` in files: SWIFT's merged linear, whose own names would clash there.
    Nameless { group: &'static str },
    /// `<before><adapter><after>` everywhere, such as `adapter_default.linear1.weight`.
    Named { before: &'static str, after: String },
    /// Without the adapter's name.
    Plain(String),
    /// Beside the wrapped model: `name` in memory, `key` in files, where the adapter's name is left out.
    Beside { name: String, key: String },
}

impl PartName {
    /// Whether it is in the module that is called so.
    pub fn is_in(&self, module: &str) -> bool {
        match self {
            Self::Grouped { group, .. }
            | Self::Inside { group, .. }
            | Self::Keyed { group, .. }
            | Self::Nameless { group } => *group == module,
            Self::Named { .. } | Self::Plain(_) | Self::Beside { .. } => false,
        }
    }

    /// What an adapter's tensor is called below its module.
    pub fn in_memory(&self, adapter: &str) -> String {
        match self {
            Self::Grouped { group, leaf, .. } => format!("{group}.{adapter}{leaf}"),
            Self::Inside { group, path } => format!("{group}.{adapter}.{path}"),
            Self::Keyed { group, key, adapter_last: true } => format!("{group}.{key}.{adapter}"),
            Self::Keyed { group, key, adapter_last: false } => format!("{group}.{adapter}.{key}"),
            Self::Nameless { group } => (*group).to_owned(),
            Self::Named { before, after } => format!("{before}{adapter}{after}"),
            Self::Plain(name) | Self::Beside { name, .. } => name.clone(),
        }
    }
}

/// What becomes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trained and saved.
    Trained,
    /// Saved and loaded, but never trained, and no parameter in PyTorch's sense. `saved` false: it can be made again, so that a
    /// checkpoint may leave it out.
    Buffer { saved: bool },
    /// A parameter in PyTorch's sense that is neither trained nor saved.
    Constant,
    /// A parameter in PyTorch's sense, saved and loaded, but never trained.
    Frozen,
    /// Of a whole module's copy, which trains while its adapter is active.
    Copied,
    /// Trained, but files hold what is made of it.
    Source,
    /// What is made of [`Role::Source`]; in files alone.
    Made,
}

/// A part of a tensor, which a file holds in its place under the tensor's key with these endings.
#[derive(Clone, Copy)]
pub struct Excerpt {
    pub endings: &'static [&'static str],
    /// How much of it is kept.
    pub keep: usize,
    /// A tensor for each ending, of the value and [`Excerpt::keep`].
    pub take: fn(&Array, usize) -> Result<Vec<Array>>,
    /// A value of this shape of them. Fails with [`Error::Argument`](crate::Error::Argument) where they are none.
    pub restore: fn(&[&Array], &[usize]) -> Result<Array>,
}

/// LoRA+'s part of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rate {
    #[default]
    Base,
    /// What comes out of the bottleneck (LoRA's B).
    Up,
    Embedding,
}

impl<'a> Part<'a> {
    /// A bare parameter: `<group>.<adapter>`.
    pub fn trained(group: &'static str, param: &'a Param) -> Self {
        Self::of(PartName::Grouped { group, leaf: "".into(), saved: "".into() }, param)
    }

    /// A parameter of a module in a `ModuleDict`: `<group>.<adapter><leaf>`, the leaf with its dot.
    pub fn leaf(group: &'static str, leaf: impl Into<Cow<'static, str>>, param: &'a Param) -> Self {
        let leaf = leaf.into();
        Self::of(PartName::Grouped { group, saved: leaf.clone(), leaf }, param)
    }

    pub fn plain(name: String, param: &'a Param) -> Self {
        Self::of(PartName::Plain(name), param)
    }

    /// A trained tensor of this name.
    pub fn of(name: PartName, param: &'a Param) -> Self {
        Self { name, role: Role::Trained, rate: Rate::Base, shared: false, excerpt: None, param, saved: None }
    }

    pub fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// A tensor that all layers share: kept once, and met under each of its names.
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    pub fn excerpt(self, excerpt: Option<Excerpt>) -> Self {
        Self { excerpt, ..self }
    }

    pub fn rate(self, rate: Rate) -> Self {
        Self { rate, ..self }
    }
}

/// What a tuner of one adapter owns at one place: parameters below a module that is called `<before><name>`.
#[derive(Clone)]
pub struct Own {
    pub adapter: AdapterId,
    pub before: &'static str,
    pub name: String,
    pub params: Vec<(String, Param)>,
}

impl Own {
    pub fn parts(&self) -> Vec<Part<'_>> {
        let named = |after: &str| PartName::Named { before: self.before, after: format!(".{after}") };
        self.params.iter().map(|(name, param)| Part::of(named(name), param)).collect()
    }
}
