//! The module tree and its one door.
//!
//! A [`Node`] owns a module and the tuners attached at that place. [`Node::call`] is the only way to run it: the call goes
//! through the tuners, outermost first, and each decides when, whether and with what to continue. Names come from walking
//! the tree and are stored nowhere.

use crate::context::{AdapterId, Context};
use crate::ops::{Conv2dShape, Mask, RopeTable, WeightLayout};
use crate::param::Param;
use crate::tensor::{Array, GradSlot, Tensor};
use crate::{Error, Result};
use std::any::Any;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    Number(f64),
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
    /// The tensor itself, or the first element of a tuple or a model output.
    pub fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(t) => Ok(t),
            Self::Tuple(items) => match items.into_iter().next() {
                Some(first) => first.into_tensor(),
                None => Err(Error::Argument("expected a tensor, found an empty tuple".into())),
            },
            Self::Map(fields) => match fields.into_iter().next() {
                Some((_, first)) => first.into_tensor(),
                None => Err(Error::Argument("expected a tensor, found an empty model output".into())),
            },
            other => Err(Error::Argument(format!("expected a tensor, found {}", other.kind()))),
        }
    }

    /// What this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Number(_) => "a number",
            Self::Tensor(_) => "a tensor",
            Self::Ints(_) => "integers",
            Self::Mask(_) => "a mask",
            Self::Rope(_) => "rotary tables",
            Self::Tuple(_) => "a tuple",
            Self::Map(_) => "a model output",
        }
    }

    /// The element of a tuple or model output, to change it; a lone tensor is its own element, whatever `at` says.
    pub fn element_mut(&mut self, at: &Option<Position>) -> Result<&mut Tensor> {
        let kind = self.kind();
        let missing = || match at {
            Some(at) => Error::Argument(format!("the module's output ({kind}) has no tensor {at}")),
            None => Error::Argument(format!("the module's output is {kind}, so a position in it must be given")),
        };
        let found = match (self, at) {
            (Self::Tensor(t), _) => return Ok(t),
            (Self::Tuple(items), Some(Position::Index(i))) => items.get_mut(*i),
            (Self::Map(fields), Some(Position::Index(i))) => fields.get_mut(*i).map(|(_, v)| v),
            (Self::Map(fields), Some(Position::Name(name))) => {
                fields.iter_mut().find(|(n, _)| n == name).map(|(_, v)| v)
            }
            _ => None,
        };
        match found {
            Some(Self::Tensor(t)) => Ok(t),
            _ => Err(missing()),
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

/// Where a configuration finds a tensor among arguments or outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    Index(usize),
    Name(String),
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(i) => write!(f, "at position {i}"),
            Self::Name(name) => write!(f, "called {name:?}"),
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

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let values = self.positional.iter().chain(self.named.iter().map(|(_, v)| v));
        values.filter_map(|v| if let Value::Tensor(t) = v { Some(t) } else { None })
    }

    fn map_tensors(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
        let mut one = |v: &Value| match v {
            Value::Tensor(t) => Value::Tensor(f(t)),
            other => other.clone(),
        };
        Self {
            positional: self.positional.iter().map(&mut one).collect(),
            named: self.named.iter().map(|(n, v)| (*n, one(v))).collect(),
        }
    }

    /// The same call for some rows of the batch: tensors and integers of `batch` rows are cut, the rest stays.
    pub fn narrow_rows(&self, batch: usize, rows: &Range<usize>) -> Result<Self> {
        let one = |v: &Value| {
            Ok(match v {
                Value::Tensor(t) if t.dims().first() == Some(&batch) => {
                    Value::Tensor(t.narrow(0, rows.start, rows.len())?)
                }
                Value::Ints(i) if i.shape.first() == Some(&batch) => {
                    let width = i.data.len() / batch.max(1);
                    let mut shape = i.shape.clone();
                    shape[0] = rows.len();
                    Value::Ints(Ints::new(shape, i.data[rows.start * width..rows.end * width].to_vec())?)
                }
                other => other.clone(),
            })
        };
        Ok(Self {
            positional: self.positional.iter().map(one).collect::<Result<_>>()?,
            named: self.named.iter().map(|(n, v)| Ok((*n, one(v)?))).collect::<Result<_>>()?,
        })
    }

    fn detached(&self) -> Self {
        self.map_tensors(&mut Tensor::detach)
    }

    /// The value at a position or under a name, to change it.
    pub fn get_mut(&mut self, at: &Position) -> Result<&mut Value> {
        let missing = || Error::Argument(format!("the module is not called with an argument {at}"));
        match at {
            Position::Index(i) => self.positional.get_mut(*i).ok_or_else(missing),
            Position::Name(name) => self.named.iter_mut().find(|(n, _)| n == name).map(|(_, v)| v).ok_or_else(missing),
        }
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

    pub fn mask(&self, position: usize, name: &str) -> Mask {
        match self.get(position, name) {
            Value::Mask(m) => m.clone(),
            _ => Mask::default(),
        }
    }
}

/// The weights that low-rank tuners and merging work on.
pub enum Weights<'a> {
    Linear {
        weight: &'a Param,
        bias: Option<&'a Param>,
        layout: WeightLayout,
    },
    Embedding {
        weight: &'a Param,
    },
    /// `weight [out, in / groups, height, width]`
    Conv2d {
        weight: &'a Param,
        bias: Option<&'a Param>,
        shape: Conv2dShape,
    },
}

