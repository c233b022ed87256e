//! Trainable tokens: single rows of an embedding or of an output projection, each adapter's own.
//!
//! PEFT's `peft.tuners.trainable_tokens`, and `trainable_token_indices` of the kinds that adapt layers.

use crate::fields::FieldType;
use crate::init::Init;
use crate::method::Attach;
use crate::site::Input;
use crate::target::{attach_at, Place};
use candle_core::DType;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use swift_tuners_nn::module::{
    named_nodes, Args, Ints, Next, Node, Part, Role, Rows, Tuner, Value, Visitor, WeightKind, Weights,
};
use swift_tuners_nn::ops::{self, compute_dtype, WeightLayout};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Model, Param, Result, Tensor};

/// Tokens of the input embedding, or of the modules whose names end so.
#[derive(Clone, Debug)]
pub enum TokenIndices {
    List(Vec<u64>),
    ByModule(Vec<(String, Vec<u64>)>),
}

impl FieldType for TokenIndices {
    const WANTED: &'static str = "a list of token ids, or such lists by names of modules";
    fn typescript() -> String {
        "number[] | Record<string, number[]>".into()
    }
    fn of(value: &Json) -> Option<Self> {
        match value {
            Json::Object(map) => {
                map.iter().map(|(k, v)| Some((k.clone(), Vec::of(v)?))).collect::<Option<_>>().map(Self::ByModule)
            }
            other => Vec::of(other).map(Self::List),
        }
    }
    fn json(&self) -> Json {
        match self {
            Self::List(list) => list.json(),
            Self::ByModule(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), v.json())).collect()),
        }
    }
}

/// The rows of one adapter at one module.
#[derive(Clone)]
struct Entry {
    name: String,
    /// The tokens, one for each row.
    tokens: Arc<Vec<u32>>,
    /// `[tokens, width]`: what the rows are, not what is added to them.
    rows: Param,
    /// What the weight has there, `[tokens, width]`.
    originals: Param,
    /// The rows are those of the embedding whose weight this module's is.
    tied: bool,
}

/// Takes the active adapters' rows in the place of the weight's.
#[derive(Clone)]
pub struct TokenRows {
    ids: Vec<AdapterId>,
    entries: Vec<Entry>,
    place: RowsPlace,
}

/// Where Python keeps the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsPlace {
    /// The tuner takes the module's own place.
    Module,
    /// In a wrapper beside another tuner's layers (`token_adapter`).
    Wrapper,
}

impl RowsPlace {
    fn group(self) -> &'static str {
        match self {
            Self::Module => "trainable_tokens_delta",
            Self::Wrapper => "token_adapter.trainable_tokens_delta",
        }
    }

    fn originals(self) -> &'static str {
        match self {
            Self::Module => "trainable_tokens_original",
            Self::Wrapper => "token_adapter.trainable_tokens_original",
        }
    }
}

/// A module to be given rows.
pub struct Rowed {
    pub place: Place,
    pub tokens: Vec<u64>,
    /// The path of the module whose rows it shares.
    pub tied_to: Option<String>,
}

