//! Merging adapters into the weights, and taking them out again.

use super::tuned_model::Before;
use super::{Flavor, Slot, TunedModel};
use crate::formats::SaveOptions;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use swift_tuners_nn::checkpoint::{replace_dir, write_model};
use swift_tuners_nn::module::{all_parameters, for_each_node_mut, named_nodes, named_parameters, own_parameters, Node};
use swift_tuners_nn::{AdapterId, Array, CancelFlag, Error, Param, Result};

impl TunedModel {
    fn check_mergeable(&self) -> Result<()> {
        if self.flavor == Flavor::Base {
            return Err(Error::Invalid("this model has no adapters to merge".into()));
        }
        if !self.unique_thread {
            return Err(Error::Invalid("merging needs USE_UNIQUE_THREAD=1: other threads share these weights".into()));
        }
        Ok(())
    }

    /// The named adapters, or the active ones.
    fn chosen(&self, thread: u64, names: Option<&[String]>) -> Result<Arc<Vec<AdapterId>>> {
        match names {
            Some(names) => self.ids(names),
            None => Ok(self.active_ids(thread)),
        }
    }

    /// Whether a weight holds an adapter: one of `ids`, or any when absent.
    pub fn is_merged(&self, ids: Option<&[AdapterId]>) -> bool {
        let holds = |merged: &[AdapterId]| match ids {
            Some(ids) => merged.iter().any(|id| ids.contains(id)),
            None => !merged.is_empty(),
        };
        named_nodes(&self.model.root).iter().any(|(_, n)| holds(n.merged()))
    }

    /// Merges the active (or named) adapters into every layer whose tuner can; PEFT's that cannot are refused. Merging again changes nothing; a layer with
    /// merged adapters runs its weight only. A failure leaves all weights as they were.
    pub fn merge(&mut self, thread: u64, names: Option<&[String]>) -> Result<()> {
        self.check_mergeable()?;
        let ids = self.chosen(thread, names)?;
        if self.flavor == Flavor::Peft {
            // SWIFT merges what it can.
            self.refuse_unmergeable(&ids)?;
        }
        self.refuse_special(&ids)?;
        self.each(|node| node.merge(&ids))
    }

    /// Restores every merged weight bit for bit.
    pub fn unmerge(&mut self) -> Result<()> {
        self.check_mergeable()?;
        if self.flavor == Flavor::Peft && self.adapters.values().all(|a| !a.traits.merges) {
            self.refuse_unmergeable(&self.adapters.values().map(|a| a.id).collect::<Vec<_>>())?;
        }
        for_each_node_mut(&mut self.model.root, &mut Node::unmerge);
        Ok(())
    }

    fn each(&mut self, mut f: impl FnMut(&mut Node) -> Result<()>) -> Result<()> {
        let mut failed = None;
        for_each_node_mut(&mut self.model.root, &mut |node| {
            if failed.is_none() {
                failed = f(node).err();
            }
        });
        match failed {
            None => Ok(()),
            Some(e) => {
                for_each_node_mut(&mut self.model.root, &mut Node::unmerge);
                Err(e)
            }
        }
    }

    /// Merges for good and takes the merged tuners out. With names only those go, and the others stay in place (Python
    /// loses them). A `modules_to_save` copy takes its module's place. The configurations stay listed, as in SWIFT; of an adapter of which
    /// nothing is left nothing is saved, and its name is free.
    pub fn merge_and_unload(&mut self, thread: u64, names: Option<&[String]>) -> Result<()> {
        self.check_mergeable()?;
        let merged = self.chosen(thread, names)?;
        self.refuse_special(&merged)?;
        let removed: Vec<AdapterId> = match names {
            Some(_) => merged.to_vec(),
            None => self.adapters.values().map(|a| a.id).collect(),
        };
        // What was merged for other adapters would otherwise become permanent.
        for_each_node_mut(&mut self.model.root, &mut Node::unmerge);
        self.each(|node| node.merge(&merged))?;
        for_each_node_mut(&mut self.model.root, &mut |node| node.unload(&merged, &removed));
        self.own.lock().clear();
        for (_, p) in named_parameters(&self.model.root) {
            if names.is_none() {
                p.set_requires_grad(false);
            }
        }
        Ok(())
    }