/// What an adapter's tensor is called below the module that it sits on. Python joins the adapter's name in different ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorName {
    /// `<before><adapter><after>`, such as `adapter_default.linear1.weight`.
    Named { before: &'static str, after: String },
    /// Without the adapter's name.
    Plain(String),
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

/// What a tuner of one adapter owns at one place: parameters below a module that is called `<before><adapter>`.
#[derive(Clone)]
pub struct Own {
    pub adapter: AdapterId,
    pub before: &'static str,
    pub name: String,
    pub params: Vec<(String, Param)>,
}

/// One of an adapter's tensors.
pub struct OwnTensor {
    pub name: TensorName,
    pub param: Param,
    /// Saved and loaded, but never trained.
    pub buffer: bool,
}

/// Code around a node's calls, with parameters of its own.
pub trait Tuner: TunerObject + Send + Sync + 'static {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value>;

    /// What it owns, when that is one adapter's parameters; the next three methods then need not be written.
    fn own(&self) -> Option<&Own> {
        None
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        if let Some(own) = self.own() {
            let module = format!("{}{}", own.before, own.name);
            v.scope(&module);
            own.params.iter().for_each(|(name, param)| v.param(&format!("{module}.{name}"), param));
        }
    }

    /// The tensors that belong to `adapter` alone, in Python's order.
    fn tensors(&self, adapter: AdapterId) -> Vec<OwnTensor> {
        let own = self.own().filter(|own| own.adapter == adapter);
        let tensor = |before, (name, param): &(String, Param)| OwnTensor {
            name: TensorName::Named { before, after: format!(".{name}") },
            param: param.clone(),
            buffer: false,
        };
        own.map(|own| own.params.iter().map(|p| tensor(own.before, p)).collect()).unwrap_or_default()
    }

    /// Takes `adapter` out. True when nothing is left, so that the tuner can come off its node.
    fn detach(&mut self, adapter: AdapterId) -> bool {
        self.own().is_some_and(|own| own.adapter == adapter)
    }

    /// The method whose calls this surrounds.
    fn method(&self) -> &'static str {
        FORWARD
    }

    /// What Python calls the wrapped module when this tuner takes its place (`base_layer`, `original_module`).
    fn base_name(&self) -> Option<&'static str> {
        None
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

/// The method that runs a module.
pub const FORWARD: &str = "forward";

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
        }
    }
}

