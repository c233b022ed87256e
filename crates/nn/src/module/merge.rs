//! Adapters inside of a node's weight.

use super::door::{Tuner, VisitorMut};
use super::node::{Merged, Node, NodeList};
use super::walk::{all_parameters, own_parameters};
use super::weights::Weights;
use crate::adapter_id::AdapterId;
use crate::ops::compute_dtype;
use crate::param::Param;
use crate::tensor::Array;
use crate::Result;
use std::collections::HashMap;

/// What a layer multiplies by without any adapter.
struct Original(Option<(Param, Option<Param>)>);

impl Original {
    fn of<'a>(&'a self, weights: Weights<'a>) -> Weights<'a> {
        match &self.0 {
            Some((weight, bias)) => weights.with(weight, bias.as_ref()),
            None => weights,
        }
    }
}

impl Node {
    pub fn has_merged(&self) -> bool {
        self.merged.is_some()
    }

    /// The adapters whose effect the weight holds.
    pub fn merged(&self) -> &[AdapterId] {
        self.merged.as_ref().map_or(&[], |m| &m.adapters)
    }

    /// Those of `ids` that can go into the weight and have not, with their tuners: innermost first, then in the order of `ids`.
    fn mergeable(&self, ids: &[AdapterId]) -> Vec<(&dyn Tuner, AdapterId)> {
        self.fresh(ids, |t| t.parameter().is_none())
    }

