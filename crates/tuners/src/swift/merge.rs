//! Merging LoRA into the weights, and taking it out again.

use super::{Flavor, TunedModel};
use crate::formats::SaveOptions;
use crate::lora::{LoraLayer, MergedLinear};
use crate::modules_to_save::ModulesToSave;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use swift_tuners_nn::checkpoint::{files, write_model};
use swift_tuners_nn::module::{all_parameters, for_each_node_mut, named_nodes, own_parameters, Node, Tuner as _};
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

    pub(super) fn refuse_while_merged(&self, what: &str) -> Result<()> {
        let merged = named_nodes(&self.model.root).iter().any(|(_, n)| {
            n.tuner::<LoraLayer>().is_some_and(|l| l.has_merged())
                || n.tuner::<MergedLinear>().is_some_and(|l| l.has_merged())
        });
        if merged {
            return Err(Error::Invalid(format!("unmerge before you {what}")));
        }
        Ok(())
    }

    /// Merges the active (or named) LoRAs into every layer that has them. Merging again changes nothing; a layer with
    /// merged adapters runs its weight only. A failure leaves all weights as they were.
    pub fn merge(&mut self, thread: u64, names: Option<&[String]>) -> Result<()> {
        self.check_mergeable()?;
        let ids = self.chosen(thread, names)?;
        self.each(|node| {
            LoraLayer::merge(node, &ids)?;
            MergedLinear::merge(node, &ids)
        })
    }

    /// Restores every merged weight bit for bit.
    pub fn unmerge(&mut self) -> Result<()> {
        self.check_mergeable()?;
        for_each_node_mut(&mut self.model.root, &mut |node| {
            LoraLayer::unmerge(node);
            MergedLinear::unmerge(node);
        });
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
                for_each_node_mut(&mut self.model.root, &mut |node| {
                    LoraLayer::unmerge(node);
                    MergedLinear::unmerge(node);
                });
                Err(e)
            }
        }
    }

    /// Merges for good and removes the LoRA layers. With names only those go, and the other LoRAs stay in place (Python
    /// loses them). A `modules_to_save` copy takes its module's place. The configurations stay listed, as in SWIFT.
    pub fn merge_and_unload(&mut self, thread: u64, names: Option<&[String]>) -> Result<()> {
        self.check_mergeable()?;
        let merged = self.chosen(thread, names)?;
        let removed: Vec<AdapterId> = match names {
            Some(_) => merged.to_vec(),
            None => self.adapters.values().map(|a| a.id).collect(),
        };
        // What was merged for other adapters would otherwise become permanent.
        for_each_node_mut(&mut self.model.root, &mut |node| {
            LoraLayer::unmerge(node);
            MergedLinear::unmerge(node);
        });
        self.each(|node| {
            LoraLayer::merge(node, &merged)?;
            MergedLinear::merge(node, &merged)
        })?;
        for_each_node_mut(&mut self.model.root, &mut |node| {
            LoraLayer::unload(node, &removed);
            node.tuners.retain(|t| t.as_any().downcast_ref::<MergedLinear>().is_none_or(|l| !removed.contains(&l.id)));
            take_saved_copy(node, &merged, &removed);
        });
        self.own.lock().clear();
        for (_, p) in swift_tuners_nn::module::named_parameters(&self.model.root) {
            if names.is_none() {
                p.set_requires_grad(false);
            }
        }
        Ok(())
    }

    /// Writes the base model with the active (or named) LoRAs merged, tensor by tensor: this model stays as it is, and of a
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
        self.refuse_while_merged("save the merged weights")?;
        let ids = self.chosen(thread, names)?;
        for (name, adapter) in self.adapters.iter().filter(|(_, a)| ids.contains(&a.id)) {
            if !adapter.traits.lora_layout {
                return Err(Error::UnsupportedTuner(format!(
                    "{name} is of the type {}, which cannot be merged",
                    adapter.config.kind
                )));
            }
        }
        // A tied weight has several owners.
        let mut owners: HashMap<usize, Vec<&Node>> = HashMap::new();
        let mut copies: HashMap<usize, Param> = HashMap::new();
        for (_, node) in named_nodes(&self.model.root) {
            if node.tuner::<LoraLayer>().is_some() || node.tuner::<MergedLinear>().is_some() {
                own_parameters(node).into_iter().for_each(|(_, p)| owners.entry(p.id()).or_default().push(node));
            }
            if let Some(copy) = node.tuner::<ModulesToSave>().and_then(|w| w.copy_for(&ids)) {
                let copied: HashMap<String, &Param> = all_parameters(&copy.node).into_iter().collect();
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
            let mut value = None;
            for node in owners.get(&param.id()).into_iter().flatten() {
                if let Some(layer) = node.tuner::<LoraLayer>() {
                    value = layer.with_deltas_of(node, &ids, param, value)?;
                }
                if let (None, Some(layer)) = (&value, node.tuner::<MergedLinear>()) {
                    value =
                        layer.with_delta(node, &ids)?.filter(|(weight, _)| weight.is(param)).map(|(_, merged)| merged);
                }
            }
            value.map_or_else(|| param.array(), Ok)
        };
        files::replace_dir(dir, &mut |staging| {
            write_model(&self.model, staging, options.safe, options.max_shard, &value)?;
            fill(staging)
        })
    }

    /// `PeftModel.merge_and_unload`: the base model comes back, without a trace of its adapters.
    pub fn merge_and_unload_peft(&mut self, thread: u64, names: Option<&[String]>, safe: bool) -> Result<()> {
        if let Some(names) = names {
            self.ids(names)?;
            self.check_mergeable()?;
        }
        if safe {
            self.check_finite(thread, names)?;
        }
        let ids = self.chosen(thread, names)?;
        self.edit_active(thread, |active| *active = ids.to_vec());
        self.merge_and_unload(thread, None)?;
        self.adapters.clear();
        self.active.lock().clear();
        self.flavor = Flavor::Base;
        Ok(())
    }

    /// `safe_merge`: refuses deltas with NaN or infinity before anything is changed.
    fn check_finite(&self, thread: u64, names: Option<&[String]>) -> Result<()> {
        let ids = self.chosen(thread, names)?;
        for (path, node) in named_nodes(&self.model.root) {
            let Some(layer) = node.tuner::<LoraLayer>() else {
                continue;
            };
            for &id in ids.iter() {
                if let Some(delta) = layer.delta_weight(id)? {
                    let sum = delta.abs()?.sum_all()?.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
                    if !sum.is_finite() {
                        return Err(Error::Invalid(format!(
                            "{path}: the adapter holds NaN or infinite values; nothing was merged"
                        )));
                    }
                }
            }
        }
        Ok(())
    }
}