/// Gives modules their rows; those that others share must come first.
pub fn attach(a: &mut Attach<'_>, modules: &[Rowed], place: RowsPlace, as_they_are: bool) -> Result<()> {
    a.init.dtype = compute_dtype(a.model.dtype);
    let nodes: HashMap<String, &Node> = named_nodes(&a.model.root).into_iter().collect();
    let mut made: HashMap<&str, (Arc<Vec<u32>>, Param, Param)> = HashMap::new();
    let mut entries = Vec::with_capacity(modules.len());
    for module in modules {
        let (path, tied) = match &module.tied_to {
            Some(path) => (path.as_str(), true),
            None => (module.place.path.as_str(), false),
        };
        let other = nodes.get(module.place.path.as_str()).is_some_and(|n| n.tuners.iter().any(|t| is_other(&**t)));
        if other {
            let why = format!("{} is adapted as a whole, which does not go with single rows", module.place.path);
            return Err(Error::config("target_modules", why));
        }
        if !tied {
            let node = nodes.get(path).ok_or_else(|| Error::Invalid(format!("{path} is no module")))?;
            made.insert(path, rows(node, path, &module.tokens, a.init, as_they_are)?);
        }
        let (tokens, rows, originals) =
            made.get(path).cloned().ok_or_else(|| Error::Invalid(format!("{path} has no rows to share")))?;
        entries.push(Some(Entry { name: a.name.to_owned(), tokens, rows, originals, tied }));
    }
    let id = a.id;
    let places: Vec<Place> = modules.iter().map(|m| Place { id: m.place.id, path: m.place.path.clone() }).collect();
    attach_at(&mut a.model.root, &places, |i, node| {
        let entry = entries[i].take().ok_or_else(|| Error::Invalid(format!("{} stands twice", places[i].path)))?;
        let here = node
            .tuners
            .iter_mut()
            .find_map(|t| t.as_any_mut().downcast_mut::<TokenRows>().filter(|t| t.place == place));
        match here {
            Some(all) => {
                all.ids.push(id);
                all.entries.push(entry);
            }
            None => node.tuners.push(Box::new(TokenRows { ids: vec![id], entries: vec![entry], place })),
        }
        Ok(())
    })
}

/// Whether a tuner adapts a layer as a whole.
fn is_other(tuner: &dyn Tuner) -> bool {
    tuner.merges() && tuner.as_any().downcast_ref::<TokenRows>().is_none()
}

/// The tokens, the first values of new rows, and the weight's own.
fn rows(
    node: &Node,
    path: &str,
    tokens: &[u64],
    init: &mut Init,
    as_they_are: bool,
) -> Result<(Arc<Vec<u32>>, Param, Param)> {
    let weights = node.module().weights().filter(|w| w.kind() != WeightKind::Linear { transposed: true });
    let Some(weight) = weights.filter(|w| !matches!(w, Weights::Conv2d { .. })).map(|w| w.weight().clone()) else {
        return Err(Error::config("target_modules", format!("{path} is no embedding and no torch.nn.Linear")));
    };
    let (vocabulary, width) = (weight.shape()[0], weight.shape()[1]);
    if let Some(token) = tokens.iter().find(|t| **t >= vocabulary as u64) {
        let why = format!("{token} is no row of {path}, which has {vocabulary}");
        return Err(Error::config("token_indices", why));
    }
    let tokens: Arc<Vec<u32>> = Arc::new(tokens.iter().map(|&t| t as u32).collect());
    let shape = [tokens.len(), width];
    let own = |dtype: DType, trained: bool| {
        let (weight, tokens) = (weight.clone(), tokens.clone());
        Param::pending(&shape, dtype, &init.device, trained, move || {
            let weight = weight.array()?;
            let index = Array::from_slice(&tokens, tokens.len(), weight.device())?;
            Ok(weight.index_select(&index, 0)?)
        })
    };
    let originals = own(weight.dtype(), false);
    let rows = if as_they_are { own(init.dtype, true) } else { init.param(&shape, move |g| g.randn(&shape))? };
    Ok((tokens, rows, originals))
}

/// The module of this path, and those whose weight is its own.
pub fn tied_modules(model: &Model, path: &str) -> Vec<Place> {
    let nodes = named_nodes(&model.root);
    let weight = |node: &Node| node.module().weights().map(|w| w.weight().clone());
    let Some(own) = nodes.iter().find(|(p, _)| p == path).and_then(|(_, n)| weight(n)) else { return Vec::new() };
    let others = nodes.iter().filter(|(p, n)| p != path && weight(n).is_some_and(|w| w.is(&own)));
    others.map(|(path, node)| Place { id: node.id(), path: path.clone() }).collect()
}

