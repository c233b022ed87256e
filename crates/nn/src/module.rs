//! The module tree and its one door.
//!
//! A [`Node`] owns a module and the tuners attached at that place. [`Node::call`] is the only way to run it: the call goes
//! through the tuners, outermost first, and each decides when, whether and with what to continue. Names come from walking
//! the tree and are stored nowhere.

use crate::context::Context;
use crate::ops::{Mask, RopeTable, WeightLayout};
use crate::param::Param;
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Integers that stay on the host: token ids, labels, positions, masks.
#[derive(Clone, Debug, PartialEq)]
pub struct Ints {
    pub shape: Vec<usize>,
    pub data: Arc<Vec<i64>>,
}

impl Ints {
    pub fn new(shape: Vec<usize>, data: Vec<i64>) -> Result<Self> {
        if shape.iter().product::<usize>() != data.len() {
            return Err(Error::Shape { path: "integers".into(), expected: shape, actual: vec![data.len()] });
        }
        Ok(Self { shape, data: Arc::new(data) })
    }
}

/// What goes into and comes out of a call, as Python would pass it.
#[derive(Clone, Debug)]
pub enum Value {
    None,
    Tensor(Tensor),
    Ints(Ints),
    Mask(Mask),
    Rope(RopeValue),
    Tuple(Vec<Value>),
    /// A `ModelOutput`: named fields in order.
    Map(Vec<(&'static str, Value)>),
}

/// The rotary tables of a pass (Python's `position_embeddings`).
#[derive(Clone)]
pub struct RopeValue(pub Arc<RopeTable>);

impl std::fmt::Debug for RopeValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RopeTable")
    }
}

impl From<Tensor> for Value {
    fn from(t: Tensor) -> Self {
        Self::Tensor(t)
    }
}

impl Value {
    /// The tensor itself, or a tuple's first element.
    pub fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(t) => Ok(t),
            Self::Tuple(items) => match items.into_iter().next() {
                Some(first) => first.into_tensor(),
                None => Err(Error::Argument("expected a tensor, found an empty tuple".into())),
            },
            other => Err(Error::Argument(format!("expected a tensor, found {}", other.kind()))),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Tensor(_) => "a tensor",
            Self::Ints(_) => "integers",
            Self::Mask(_) => "a mask",
            Self::Rope(_) => "rotary tables",
            Self::Tuple(_) => "a tuple",
            Self::Map(_) => "a model output",
        }
    }

    /// A field of a model output.
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(fields) => fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// The arguments of a call, positional and named.
#[derive(Clone, Debug, Default)]
pub struct Args {
    pub positional: Vec<Value>,
    pub named: Vec<(&'static str, Value)>,
}

impl Args {
    pub fn one(x: Tensor) -> Self {
        Self { positional: vec![x.into()], named: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.named.push((name, value.into()));
        self
    }

    /// By position or by name, as Python binds arguments.
    pub fn get(&self, position: usize, name: &str) -> &Value {
        if let Some(value) = self.positional.get(position) {
            return value;
        }
        self.named(name)
    }

    pub fn named(&self, name: &str) -> &Value {
        self.named.iter().find(|(n, _)| *n == name).map_or(&Value::None, |(_, v)| v)
    }

    pub fn tensor(&self, position: usize, name: &str) -> Result<&Tensor> {
        match self.get(position, name) {
            Value::Tensor(t) => Ok(t),
            other => Err(Error::Argument(format!("{name}: expected a tensor, found {}", other.kind()))),
        }
    }

    pub fn ints(&self, name: &str) -> Option<&Ints> {
        match self.named(name) {
            Value::Ints(i) => Some(i),
            _ => None,
        }
    }

    pub fn optional_tensor(&self, name: &str) -> Option<&Tensor> {
        match self.named(name) {
            Value::Tensor(t) => Some(t),
            _ => None,
        }
    }

    pub fn mask(&self, name: &str) -> Mask {
        match self.named(name) {
            Value::Mask(m) => m.clone(),
            _ => Mask::default(),
        }
    }
}

/// The weights that low-rank tuners and merging work on.
pub enum Weights<'a> {
    Linear { weight: &'a Param, bias: Option<&'a Param>, layout: WeightLayout },
    Embedding { weight: &'a Param },
}

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
}

/// Code around a node's calls, with parameters of its own.
pub trait Tuner: Send + Sync + 'static {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value>;
    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>);
    fn visit_mut(&mut self, v: &mut dyn VisitorMut);

    /// What Python calls the wrapped module when this tuner takes its place (`base_layer`, `original_module`).
    fn base_name(&self) -> Option<&'static str> {
        None
    }

    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

