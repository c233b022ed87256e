//! A place of the tree, and the way through its tuners to its module.

use super::door::{Module, Rows, Tuner, VisitorMut, FORWARD};
use super::{Args, Value};
use crate::adapter_id::AdapterId;
use crate::context::Context;
use crate::param::{Param, Place};
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Identifies a place of the tree for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

static NEXT_NODE: AtomicU64 = AtomicU64::new(1);

impl NodeId {
    fn next() -> Self {
        Self(NEXT_NODE.fetch_add(1, Ordering::Relaxed))
    }
}

/// A block that an adapter put into a list (LLaMA-Pro).
struct Inserted {
    adapter: AdapterId,
    /// Left out of the tree's names and numbers, as Python takes it out of the list.
    hidden: AtomicBool,
}

/// A place of the tree: a module and the tuners around it, innermost first.
pub struct Node {
    id: NodeId,
    module: Box<dyn Module>,
    pub tuners: Vec<Box<dyn Tuner>>,
    inserted: Option<Inserted>,
    pub(super) merged: Option<Merged>,
}

/// What merging replaced.
#[derive(Clone)]
pub(super) struct Merged {
    pub adapters: Vec<AdapterId>,
    pub before: Vec<(Param, Place)>,
}

impl Clone for Node {
    /// The same module and tuners over the same parameters, at a place of its own.
    fn clone(&self) -> Self {
        Self {
            id: NodeId::next(),
            module: self.module.boxed_clone(),
            tuners: self.tuners.iter().map(|t| t.boxed_clone()).collect(),
            inserted: self
                .inserted
                .as_ref()
                .map(|i| Inserted { adapter: i.adapter, hidden: AtomicBool::new(i.hidden.load(Ordering::Relaxed)) }),
            merged: self.merged.clone(),
        }
    }
}

impl Node {
    pub fn new(module: impl Module) -> Self {
        Self { id: NodeId::next(), module: Box::new(module), tuners: Vec::new(), inserted: None, merged: None }
    }

    /// Makes this a block that runs while `adapter` is active and hands its input on otherwise.
    pub fn insert_for(mut self, adapter: AdapterId) -> Self {
        self.inserted = Some(Inserted { adapter, hidden: AtomicBool::new(false) });
        self
    }

    /// The adapter that this block was inserted for.
    pub fn inserted_for(&self) -> Option<AdapterId> {
        self.inserted.as_ref().map(|i| i.adapter)
    }

    /// Whether an inserted block counts when the tree is walked and its list numbered.
    pub fn set_hidden(&self, hidden: bool) {
        if let Some(inserted) = &self.inserted {
            inserted.hidden.store(hidden, Ordering::Relaxed);
        }
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.inserted.as_ref().is_some_and(|i| i.hidden.load(Ordering::Relaxed))
    }

    pub fn id(&self) -> NodeId {
        self.id
    }

    pub fn module(&self) -> &dyn Module {
        &*self.module
    }

    pub fn module_mut(&mut self) -> &mut dyn Module {
        &mut *self.module
    }

    pub fn call(&self, cx: &Context, args: Args) -> Result<Value> {
        if self.inserted.as_ref().is_some_and(|i| !cx.is_active(i.adapter)) {
            return Ok(args.positional.into_iter().next().unwrap_or(Value::None));
        }
        self.call_method(FORWARD, cx, args)
    }

    /// Calls a method through the tuners that surround it.
    pub fn call_method(&self, method: &'static str, cx: &Context, args: Args) -> Result<Value> {
        cx.check_cancelled()?;
        if self.merged.is_some() && cx.rows.is_some() {
            return Err(Error::Invalid("unmerge before a pass with adapterNames".into()));
        }
        self.next(method, None).run(cx, args)
    }

    /// The same for a method that is not the module's own: `end` is what the tuners surround.
    pub fn surround(&self, method: &'static str, cx: &Context, args: Args, end: &End<'_>) -> Result<Value> {
        cx.check_cancelled()?;
        self.next(method, Some(end)).run(cx, args)
    }

    fn next<'a>(&'a self, method: &'static str, end: Option<&'a End<'a>>) -> Next<'a> {
        Next { node: self, module: &*self.module, remaining: &self.tuners, method, end }
    }

    /// The common case: one tensor in, one tensor out.
    pub fn apply(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        self.call(cx, Args::one(x.clone()))?.into_tensor()
    }

    /// Whether a tuner has something to do in this pass: one of its adapters is active, and none of them is merged.
    fn acts(&self, tuner: &dyn Tuner, cx: &Context) -> bool {
        let here = tuner.adapters();
        let has = |id: &AdapterId| here.binary_search(id).is_ok();
        cx.active.iter().any(has) && !self.merged.as_ref().is_some_and(|m| m.adapters.iter().any(has))
    }

