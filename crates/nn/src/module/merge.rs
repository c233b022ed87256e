//! Adapters inside of a node's weight.

use super::door::{Tuner, VisitorMut};
use super::node::{Merged, Node, NodeList};
use super::walk::all_parameters;
use super::weights::Weights;
use crate::context::AdapterId;
use crate::ops::compute_dtype;
use crate::param::{Param, Place};
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
        let fresh = |id: &&AdapterId| !self.merged().contains(id);
        let tuners = self.tuners.iter().filter(|t| t.merges());
        tuners
            .flat_map(|t| {
                let here = ids.iter().filter(fresh).filter(|id| t.adapters().binary_search(id).is_ok());
                here.map(|&id| (&**t, id)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// One of this node's parameters with `ids` merged, as it lies, or `value` when they do not change it. `value` is taken for
    /// the parameter's own, when a tied module's adapters are in it already.
    pub fn merged_value(&self, ids: &[AdapterId], param: &Param, value: Option<Array>) -> Result<Option<Array>> {
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

    /// Weight and bias with `ids` merged, checked but not put in. A module without a bias cannot take what changes it.
    fn both_merged(&self, ids: &[AdapterId]) -> Result<Option<(Array, Option<Array>)>> {
        let Some(weights) = self.module().weights() else { return Ok(None) };
        let bias = match weights.bias() {
            Some(bias) => self.merged_value(ids, bias, None)?,
            None => {
                for (tuner, id) in self.mergeable(ids) {
                    tuner.merged_bias(id, &weights, &|| weights.matrix(), None)?;
                }
                None
            }
        };
        Ok(self.merged_value(ids, weights.weight(), None)?.map(|weight| (weight, bias)))
    }

    /// Weight and bias from before the first merge, where there was one.
    fn original(&self) -> Original {
        let of = |place: &Place| Param::at(place.clone());
        Original(self.merged.as_ref().map(|m| (of(&m.weight), m.bias.as_ref().map(of))))
    }

    /// Whether merging `ids` would give finite numbers only.
    pub fn merges_finite(&self, ids: &[AdapterId]) -> Result<bool> {
        let Some((weight, bias)) = self.both_merged(ids)? else { return Ok(true) };
        Ok(crate::ops::all_finite(&weight)? && bias.map_or(Ok(true), |b| crate::ops::all_finite(&b))?)
    }

    /// Puts `ids` into the weight. The old one is kept, so that unmerging restores it bit for bit.
    pub fn merge(&mut self, ids: &[AdapterId]) -> Result<()> {
        let Some((weight, bias)) = self.both_merged(ids)? else { return Ok(()) };
        let fresh: Vec<AdapterId> = self.mergeable(ids).into_iter().map(|(_, id)| id).collect();
        let Some(weights) = self.module().weights() else { return Ok(()) };
        let before =
            Merged { adapters: Vec::new(), weight: weights.weight().place(), bias: weights.bias().map(Param::place) };
        weights.weight().replace(weight);
        if let (Some(param), Some(bias)) = (weights.bias(), bias) {
            param.replace(bias);
        }
        self.merged.get_or_insert(before).adapters.extend(fresh);
        Ok(())
    }

    /// Puts the weight from before the first merge back.
    pub fn unmerge(&mut self) {
        let Some(merged) = self.merged.take() else { return };
        let Some(weights) = self.module().weights() else { return };
        weights.weight().put_back(merged.weight);
        if let (Some(bias), Some(place)) = (weights.bias(), merged.bias) {
            bias.put_back(place);
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