pub trait Visitor<'a> {
    fn param(&mut self, name: &str, param: &'a Param);
    fn node(&mut self, name: &str, node: &'a Node);
    fn list(&mut self, name: &str, list: &'a NodeList);
    /// A module of Python's that is no node here, such as the `ModuleDict` that holds a LoRA layer's matrices.
    fn scope(&mut self, _name: &str) {}
}

pub trait VisitorMut {
    fn param(&mut self, name: &str, param: &mut Param);
    fn node(&mut self, name: &str, node: &mut Node);
    fn list(&mut self, name: &str, list: &mut NodeList);
}

/// A field that `fields!` can list.
pub trait Field {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>);
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut);
}

impl Field for Param {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>) {
        v.param(name, self);
    }
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut) {
        v.param(name, self);
    }
}

impl Field for Node {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>) {
        v.node(name, self);
    }
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut) {
        v.node(name, self);
    }
}

impl Field for NodeList {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>) {
        v.list(name, self);
    }
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut) {
        v.list(name, self);
    }
}

impl<T: Field> Field for Option<T> {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>) {
        if let Some(field) = self {
            field.visit_as(name, v);
        }
    }
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut) {
        if let Some(field) = self {
            field.visit_as_mut(name, v);
        }
    }
}

/// Implements the walking half of [`Module`]: `fields!(weight, bias)`, or `fields!(norm as "LayerNorm")` where Python's
/// name is no Rust name.
#[macro_export]
macro_rules! fields {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    ($($field:ident $(as $name:literal)?),* $(,)?) => {
        fn visit<'a>(&'a self, _v: &mut dyn $crate::module::Visitor<'a>) {
            $($crate::module::Field::visit_as(&self.$field, $crate::fields!(@name $field $($name)?), _v);)*
        }
        fn visit_mut(&mut self, _v: &mut dyn $crate::module::VisitorMut) {
            $($crate::module::Field::visit_as_mut(&mut self.$field, $crate::fields!(@name $field $($name)?), _v);)*
        }
        fn boxed_clone(&self) -> Box<dyn $crate::module::Module> {
            Box::new(self.clone())
        }
    };
}

/// Identifies a place of the tree for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

static NEXT_NODE: AtomicU64 = AtomicU64::new(1);

impl NodeId {
    fn next() -> Self {
        Self(NEXT_NODE.fetch_add(1, Ordering::Relaxed))
    }
}

/// A place of the tree: a module and the tuners around it, innermost first.
pub struct Node {
    id: NodeId,
    module: Box<dyn Module>,
    pub tuners: Vec<Box<dyn Tuner>>,
}

impl Clone for Node {
    /// The same module without its tuners, at a place of its own.
    fn clone(&self) -> Self {
        Self { id: NodeId::next(), module: self.module.boxed_clone(), tuners: Vec::new() }
    }
}

impl Node {
    pub fn new(module: impl Module) -> Self {
        Self { id: NodeId::next(), module: Box::new(module), tuners: Vec::new() }
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
        cx.check_cancelled()?;
        Next { node: self, remaining: &self.tuners }.run(cx, args)
    }

    /// The common case: one tensor in, one tensor out.
    pub fn apply(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        self.call(cx, Args::one(x.clone()))?.into_tensor()
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
                node.module.visit_mut(self);
            }
            fn list(&mut self, _: &str, list: &mut NodeList) {
                list.items.iter_mut().for_each(|n| n.module.visit_mut(self));
            }
        }
        let mut copy = self.clone();
        let mut fresh = Fresh(Ok(()));
        copy.module.visit_mut(&mut fresh);
        fresh.0.map(|()| copy)
    }
}

/// Several nodes under numbers: `torch.nn.ModuleList`.
#[derive(Clone)]
pub struct NodeList {
    pub items: Vec<Node>,
}

/// The rest of a call: the tuners that lie further in, then the module.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    node: &'a Node,
    remaining: &'a [Box<dyn Tuner>],
}

