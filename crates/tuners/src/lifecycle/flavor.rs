//! What a model is wrapped in, and the names that come of it.

use std::collections::HashSet;

/// What a model has become through `prepareModel` or `fromPretrained`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Base,
    Swift,
    Peft,
}

impl Flavor {
    /// What Python's wrappers put before every parameter name.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Base => "",
            Self::Swift => "base_model.",
            Self::Peft => "base_model.model.",
        }
    }

    /// What a name of this wrapping may be inside of the tree, most likely first: the names of the base model are taken, too, and what
    /// stands beside the model has one component less before it.
    pub(crate) fn names_inside(self, name: &str) -> impl Iterator<Item = &str> {
        let without = [name.strip_prefix(self.prefix()), name.strip_prefix("base_model.")];
        without.into_iter().flatten().chain(std::iter::once(name))
    }
}

/// What Python calls the parameters of a tuned model, behind the prefix of its wrappers.
pub struct Naming {
    pub(super) prefix: String,
    /// What stands beside the model and not in it, one component higher in PEFT.
    pub(super) beside: HashSet<String>,
}

impl Naming {
    pub fn full(&self, path: &str) -> String {
        let first = path.split('.').next().unwrap_or(path);
        let prefix = if self.beside.contains(first) { higher(&self.prefix) } else { &self.prefix };
        format!("{prefix}{path}")
    }
}

/// A prefix with one component less.
pub(super) fn higher(prefix: &str) -> &str {
    let inner = prefix.strip_suffix('.').unwrap_or(prefix);
    inner.rfind('.').map_or("", |dot| &prefix[..=dot])
}