impl Node {
    pub fn new(module: impl Module) -> Self {
        Self { id: NodeId::next(), module: Box::new(module), tuners: Vec::new(), inserted: None }
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

    fn is_hidden(&self) -> bool {
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
        Next { node: self, remaining: &self.tuners, method }.run(cx, args)
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
                node.tuners.clear();
                node.inserted = None;
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

/// Calls a node without keeping what its backward pass needs: that pass runs the call again, with the same random numbers.
///
/// Chen et al. 2016 (arXiv 1604.06174); `torch.utils.checkpoint`.
pub fn checkpointed(cx: &Context, node: &Node, args: Args) -> Result<Value> {
    let draws = cx.draws.load(Ordering::Relaxed);
    let value = node.call(&Context { grad: false, ..cx.clone() }, args.detached())?;
    let Value::Tensor(y) = value else {
        return Err(Error::Invalid("gradient checkpointing: this block gives more than one tensor".into()));
    };
    let inputs: Vec<Tensor> = args.tensors().cloned().collect();
    let trained = || all_parameters(node).iter().any(|(_, p)| p.requires_grad());
    if !inputs.iter().any(Tensor::is_tracked) && !trained() {
        return Ok(y.into());
    }
    let (node, cx) = (node.clone(), cx.clone());
    let saved = args.detached();
    let backward = move |grad: &Array| {
        let cx = Context { draws: Arc::new(AtomicU64::new(draws)), ..cx };
        let mut slots = Vec::new();
        let args = saved.map_tensors(&mut |t| {
            let slot = Arc::new(GradSlot::default());
            slots.push(slot.clone());
            Tensor::leaf(t.data().clone(), Tensor::leaf_record(slot))
        });
        let y = node.call(&cx, args)?.into_tensor()?;
        if y.is_tracked() {
            y.backward_from(grad.clone())?;
        }
        Ok(slots.iter().map(|s| s.get()).collect())
    };
    Ok(Tensor::from_recomputed(y.into_data(), &inputs.iter().collect::<Vec<_>>(), backward).into())
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
            for_each_node_mut(block, &mut |node| node.module_mut().set_layer_index(i));
        }
    }
}

/// The rest of a call: the tuners that lie further in, then the module.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    node: &'a Node,
    remaining: &'a [Box<dyn Tuner>],
    method: &'static str,
}

impl Next<'_> {
    pub fn run(self, cx: &Context, args: Args) -> Result<Value> {
        match self.remaining.split_last() {
            Some((outer, rest)) if outer.method() == self.method => {
                outer.around(cx, args, Next { remaining: rest, ..self })
            }
            Some((_, rest)) => Next { remaining: rest, ..self }.run(cx, args),
            None if self.method == FORWARD => self.node.module.forward_in(self.node, cx, &args),
            None => self.node.module.method(self.method, cx, &args),
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
    /// Python's view of a tuned model; otherwise the model alone under its own names, inserted blocks included.
    tuned: bool,
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
        match tuners.split_last().filter(|_| self.tuned) {
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
            let tuned = w.tuned;
            for (i, node) in list.items.iter().filter(|n| !(tuned && n.is_hidden())).enumerate() {
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
    let mut walker = Walker { path: String::new(), tuned: true, f };
    walker.walk(root, &root.tuners);
}

/// The nodes that the model itself is made of, the root under `""` first, by the names they have without tuners. Blocks
/// that adapters inserted count, whether they are active or not.
pub fn model_nodes(root: &Node) -> Vec<(String, &Node)> {
    let mut out = vec![(String::new(), root)];
    let mut f = |path: &str, item| {
        if let Item::Module(Some(node)) = item {
            out.push((path.to_owned(), node));
        }
    };
    Walker { path: String::new(), tuned: false, f: &mut f }.walk(root, &[]);
    out
}

/// The parameters of a node's own module by the names they have without tuners.
pub fn own_parameters(node: &Node) -> Vec<(String, &Param)> {
    let mut out = Vec::new();
    let mut f = |path: &str, item| {
        if let Item::Param(param) = item {
            out.push((path.to_owned(), param));
        }
    };
    Walker { path: String::new(), tuned: false, f: &mut f }.walk(node, &[]);
    out
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

/// The nodes of the tree by path, those inside of tuners included.
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

/// Calls `f` on every list of nodes that the model itself is made of, with its path.
pub fn for_each_list_mut(root: &mut Node, f: &mut dyn FnMut(&str, &mut NodeList)) {
    struct Each<'f>(&'f mut dyn FnMut(&str, &mut NodeList), String);
    impl Each<'_> {
        fn inside(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
            let length = self.1.len();
            if length > 0 {
                self.1.push('.');
            }
            self.1.push_str(name);
            body(self);
            self.1.truncate(length);
        }
    }
    impl VisitorMut for Each<'_> {
        fn param(&mut self, _: &str, _: &mut Param) {}
        fn node(&mut self, name: &str, node: &mut Node) {
            self.inside(name, |v| node.module.visit_mut(v));
        }
        fn list(&mut self, name: &str, list: &mut NodeList) {
            self.inside(name, |v| {
                (v.0)(&v.1, list);
                for (i, node) in list.items.iter_mut().enumerate() {
                    v.node(&i.to_string(), node);
                }
            });
        }
    }
    root.module.visit_mut(&mut Each(f, String::new()));
}
