//! What stands at a place of the tree and what goes through it: modules, tuners around them, and visitors of both.

use super::node::{Next, Node, NodeList};
use super::part::{Own, Part};
use super::steps::Steps;
use super::weights::Weights;
use super::{Args, Ints, Value};
use crate::adapter_id::AdapterId;
use crate::combine::Combining;
use crate::context::Context;
use crate::param::Param;
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use std::any::Any;

/// The method that runs a module.
pub const FORWARD: &str = "forward";

/// A computation with named parts. `visit` lists parameters and children in PyTorch's order.
pub trait Module: Send + Sync + 'static {
    fn forward(&self, cx: &Context, args: &Args) -> Result<Value>;
    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>);
    fn visit_mut(&mut self, v: &mut dyn VisitorMut);
    /// The same structure over the same parameters.
    fn boxed_clone(&self) -> Box<dyn Module>;

    fn weights(&self) -> Option<Weights<'_>> {
        None
    }

    /// [`Module::forward`] with the node that holds this module, for classes that call a method of their own in Python:
    /// they go through [`Node::call_method`], where tuners of that method sit.
    fn forward_in(&self, _node: &Node, cx: &Context, args: &Args) -> Result<Value> {
        self.forward(cx, args)
    }

    /// The methods beside `forward` that tuners can surround (BERT's `feed_forward_chunk`).
    fn methods(&self) -> &'static [&'static str] {
        &[]
    }

    fn method(&self, name: &str, _cx: &Context, _args: &Args) -> Result<Value> {
        Err(Error::Argument(format!("this module has no method {name}")))
    }

    /// Tells a part of a decoder block which place of the list it is at, which is its place in a key-value cache.
    fn set_layer_index(&mut self, _index: usize) {}
}

/// How a tuner takes a batch whose rows have adapters of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// It runs on whole batches only.
    Whole,
    /// The door calls it for each run of rows by itself.
    Apart,
    /// It looks at [`Context::rows`] itself.
    Together,
}

