//! A model with its adapters.

use super::adapter::{Adapter, OwnParam};
use super::flavor::{higher, Flavor, Naming};
use crate::config::TunerConfig;
use crate::formats::LoadReport;
use crate::measured::Measurements;
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use swift_tuners_nn::module::{names_beside, Node};
use swift_tuners_nn::{AdapterId, Error, Model, Param, Result};

/// A model with its adapters.
pub struct TunedModel {
    pub model: Model,
    pub flavor: Flavor,
    pub(super) adapters: IndexMap<String, Adapter>,
    /// The active adapters of each JavaScript thread; of all threads together under 0 when `unique_thread`.
    pub(super) active: Mutex<HashMap<u64, Vec<AdapterId>>>,
    pub(super) unique_thread: bool,
    pub(super) extra_state_keys: Vec<String>,
    pub load_reports: Vec<LoadReport>,
    /// The base's parameters were switched off, which happens once.
    pub(super) frozen: bool,
    pub(super) next_id: u32,
    /// Holds what was offloaded to `meta`; removed with the model.
    pub(super) offload_dir: Mutex<Option<PathBuf>>,
    /// Found again by a walk over the tree, which switching must not repeat; emptied by whatever changes the tree.
    pub(super) own: Mutex<HashMap<AdapterId, Arc<Vec<OwnParam>>>>,
    /// [`Attach::replaced`], while a call may fail.
    pub(super) replaced: Vec<(String, Vec<Node>)>,
    /// What a call that may fail has taken out.
    pub(super) displaced: Option<Before>,
    /// What data told of layers, for the adapters that come next.
    pub(super) measured: Measurements,
}

/// The tree and the adapters before one of them was taken out.
pub(super) struct Before {
    pub root: Node,
    pub adapters: IndexMap<String, Adapter>,
}

impl Drop for TunedModel {
    fn drop(&mut self) {
        if let Some(dir) = &*self.offload_dir.lock() {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

impl TunedModel {
    /// `unique_thread` is SWIFT's `USE_UNIQUE_THREAD`: one active set for all threads (1), or one for each (0).
    pub fn new(model: Model, unique_thread: bool) -> Self {
        Self {
            model,
            flavor: Flavor::Base,
            adapters: IndexMap::new(),
            active: Mutex::default(),
            unique_thread,
            extra_state_keys: Vec::new(),
            load_reports: Vec::new(),
            frozen: false,
            next_id: 0,
            offload_dir: Mutex::default(),
            own: Mutex::default(),
            replaced: Vec::new(),
            displaced: None,
            measured: HashMap::new(),
        }
    }

    /// What the tree's names are in Python behind this prefix (mostly [`Flavor::prefix`]).
    pub fn naming(&self, prefix: &str) -> Naming {
        let peft = self.flavor == Flavor::Peft && prefix == Flavor::Peft.prefix();
        let beside = if peft { names_beside(&self.model.root) } else { HashSet::new() };
        // Python wraps a model once less for prompts.
        let once = peft && self.adapters.values().any(|a| a.traits.virtual_tokens);
        Naming { prefix: if once { higher(prefix) } else { prefix }.to_owned(), beside }
    }

    pub fn adapters(&self) -> &IndexMap<String, Adapter> {
        &self.adapters
    }

    pub fn extra_state_keys(&self) -> &[String] {
        &self.extra_state_keys
    }

    pub(crate) fn add_extra_state_keys(&mut self, keys: &[String]) {
        for key in keys {
            if !self.extra_state_keys.contains(key) {
                self.extra_state_keys.push(key.clone());
            }
        }
    }

    pub fn is_unique_thread(&self) -> bool {
        self.unique_thread
    }

    pub(crate) fn id(&self, name: &str) -> Result<AdapterId> {
        self.adapters.get(name).map(|a| a.id).ok_or_else(|| self.unknown(name))
    }

    /// Changes what is known of an adapter whose tensors have changed.
    pub(crate) fn set_config(&mut self, name: &str, config: TunerConfig) {
        self.own.lock().clear();
        if let Some(adapter) = self.adapters.get_mut(name) {
            adapter.config = config;
        }
    }

    pub(crate) fn unknown(&self, name: &str) -> Error {
        Error::AdapterNotFound {
            name: swift_tuners_nn::error::printable(name, 80),
            known: self.adapters.keys().cloned().collect(),
        }
    }

    /// A parameter by its name in this wrapping, or by its name in the base model.
    pub fn parameter(&self, name: &str) -> Result<Param> {
        let found = self.flavor.names_inside(name).find_map(|n| self.model.parameter(n));
        found.ok_or_else(|| no_parameter(name))
    }
}

/// The error for a name that no parameter has.
pub(crate) fn no_parameter(name: &str) -> Error {
    Error::Argument(format!("no parameter is called {:?}", swift_tuners_nn::error::printable(name, 160)))
}