/// `trainable_token_indices` beside adapted layers. A module that is tied to the embedding follows it, unless it has tokens of its own.
pub fn attach_listed(a: &mut Attach<'_>, indices: &TokenIndices, ensure_tying: bool, saved: &[String]) -> Result<()> {
    const FIELD: &str = "trainable_token_indices";
    let embedding = a.model.keys.input_embedding.to_owned();
    let by_module = match indices {
        TokenIndices::List(tokens) => vec![(embedding.clone(), tokens.clone())],
        TokenIndices::ByModule(map) => map.clone(),
    };
    if let Some((module, _)) = by_module.iter().find(|(m, _)| saved.contains(m)) {
        return Err(Error::config(FIELD, format!("{module} is in modules_to_save already")));
    }
    let tied = tied_modules(a.model, &embedding);
    let is_tied = |module: &str| embedding.ends_with(module) || tied.iter().any(|t| t.path.ends_with(module));
    let together: Vec<&(String, Vec<u64>)> =
        by_module.iter().filter(|(m, _)| !tied.is_empty() && by_module.len() > 1 && is_tied(m)).collect();
    let differ = together.iter().any(|(_, tokens)| *tokens != together[0].1);
    if differ && ensure_tying {
        return Err(Error::config(FIELD, "other tokens for tied modules do not go with ensure_weight_tying"));
    }
    let follows = |path: &str| tied.iter().any(|t| t.path == path);
    let mut modules: Vec<Rowed> = Vec::new();
    for (module, tokens) in &by_module {
        let nodes = named_nodes(&a.model.root);
        let meant: Vec<_> = nodes.iter().filter(|(path, _)| path.ends_with(module.as_str())).collect();
        if meant.is_empty() {
            let nearest = nodes.iter().map(|(p, _)| p.clone()).filter(|p| !p.contains('.')).collect();
            return Err(Error::target(format!("{FIELD} {module:?}"), nearest));
        }
        for (path, node) in meant {
            let by_tying = !differ && together.len() > 1 && follows(path);
            if !by_tying && modules.iter().all(|m| m.place.path != *path) {
                let place = Place { id: node.id(), path: path.clone() };
                modules.push(Rowed { place, tokens: tokens.clone(), tied_to: None });
            }
        }
    }
    if modules.iter().any(|m| m.place.path == embedding) && !differ {
        for place in tied {
            if modules.iter().all(|m| m.place.path != place.path) {
                modules.push(Rowed { place, tokens: Vec::new(), tied_to: Some(embedding.clone()) });
            }
        }
    }
    attach(a, &modules, RowsPlace::Wrapper, true)
}

impl TokenRows {
    fn entry(&self, id: AdapterId) -> Option<&Entry> {
        self.ids.binary_search(&id).ok().map(|at| &self.entries[at])
    }

    /// Fails where two of them have rows of one token.
    fn check_apart<'a>(active: impl Iterator<Item = &'a Entry>) -> Result<()> {
        let mut taken = HashSet::new();
        for entry in active {
            if let Some(token) = entry.tokens.iter().collect::<HashSet<_>>().into_iter().find(|t| !taken.insert(**t)) {
                let why = format!("another active adapter has rows of its own for the token {token}, too");
                return Err(Error::Invalid(format!("{}: {why}", entry.name)));
            }
        }
        Ok(())
    }
}

impl Entry {
    /// With this adapter's rows in the embeddings `y [.., width]` of `ids`.
    fn embedded(&self, cx: &Context, y: &Tensor, ids: &Ints, scale: f64) -> Result<Tensor> {
        let row: HashMap<i64, u32> = self.tokens.iter().zip(0..).map(|(&token, i)| (i64::from(token), i)).collect();
        let found = ids.data.iter().zip(0u32..).filter_map(|(id, at)| Some((at, *row.get(id)?)));
        let (places, picked): (Vec<u32>, Vec<u32>) = found.unzip();
        let rows = self.rows.value(cx.grad)?.to_dtype(y.dtype())?;
        if places.is_empty() {
            // Its gradient is zero and not none: an optimizer's weight decay and moments go on.
            let zeros = rows.data().zeros_like()?;
            return Ok(Tensor::from_op(y.data().clone(), &[y, &rows], |g| Ok(vec![Some(g.clone()), Some(zeros)])));
        }
        let rows = if scale == 1. { rows } else { rows.affine(scale, 0.)? };
        let picked = rows.index_select(&Array::from_vec(picked, places.len(), y.device())?, 0)?;
        let flat = y.reshape((ids.data.len(), y.last_dim()))?;
        flat.index_copy(0, &places, &picked)?.reshape(y.dims())
    }