impl Next<'_> {
    pub fn run(self, cx: &Context, args: Args) -> Result<Value> {
        match self.remaining.split_last() {
            Some((outer, rest)) => outer.around(cx, args, Next { node: self.node, remaining: rest }),
            None => self.node.module.forward(cx, &args),
        }
    }

    /// The module at the end of the chain, when no other tuner lies between: what a fused kernel may take over.
    pub fn bare(&self) -> Option<&dyn Module> {
        self.remaining.is_empty().then_some(&*self.node.module)
    }

    pub fn module(&self) -> &dyn Module {
        &*self.node.module
    }
}

/// What a walk meets, with its path. A wrapped module's own parts carry the wrapper's `base_name`.
pub enum Item<'a> {
    Module(Option<&'a Node>),
    Param(&'a Param),
}

struct Walker<'a, 'f> {
    path: String,
    f: &'f mut dyn FnMut(&str, Item<'a>),
}

impl<'a> Walker<'a, '_> {
    fn scoped(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        body(self);
        self.path.truncate(length);
    }

    fn walk(&mut self, node: &'a Node, tuners: &'a [Box<dyn Tuner>]) {
        match tuners.split_last() {
            None => node.module.visit(self),
            Some((outer, rest)) => {
                match outer.base_name() {
                    Some(name) => self.scoped(name, |w| {
                        (w.f)(&w.path, Item::Module(None));
                        w.walk(node, rest);
                    }),
                    None => self.walk(node, rest),
                }
                outer.visit(self);
            }
        }
    }
}

impl<'a> Visitor<'a> for Walker<'a, '_> {
    fn param(&mut self, name: &str, param: &'a Param) {
        self.scoped(name, |w| (w.f)(&w.path, Item::Param(param)));
    }

    fn node(&mut self, name: &str, node: &'a Node) {
        self.scoped(name, |w| {
            (w.f)(&w.path, Item::Module(Some(node)));
            w.walk(node, &node.tuners);
        });
    }

    fn list(&mut self, name: &str, list: &'a NodeList) {
        self.scoped(name, |w| {
            (w.f)(&w.path, Item::Module(None));
            for (i, node) in list.items.iter().enumerate() {
                w.node(&i.to_string(), node);
            }
        });
    }

    fn scope(&mut self, name: &str) {
        self.scoped(name, |w| (w.f)(&w.path, Item::Module(None)));
    }
}

/// Visits every module and parameter below `root` with its path, in the order of Python's `named_modules` and
/// `named_parameters`. Tied parameters are met under each of their names.
pub fn walk<'a>(root: &'a Node, f: &mut dyn FnMut(&str, Item<'a>)) {
    let mut walker = Walker { path: String::new(), f };
    walker.walk(root, &root.tuners);
}

/// Parameters with their names; of tied ones the first name only, as `named_parameters` does.
pub fn named_parameters(root: &Node) -> Vec<(String, &Param)> {
    let mut seen = std::collections::HashSet::new();
    let mut out = Vec::new();
    walk(root, &mut |path, item| {
        if let Item::Param(p) = item {
            if seen.insert(p.id()) {
                out.push((path.to_owned(), p));
            }
        }
    });
    out
}

/// Every name of every parameter: tied ones under each name.
pub fn all_parameters(root: &Node) -> Vec<(String, &Param)> {
    let mut out = Vec::new();
    walk(root, &mut |path, item| {
        if let Item::Param(p) = item {
            out.push((path.to_owned(), p));
        }
    });
    out
}

/// The nodes of the tree by path. Only modules that the model itself is made of, not those of tuners.
pub fn named_nodes(root: &Node) -> Vec<(String, &Node)> {
    let mut out = Vec::new();
    walk(root, &mut |path, item| {
        if let Item::Module(Some(node)) = item {
            out.push((path.to_owned(), node));
        }
    });
    out
}

/// Calls `f` on every node of the tree (the root included) with mutable access.
pub fn for_each_node_mut(root: &mut Node, f: &mut dyn FnMut(&mut Node)) {
    struct Each<'f>(&'f mut dyn FnMut(&mut Node));
    impl VisitorMut for Each<'_> {
        fn param(&mut self, _: &str, _: &mut Param) {}
        fn node(&mut self, _: &str, node: &mut Node) {
            (self.0)(node);
            node.module.visit_mut(self);
        }
        fn list(&mut self, _: &str, list: &mut NodeList) {
            for node in &mut list.items {
                (self.0)(node);
                node.module.visit_mut(self);
            }
        }
    }
    f(root);
    root.module.visit_mut(&mut Each(f));
}