    /// Whether a tuner that acts in this pass looks at what the module gives.
    pub fn is_output_read(&self, cx: &Context) -> bool {
        self.tuners.iter().any(|t| t.surrounds(FORWARD) && t.reads_output() && self.acts(&**t, cx))
    }

    /// Whether no tuner here has anything to do in this pass.
    pub fn is_bare(&self, cx: &Context) -> bool {
        !self.tuners.iter().any(|t| self.acts(&**t, cx))
    }

    /// The attached tuner of type `T`, if any.
    pub fn tuner<T: Tuner>(&self) -> Option<&T> {
        self.tuners.iter().find_map(|t| t.as_any().downcast_ref())
    }

    pub fn tuner_mut<T: Tuner>(&mut self) -> Option<&mut T> {
        self.tuners.iter_mut().find_map(|t| t.as_any_mut().downcast_mut())
    }

    /// This module with fresh parameters of the same values, and without tuners.
    pub fn deep_copy(&self) -> Result<Node> {
        struct Fresh(Result<()>);
        impl VisitorMut for Fresh {
            fn param(&mut self, _: &str, param: &mut Param) {
                match param.deep_copy() {
                    Ok(copy) => *param = copy,
                    Err(e) => self.0 = Err(e),
                }
            }
            fn node(&mut self, _: &str, node: &mut Node) {
                node.tuners.clear();
                node.inserted = None;
                node.merged = None;
                node.module.visit_mut(self);
            }
            fn list(&mut self, name: &str, list: &mut NodeList) {
                list.items.iter_mut().for_each(|n| self.node(name, n));
            }
        }
        let mut copy = self.clone();
        let mut fresh = Fresh(Ok(()));
        fresh.node("", &mut copy);
        fresh.0.map(|()| copy)
    }
}

/// Several nodes under numbers: `torch.nn.ModuleList`.
#[derive(Clone)]
pub struct NodeList {
    pub items: Vec<Node>,
}

impl NodeList {
    /// Tells every block its place among all of them, inserted ones included: that is its place in a key-value cache.
    pub fn number_blocks(&mut self) {
        for (i, block) in self.items.iter_mut().enumerate() {
            super::walk::for_each_node_mut(block, &mut |node| node.module_mut().set_layer_index(i));
        }
    }
}

/// What stands at the end of a call that is not the module's own.
pub type End<'a> = dyn Fn(&Context, &Args) -> Result<Value> + 'a;

/// The rest of a call: the tuners that lie further in, then the module.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    node: &'a Node,
    module: &'a dyn Module,
    remaining: &'a [Box<dyn Tuner>],
    method: &'static str,
    end: Option<&'a End<'a>>,
}

impl<'a> Next<'a> {
    /// The method that is being called.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The same way to another module, such as the node's own over other values of its parameters.
    pub fn to(self, module: &'a dyn Module) -> Self {
        Self { module, ..self }
    }

    /// Goes on with the next tuner that acts in this pass, or with the module.
    pub fn run(self, cx: &Context, args: Args) -> Result<Value> {
        let mut remaining = self.remaining;
        while let Some((outer, rest)) = remaining.split_last() {
            if outer.surrounds(self.method) && self.node.acts(&**outer, cx) {
                let next = Next { remaining: rest, ..self };
                let rows = if cx.rows.is_some() { outer.rows(cx)? } else { Rows::Together };
                return match rows {
                    Rows::Together => outer.around(cx, args, next).map_err(|e| {
                        e.located(self.node.id(), outer.adapters().iter().copied().find(|id| cx.is_active(*id)))
                    }),
                    Rows::Apart => cx.by_rows(&args, |cx, args| Next { remaining, ..self }.run(cx, args)),
                    Rows::Whole => Err(Error::Invalid("adapterNames: a tuner runs on whole batches only".into())),
                };
            }
            remaining = rest;
        }
        let done = if let Some(end) = self.end {
            end(cx, &args)
        } else if self.method == FORWARD {
            self.module.forward_in(self.node, cx, &args)
        } else {
            self.module.method(self.method, cx, &args)
        };
        done.map_err(|e| e.located(self.node.id(), None))
    }

    /// The module at the end of the chain, when no tuner that acts lies between: what a fused kernel may take over.
    pub fn bare(&self, cx: &Context) -> Option<&dyn Module> {
        let between = self.remaining.iter().any(|t| t.surrounds(self.method) && self.node.acts(&**t, cx));
        (!between).then_some(self.module)
    }

    pub fn module(&self) -> &dyn Module {
        self.module
    }
}