    /// Writes the base model with the active (or named) adapters merged, tensor by tensor: this model stays as it is, and of a
    /// model from [`open_model`](swift_tuners_nn::checkpoint::open_model) one tensor at a time is in memory. A
    /// `modules_to_save` copy is written in its module's place. `fill` may put further files beside the weights.
    ///
    /// Refuses adapters that cannot be merged.
    pub fn save_merged(
        &self,
        thread: u64,
        names: Option<&[String]>,
        dir: &Path,
        options: &SaveOptions,
        cancel: &CancelFlag,
        fill: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        if self.flavor == Flavor::Base {
            return Err(Error::Invalid("this model has no adapters to merge".into()));
        }
        if self.is_merged(None) {
            return Err(Error::Invalid("unmerge before you save the merged weights".into()));
        }
        let ids = self.chosen(thread, names)?;
        self.refuse_unmergeable(&ids)?;
        // A tied weight has several owners.
        let mut owners: HashMap<usize, Vec<&Node>> = HashMap::new();
        let mut copies: HashMap<usize, Param> = HashMap::new();
        for (_, node) in named_nodes(&self.model.root) {
            if node.tuners.iter().any(|t| t.merges()) {
                own_parameters(node).into_iter().for_each(|(_, p)| owners.entry(p.id()).or_default().push(node));
            }
            if let Some(copy) = node.tuners.iter().find_map(|t| t.replacement(&ids)) {
                let copied: HashMap<String, &Param> = all_parameters(copy).into_iter().collect();
                for (name, p) in own_parameters(node) {
                    copies.extend(copied.get(&name).map(|&copy| (p.id(), copy.clone())));
                }
            }
        }
        let value = |param: &Param| -> Result<Array> {
            cancel.check()?;
            if let Some(copy) = copies.get(&param.id()) {
                return self.value(copy);
            }
            let owners = owners.get(&param.id()).into_iter().flatten();
            let value = owners.copied().try_fold(None, |value, node| node.merged_value(&ids, param, value))?;
            value.map_or_else(|| param.array(), Ok)
        };
        replace_dir(dir, &mut |staging| {
            write_model(&self.model, staging, options.safe, options.max_shard, &value)?;
            fill(staging)
        })
    }

    /// Fails for an adapter that cannot be merged though others of its kind can.
    fn refuse_special(&self, ids: &[AdapterId]) -> Result<()> {
        for (name, adapter) in self.adapters.iter().filter(|(_, a)| ids.contains(&a.id)) {
            if let Some(why) = adapter.unmergeable {
                return Err(Error::UnsupportedTuner(format!("{name} cannot be merged: {why}")));
            }
        }
        Ok(())
    }

    fn refuse_unmergeable(&self, ids: &[AdapterId]) -> Result<()> {
        self.refuse_special(ids)?;
        for (name, adapter) in self.adapters.iter().filter(|(_, a)| ids.contains(&a.id)) {
            if !adapter.traits.merges {
                return Err(Error::UnsupportedTuner(format!(
                    "{name} is of the type {}, which cannot be merged",
                    adapter.config.kind
                )));
            }
        }
        Ok(())
    }

    /// `PeftModel.merge_and_unload`: the base model comes back, without a trace of its adapters. `safe` refuses adapters that give
    /// NaN or infinity before anything is changed.
    pub fn merge_and_unload_peft(&mut self, thread: u64, names: Option<&[String]>, safe: bool) -> Result<()> {
        let ids = self.chosen(thread, names)?;
        self.check_mergeable()?;
        self.refuse_unmergeable(&ids)?;
        if safe {
            for (path, node) in named_nodes(&self.model.root) {
                if !node.merges_finite(&ids)? {
                    let why = "the adapter holds NaN or infinite values; nothing was merged";
                    return Err(Error::Invalid(format!("{path}: {why}")));
                }
            }
        }
        self.edit_active(thread, |active| *active = ids.to_vec());
        self.merge_and_unload(thread, None)?;
        self.forget();
        Ok(())
    }

    /// Whether merging has left nothing of an adapter that had tensors.
    pub(crate) fn is_spent(&self, name: &str) -> Result<bool> {
        let has_tensors = self.adapters.get(name).is_some_and(|a| a.traits.has_tensors);
        let merged_linear = self.adapters.get(name).map_or(Ok(false), |a| a.config.flag("use_merged_linear"))?;
        Ok(has_tensors && !merged_linear && !self.slots(name)?.iter().any(Slot::is_own))
    }

    /// Forgets an adapter of which nothing is left, inside a transaction, so that another one may have its name.
    pub(crate) fn free_name(&mut self, name: &str) -> Result<()> {
        if !self.is_spent(name)? {
            return Ok(());
        }
        if self.displaced.is_none() {
            self.displaced = Some(Before { root: self.model.root.clone(), adapters: self.adapters.clone() });
        }
        if let Some(gone) = self.adapters.shift_remove(name) {
            self.active.lock().values_mut().for_each(|set| set.retain(|&id| id != gone.id));
        }
        Ok(())
    }

    /// `PeftModel.unload`: the base model comes back as it was, but for the `modules_to_save` of the active adapters, which stay.
    pub fn unload(&mut self, thread: u64) -> Result<()> {
        if self.flavor != Flavor::Peft {
            return Err(Error::Invalid("this model has no PEFT adapters to unload".into()));
        }
        let (active, all) = (self.active_ids(thread), self.adapters.values().map(|a| a.id).collect::<Vec<_>>());
        for_each_node_mut(&mut self.model.root, &mut |node| {
            node.unmerge();
            node.unload(&active, &all);
        });
        self.remove_from_tree(&all);
        for (_, p) in named_parameters(&self.model.root) {
            p.set_requires_grad(false);
        }
        self.forget();
        Ok(())
    }

    /// Knows no adapters any more.
    fn forget(&mut self) {
        self.adapters.clear();
        self.active.lock().clear();
        self.flavor = Flavor::Base;
    }
}