    fn fresh(&self, ids: &[AdapterId], wanted: impl Fn(&dyn Tuner) -> bool) -> Vec<(&dyn Tuner, AdapterId)> {
        let fresh = |id: &&AdapterId| !self.merged().contains(id);
        let tuners = self.tuners.iter().filter(|t| t.merges() && wanted(&***t));
        tuners
            .flat_map(|t| {
                let here = ids.iter().filter(fresh).filter(|id| t.adapters().binary_search(id).is_ok());
                here.map(|&id| (&**t, id)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The parameters of this node's module that merging may change.
    fn merged_params(&self) -> Vec<Param> {
        let weights = self.module().weights();
        let mut params: Vec<Param> =
            weights.iter().flat_map(|w| std::iter::once(w.weight()).chain(w.bias())).cloned().collect();
        for name in self.tuners.iter().filter_map(|t| t.parameter()) {
            let own = own_parameters(self).into_iter().find(|(n, _)| n == name);
            params.extend(own.map(|(_, p)| p.clone()));
        }
        params
    }

    /// What tuners of single parameters make of one of them.
    fn merged_parameter(&self, ids: &[AdapterId], param: &Param, value: Option<Array>) -> Result<Option<Array>> {
        let is_it = |name: &str| own_parameters(self).iter().any(|(n, p)| n == name && p.is(param));
        let tuners = self.fresh(ids, |t| t.parameter().is_some_and(is_it));
        tuners.into_iter().try_fold(value, |value, (tuner, id)| {
            let before = value.map_or_else(|| param.array(), Ok)?;
            tuner.merged_parameter(id, before).map(Some)
        })
    }

    /// One of this node's parameters with `ids` merged, as it lies, or `value` when they do not change it. `value` is taken for
    /// the parameter's own, when a tied module's adapters are in it already.
    pub fn merged_value(&self, ids: &[AdapterId], param: &Param, value: Option<Array>) -> Result<Option<Array>> {
        let value = self.merged_parameter(ids, param, value)?;
        let tuners = self.mergeable(ids);
        let Some(weights) = self.module().weights().filter(|_| !tuners.is_empty()) else { return Ok(value) };
        let kind = weights.kind();
        let original = self.original();
        let base = original.of(weights);
        if weights.weight().is(param) {
            let before = value.map_or_else(|| param.array(), Ok)?;
            let mut w = kind.matrix(&before)?;
            for (tuner, id) in tuners {
                w = tuner.merged_weight(id, &base, w)?;
            }
            return Ok(Some(kind.weight(&w, before.dims())?.to_dtype(before.dtype())?));
        }
        if !weights.bias().is_some_and(|bias| bias.is(param)) {
            return Ok(value);
        }
        let before = value.clone().map_or_else(|| param.array(), Ok)?;
        let mut bias = before.to_dtype(compute_dtype(before.dtype()))?;
        let mut changed = false;
        for (at, (tuner, id)) in tuners.iter().enumerate() {
            let w =
                || tuners[..at].iter().try_fold(weights.matrix()?, |w, (tuner, id)| tuner.merged_weight(*id, &base, w));
            if let Some(merged) = tuner.merged_bias(*id, &base, &w, Some(&bias))? {
                bias = merged;
                changed = true;
            }
        }
        Ok(if changed { Some(bias.to_dtype(before.dtype())?) } else { value })
    }

    /// The values that merging `ids` gives, checked but not put in. A module without a bias cannot take what changes it.
    fn all_merged(&self, ids: &[AdapterId]) -> Result<Vec<(Param, Array)>> {
        if let Some(weights) = self.module().weights().filter(|w| w.bias().is_none()) {
            for (tuner, id) in self.mergeable(ids) {
                tuner.merged_bias(id, &weights, &|| weights.matrix(), None)?;
            }
        }
        let mut merged = Vec::new();
        for param in self.merged_params() {
            if let Some(value) = self.merged_value(ids, &param, None)? {
                merged.push((param, value));
            }
        }
        Ok(merged)
    }

    /// Weight and bias from before the first merge, where there was one.
    fn original(&self) -> Original {
        let Some(merged) = &self.merged else { return Original(None) };
        let before = |param: &Param| {
            let place = merged.before.iter().find(|(p, _)| p.is(param)).map(|(_, place)| place.clone());
            place.map_or_else(|| param.clone(), Param::at)
        };
        Original(self.module().weights().map(|w| (before(w.weight()), w.bias().map(before))))
    }

    /// Whether merging `ids` would give finite numbers only.
    pub fn merges_finite(&self, ids: &[AdapterId]) -> Result<bool> {
        for (_, value) in self.all_merged(ids)? {
            if !crate::ops::all_finite(&value)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts `ids` into the weights. The old ones are kept, so that unmerging restores them bit for bit.
    pub fn merge(&mut self, ids: &[AdapterId]) -> Result<()> {
        let values = self.all_merged(ids)?;
        let fresh: Vec<AdapterId> = self.fresh(ids, |_| true).into_iter().map(|(_, id)| id).collect();
        if values.is_empty() {
            return Ok(());
        }
        let merged = self.merged.get_or_insert_with(|| Merged { adapters: Vec::new(), before: Vec::new() });
        for (param, value) in values {
            if !merged.before.iter().any(|(p, _)| p.is(&param)) {
                merged.before.push((param.clone(), param.place()));
            }
            param.replace(value);
        }
        merged.adapters.extend(fresh);
        Ok(())
    }

    /// Puts the weights from before the first merge back.
    pub fn unmerge(&mut self) {
        for (param, place) in self.merged.take().into_iter().flat_map(|m| m.before) {
            param.put_back(place);
        }
    }

    /// Makes the merged state permanent: a copy of the module that belongs to `merged` takes the module's place, and the adapters of
    /// `removed` leave the tuners that can merge.
    pub fn unload(&mut self, merged: &[AdapterId], removed: &[AdapterId]) {
        self.merged = None;
        let copy = self.tuners.iter().find_map(|t| t.replacement(merged)).map(all_parameters);
        let copied = copy.map(|params| params.into_iter().map(|(n, p)| (n, p.clone())).collect::<HashMap<_, _>>());
        if let Some(copied) = copied {
            Replace { copied, path: String::new() }.inside(self);
        }
        // Every one is asked, also when the first leaves nothing.
        self.tuners.retain_mut(|t| !(t.unloads() && removed.iter().filter(|&&id| t.detach(id)).count() > 0));
    }
}

/// Puts parameters in the place of those of the same names.
struct Replace {
    copied: HashMap<String, Param>,
    path: String,
}

impl Replace {
    fn inside(&mut self, node: &mut Node) {
        node.module_mut().visit_mut(self);
    }
}

impl VisitorMut for Replace {
    fn param(&mut self, name: &str, param: &mut Param) {
        if let Some(copy) = self.copied.get(&format!("{}{name}", self.path)) {
            *param = copy.clone();
        }
    }

    fn node(&mut self, name: &str, node: &mut Node) {
        let length = self.path.len();
        self.path.push_str(name);
        self.path.push('.');
        self.inside(node);
        self.path.truncate(length);
    }

    fn list(&mut self, name: &str, list: &mut NodeList) {
        for (i, node) in list.items.iter_mut().enumerate() {
            self.node(&format!("{name}.{i}"), node);
        }
    }
}