fn take_saved_copy(node: &mut Node, merged: &[AdapterId], removed: &[AdapterId]) {
    let Some(wrapper) = node.tuner::<ModulesToSave>() else {
        return;
    };
    let copy = wrapper.copy_for(merged).map(|c| {
        swift_tuners_nn::module::all_parameters(&c.node).into_iter().map(|(n, p)| (n, p.clone())).collect::<Vec<_>>()
    });
    if let Some(params) = copy {
        struct Take(Vec<(String, swift_tuners_nn::Param)>, String);
        impl swift_tuners_nn::module::VisitorMut for Take {
            fn param(&mut self, name: &str, param: &mut swift_tuners_nn::Param) {
                let path = format!("{}{name}", self.1);
                if let Some((_, p)) = self.0.iter().find(|(n, _)| *n == path) {
                    *param = p.clone();
                }
            }
            fn node(&mut self, name: &str, node: &mut Node) {
                let length = self.1.len();
                self.1.push_str(name);
                self.1.push('.');
                node.module_mut().visit_mut(self);
                self.1.truncate(length);
            }
            fn list(&mut self, name: &str, list: &mut swift_tuners_nn::module::NodeList) {
                for (i, node) in list.items.iter_mut().enumerate() {
                    self.node(&format!("{name}.{i}"), node);
                }
            }
        }
        node.module_mut().visit_mut(&mut Take(params, String::new()));
    }
    let empty = node.tuner_mut::<ModulesToSave>().is_some_and(|w| {
        removed.iter().for_each(|&id| {
            w.detach(id);
        });
        w.copies().is_empty()
    });
    if empty {
        node.tuners.retain(|t| !t.as_any().is::<ModulesToSave>());
    }
}