/// Code around a node's calls, with parameters of its own.
///
/// The door calls [`Tuner::around`] only while one of [`Tuner::adapters`] is active and none of them is merged into the
/// module's weight.
pub trait Tuner: TunerObject + Send + Sync + 'static {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value>;

    /// What it owns, when that is one adapter's parameters; most of the other methods then need not be written.
    fn own(&self) -> Option<&Own> {
        None
    }

    /// The adapters that it acts for, in ascending order, which is the order of attaching.
    fn adapters(&self) -> &[AdapterId] {
        self.own().map_or(&[], |own| std::slice::from_ref(&own.adapter))
    }

    fn rows(&self, _cx: &Context) -> Result<Rows> {
        Ok(Rows::Whole)
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        if let Some(own) = self.own() {
            let module = format!("{}{}", own.before, own.name);
            v.scope(&module);
            own.params.iter().for_each(|(name, param)| v.param(&format!("{module}.{name}"), param));
        }
    }

    /// Visits the nodes inside (copies of modules), as [`Tuner::has_nodes`] tells.
    fn visit_mut(&mut self, _v: &mut dyn VisitorMut) {}

    /// Whether there are nodes inside, which walks for nodes enter.
    fn has_nodes(&self) -> bool {
        false
    }

    /// The tensors that belong to `adapter` here, in Python's order.
    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        self.own().filter(|own| own.adapter == adapter).map(Own::parts).unwrap_or_default()
    }

    /// What it computes with that stands at another place of the tree.
    fn borrowed(&self) -> Vec<&Param> {
        Vec::new()
    }

    /// Called when a checkpoint's tensors are in place.
    fn loaded(&self, _adapter: AdapterId) -> Result<()> {
        Ok(())
    }

    /// Takes `adapter` out. True when nothing is left, so that the tuner can come off its node.
    fn detach(&mut self, adapter: AdapterId) -> bool {
        self.own().is_some_and(|own| own.adapter == adapter)
    }

    /// Calls `adapter` by another name from now on.
    fn rename(&mut self, _adapter: AdapterId, _name: &str) {}

    /// Whether this surrounds calls of `method`; which one it is, [`Next::method`] tells.
    fn surrounds(&self, method: &str) -> bool {
        method == FORWARD
    }

    /// Whether it looks at what the module gives: a model whose loss is all that is wanted then has to give its logits.
    fn reads_output(&self) -> bool {
        true
    }

    /// What Python calls the wrapped module when this tuner takes its place (`base_layer`, `original_module`).
    fn base_name(&self) -> Option<&'static str> {
        None
    }

    /// Whether what it does can go into the module's weight.
    fn merges(&self) -> bool {
        false
    }

    /// Whether unloading merged adapters takes them out of this tuner.
    fn unloads(&self) -> bool {
        self.merges()
    }

    /// The weight with `adapter` in it. `w [out, in]` in f32 or wider, which the weight is when this is asked: adapters
    /// before this one are in it already, but in none of `weights`.
    fn merged_weight(&self, _adapter: AdapterId, _weights: &Weights<'_>, w: Array) -> Result<Array> {
        Ok(w)
    }

    /// The bias `[out]` with `adapter` in it, or nothing when it stays. `w` gives the weight as [`Tuner::merged_weight`] gets it.
    fn merged_bias(
        &self,
        _adapter: AdapterId,
        _weights: &Weights<'_>,
        _w: &dyn Fn() -> Result<Array>,
        _bias: Option<&Array>,
    ) -> Result<Option<Array>> {
        Ok(None)
    }

    /// What `adapter` wants added to the loss here; `cx` is that of the pass, with what it has kept.
    fn penalty(&self, _adapter: AdapterId, _cx: &Context) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// The module's own parameter that it adapts, by its name there; nothing where it acts on calls and on the module's weight. In
    /// files the tensors of such a tuner are below those of such tuners further out, as Python nests them.
    fn parameter(&self) -> Option<&str> {
        None
    }

    /// The value of [`Tuner::parameter`] with `adapter` in it.
    fn merged_parameter(&self, _adapter: AdapterId, value: Array) -> Result<Array> {
        Ok(value)
    }

    /// What takes the module's place for good when these adapters are merged.
    fn replacement(&self, _adapters: &[AdapterId]) -> Option<&Node> {
        None
    }

    /// What it adds to a loss that is taken of labels. The root's tuners are asked, active or not.
    fn loss(&self, _cx: &Context) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Over how many of the labels `[batch, seq]` of a pass the loss is a mean, where it changes that; asked as
    /// [`Tuner::loss`] is. `causal`: position i predicts label i + 1.
    fn loss_items(&self, _cx: &Context, _labels: &Ints, _causal: bool) -> Result<Option<usize>> {
        Ok(None)
    }

    /// How many positions of the model's context it takes before a sequence; asked as [`Tuner::loss`] is.
    fn positions_before(&self, _cx: &Context) -> usize {
        0
    }

    /// Those of its trained parameters that no loss depends on, in Python neither: a training run does without their gradients.
    fn idle(&self) -> Vec<&Param> {
        Vec::new()
    }

    /// What it does at the steps of a training run.
    fn steps(&self) -> Option<&dyn Steps> {
        None
    }

    /// The values of an adapter that combines others with weights, in the order of [`Tuner::parts`]; nothing when none of
    /// them is here.
    fn combined(&self, _of: &[(AdapterId, f64)], _how: &mut Combining) -> Result<Option<Vec<Array>>> {
        Ok(None)
    }
}

/// What every tuner that can be cloned is able to do as an object; a clone stands over the same parameters.
pub trait TunerObject {
    fn boxed_clone(&self) -> Box<dyn Tuner>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Tuner + Clone> TunerObject for T {
    fn boxed_clone(&self) -> Box<dyn Tuner> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

pub trait Visitor<'a> {
    fn param(&mut self, name: &str, param: &'a Param);
    fn node(&mut self, name: &str, node: &'a Node);
    fn list(&mut self, name: &str, list: &'a NodeList);
    /// A module of Python's that is no node here, such as the `ModuleDict` that holds a LoRA layer's matrices.
    fn scope(&mut self, _name: &str) {}
    /// A tensor that is no parameter in PyTorch's sense.
    fn buffer(&mut self, _name: &str, _param: &'a Param, _saved: bool) {}
}

pub trait VisitorMut {
    fn param(&mut self, name: &str, param: &mut Param);
    fn node(&mut self, name: &str, node: &mut Node);
    fn list(&mut self, name: &str, list: &mut NodeList);
}