    /// With this adapter's rows in the products `y [.., vocabulary]` of `x`.
    fn projected(&self, cx: &Context, y: &Tensor, x: &Tensor, bias: Option<&Param>) -> Result<Tensor> {
        let rows = self.rows.value(cx.grad)?.to_dtype(x.dtype())?;
        let index = Array::from_slice(&self.tokens, self.tokens.len(), y.device())?;
        let bias = bias.map(|b| b.value(cx.grad)?.to_dtype(x.dtype())?.index_select(&index, 0)).transpose()?;
        let own = ops::linear(x, &rows, bias.as_ref(), WeightLayout::OutIn)?;
        y.index_copy(-1, &self.tokens, &own)
    }
}

impl Tuner for TokenRows {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let active: Vec<&Entry> = cx.active.iter().filter_map(|&id| self.entry(id)).collect();
        Self::check_apart(active.iter().copied())?;
        let (weights, x) = (next.module().weights(), Input::of(&args)?);
        let mut y = next.run(cx, args)?.into_tensor()?;
        for entry in active.into_iter().filter(|e| !e.tokens.is_empty()) {
            y = match (&x, weights) {
                (Input::Ids(ids), Some(Weights::Embedding { scale, .. })) => entry.embedded(cx, &y, ids, scale)?,
                (Input::Tensor(x), Some(Weights::Linear { bias, .. })) => entry.projected(cx, &y, x, bias)?,
                _ => return Err(Error::Invalid("single rows of what is no embedding and no linear layer".into())),
            };
        }
        Ok(y.into())
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    fn rows(&self, _: &Context) -> Result<Rows> {
        Ok(Rows::Apart)
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for group in [self.place.group(), self.place.originals()] {
            v.scope(group);
        }
        for entry in &self.entries {
            v.param(&format!("{}.{}", self.place.group(), entry.name), &entry.rows);
            v.buffer(&format!("{}.{}", self.place.originals(), entry.name), &entry.originals, false);
        }
    }

    /// Of a tied module they are in PEFT's files as well, where the tuner takes the module's place.
    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        let Some(entry) = self.entry(adapter) else { return Vec::new() };
        let part = Part::trained(self.place.group(), &entry.rows);
        let part = if entry.tied && self.place == RowsPlace::Wrapper { part.shared() } else { part };
        let originals = Part::trained(self.place.originals(), &entry.originals).role(Role::Buffer { saved: false });
        vec![part, if entry.tied { originals.shared() } else { originals }]
    }

    fn rename(&mut self, adapter: AdapterId, name: &str) {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.entries[at].name = name.to_owned();
        }
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.entries.remove(at);
        }
        self.ids.is_empty()
    }

    fn base_name(&self) -> Option<&'static str> {
        Some(match self.place {
            RowsPlace::Module => "base_layer",
            RowsPlace::Wrapper => "token_adapter.base_layer",
        })
    }

    /// A tied module's weight is the embedding's, which takes the rows in.
    fn merges(&self) -> bool {
        self.entries.iter().any(|e| !e.tied)
    }

    fn unloads(&self) -> bool {
        true
    }

    fn merged_weight(&self, adapter: AdapterId, weights: &Weights<'_>, w: Array) -> Result<Array> {
        let Some(entry) = self.entry(adapter).filter(|e| !e.tied && !e.tokens.is_empty()) else { return Ok(w) };
        let rows = entry.rows.array()?.to_dtype(w.dtype())?;
        let merged = match weights.kind() {
            WeightKind::Embedding => Tensor::from(w).index_copy(1, &entry.tokens, &rows.t()?.contiguous()?.into())?,
            _ => Tensor::from(w).index_copy(0, &entry.tokens, &rows.into())?,
        };
        Ok(merged.into_data())
    }
}
