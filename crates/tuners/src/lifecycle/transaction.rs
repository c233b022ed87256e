//! Changes of a model that happen whole or not at all.

use super::flavor::Flavor;
use super::tuned_model::{Before, TunedModel};
use serde_json::Value as Json;
use std::collections::HashMap;
use swift_tuners_nn::module::{for_each_list_mut, for_each_node_mut, own_parameters, Node};
use swift_tuners_nn::param::Place;
use swift_tuners_nn::{AdapterId, Param, Result};

/// All that a failed call may have changed. Of the adapters that were there none changes in a call that can fail.
struct Snapshot {
    /// The base's and those of the adapters that the call may touch.
    params: Vec<(Param, Place, bool)>,
    adapters: usize,
    next_id: u32,
    active: HashMap<u64, Vec<AdapterId>>,
    flavor: Flavor,
    extra_state_keys: Vec<String>,
    reports: usize,
    frozen: bool,
    /// LLaMA-Pro changes it.
    config: Json,
}

impl TunedModel {
    /// Runs a change that may fail half-way; a failure leaves the model as it was. `touched` are the adapters whose tensors it
    /// may change: what the others hold is not looked at, so that a call costs the same however many there are.
    pub(crate) fn transaction<T>(
        &mut self,
        touched: &[String],
        change: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let as_it_is = |p: &Param| (p.clone(), p.place(), p.requires_grad());
        let mut params: Vec<_> = own_parameters(&self.model.root).into_iter().map(|(_, p)| as_it_is(p)).collect();
        for name in touched {
            params.extend(self.slots(name)?.iter().map(|slot| as_it_is(&slot.param)));
        }
        let before = Snapshot {
            params,
            adapters: self.adapters.len(),
            next_id: self.next_id,
            active: self.active.lock().clone(),
            flavor: self.flavor,
            extra_state_keys: self.extra_state_keys.clone(),
            reports: self.load_reports.len(),
            frozen: self.frozen,
            config: self.model.config.clone(),
        };
        // A panic inside (a bug) must not leave half a change behind either: the boundary would catch it and go on.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change(self)));
        self.own.lock().clear();
        let (replaced, displaced) = (std::mem::take(&mut self.replaced), self.displaced.take());
        if matches!(result, Ok(Ok(_))) {
            return result.expect("just matched");
        }
        // Every id that was given out since, also of an adapter whose attaching broke off in the middle.
        let new: Vec<AdapterId> = (before.next_id..self.next_id).map(AdapterId).collect();
        self.remove_from_tree(&new);
        if let Some(Before { root, adapters }) = displaced {
            self.model.root = root;
            self.adapters = adapters;
        } else {
            for (path, items) in replaced.into_iter().rev() {
                self.put_back(&path, items);
            }
        }
        for (param, place, requires_grad) in before.params {
            param.put_back(place);
            if param.requires_grad() != requires_grad {
                param.set_requires_grad(requires_grad);
            }
        }
        self.adapters.truncate(before.adapters);
        *self.active.lock() = before.active;
        self.flavor = before.flavor;
        self.extra_state_keys = before.extra_state_keys;
        self.load_reports.truncate(before.reports);
        self.frozen = before.frozen;
        self.model.config = before.config;
        match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn put_back(&mut self, path: &str, items: Vec<Node>) {
        let mut items = Some(items);
        for_each_list_mut(&mut self.model.root, &mut |found, list| {
            if let Some(items) = items.take_if(|_| found == path) {
                list.items = items;
                list.number_blocks();
            }
        });
    }

    pub(crate) fn remove_from_tree(&mut self, ids: &[AdapterId]) {
        self.own.lock().clear();
        for_each_node_mut(&mut self.model.root, &mut |node| {
            node.tuners.retain_mut(|t| !ids.iter().any(|&id| t.detach(id)));
        });
        for_each_list_mut(&mut self.model.root, &mut |_, list| {
            let before = list.items.len();
            list.items.retain(|n| !n.inserted_for().is_some_and(|id| ids.contains(&id)));
            if list.items.len() != before {
                list.number_blocks();
            }
        });
    }
}
