//! A wrapped block.

use super::ShadowConfig;
use crate::blocks::{Bottleneck, Dense};
use crate::init::Init;
use swift_tuners_nn::module::{Args, Next, Node, Part, PartName, Position, Tuner, Value, Visitor};
use swift_tuners_nn::ops::Activation;
use swift_tuners_nn::{AdapterId, Context, Error, Param, Result, Tensor};

/// Where a pass keeps the state.
pub const STATE: usize = 0;

/// What keeps a block's tensors; the dropout's has none.
const GROUPS: [&str; 5] =
    ["shadow_down", "shadow_up", "shadow_dropout", "shadow_update_transform", "shadow_update_gate"];

/// One adapter at one block: `x = h + α U D (h − s)` goes in, and of what comes out, `o`, the next state is
/// `(1 − g) s + g T(o)` with `g = σ(G(o))`.
#[derive(Clone)]
pub struct Entry {
    name: String,
    /// D `[r, width]`
    down: Dense,
    /// U `[width, r]`
    up: Dense,
    transform: Bottleneck,
    gate: Bottleneck,
    alpha: f64,
    dropout: f64,
    /// Nobody takes its state in.
    last: bool,
}

impl Entry {
    pub fn new(c: &ShadowConfig, name: &str, width: usize, last: bool, init: &mut Init) -> Result<Self> {
        let down = init.dense(width, c.r, false)?;
        let up = if c.init_weights {
            init.discard_dense(c.r, width, false)?;
            Dense { weight: init.constant(&[width, c.r], 0.)?, bias: None }
        } else {
            init.dense(c.r, width, false)?
        };
        let inner = c.update_width();
        let mut network = || -> Result<Bottleneck> {
            let down = init.dense(width, inner, true)?;
            Ok(Bottleneck { down, up: init.dense(inner, width, true)?, act: Activation::Gelu })
        };
        let (transform, gate) = (network()?, network()?);
        let (alpha, dropout) = (c.shadow_alpha, c.shadow_dropout.0);
        Ok(Self { name: name.to_owned(), down, up, transform, gate, alpha, dropout, last })
    }

    fn injected(&self, cx: &Context, hidden: &Tensor, state: &Tensor) -> Result<Tensor> {
        let apart = hidden.sub(&state.to_dtype(hidden.dtype())?)?.to_dtype(self.down.weight.dtype())?;
        let apart = self.down.apply(cx, &cx.dropout(&apart, self.dropout)?)?;
        let correction = self.up.apply(cx, &apart)?.affine(self.alpha, 0.)?;
        hidden.add(&correction.to_dtype(hidden.dtype())?)
    }

    fn updated(&self, cx: &Context, out: &Tensor, state: &Tensor) -> Result<Tensor> {
        let dtype = self.down.weight.dtype();
        let out = out.to_dtype(dtype)?;
        let candidate = self.transform.apply(cx, &out)?;
        let gate = self.gate.apply(cx, &out)?.sigmoid()?;
        let kept = gate.affine(-1., 1.)?.mul(&state.to_dtype(dtype)?)?;
        kept.add(&gate.mul(&candidate)?)?.to_dtype(state.dtype())
    }

    /// Group, what follows the adapter's name there, and the parameter.
    fn tensors(&self) -> Vec<(&'static str, String, &Param)> {
        let mut all =
            vec![(GROUPS[0], ".weight".to_owned(), &self.down.weight), (GROUPS[1], ".weight".into(), &self.up.weight)];
        for (group, network) in [(GROUPS[3], &self.transform), (GROUPS[4], &self.gate)] {
            for (at, dense) in [(0, &network.down), (2, &network.up)] {
                all.push((group, format!(".{at}.weight"), &dense.weight));
                all.extend(dense.bias.iter().map(|bias| (group, format!(".{at}.bias"), bias)));
            }
        }
        all
    }
}

/// All Shadow adapters of one block.
#[derive(Clone, Default)]
pub struct ShadowBlock {
    ids: Vec<AdapterId>,
    entries: Vec<Entry>,
}

impl ShadowBlock {
    pub fn attach(node: &mut Node, id: AdapterId, entry: Entry) {
        if node.tuner::<Self>().is_none() {
            node.tuners.push(Box::new(Self::default()));
        }
        if let Some(block) = node.tuner_mut::<Self>() {
            block.ids.push(id);
            block.entries.push(entry);
        }
    }

    fn entry(&self, id: AdapterId) -> Option<&Entry> {
        self.ids.binary_search(&id).ok().map(|at| &self.entries[at])
    }
}

impl Tuner for ShadowBlock {
    fn around(&self, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        let active = cx.active.iter().find_map(|&id| Some((id, self.entry(id)?)));
        let Some((id, entry)) = active else { return next.run(cx, args) };
        let Some(Value::Tensor(state)) = cx.tap(id, STATE) else {
            return Err(Error::Invalid(format!("{}: a wrapped block runs without its model", entry.name)));
        };
        match args.get_mut(&Position::Index(0))? {
            Value::Tensor(hidden) => *hidden = entry.injected(cx, hidden, &state)?,
            other => return Err(Error::Argument(format!("a block is called with {} first", other.kind()))),
        }
        let mut value = next.run(cx, args)?;
        if !entry.last {
            let out = value.element_mut(&Some(Position::Index(0)))?;
            cx.put_tap(id, STATE, entry.updated(cx, out, &state)?.into());
        }
        Ok(value)
    }

    /// What would move the last state on.
    fn idle(&self) -> Vec<&Param> {
        let last = self.entries.iter().filter(|entry| entry.last);
        let updates = last.flat_map(Entry::tensors).filter(|(group, ..)| GROUPS[3..].contains(group));
        updates.map(|(.., param)| param).collect()
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    /// Files have `default` in the place of any adapter's name.
    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        let tensors = self.entry(adapter).map(Entry::tensors).unwrap_or_default();
        let one = |(group, leaf, param): (_, String, _)| {
            let saved = format!(".default{leaf}").into();
            Part::of(PartName::Grouped { group, leaf: leaf.into(), saved }, param)
        };
        tensors.into_iter().map(one).collect()
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for group in GROUPS {
            v.scope(group);
            for entry in &self.entries {
                for (at, leaf, param) in entry.tensors() {
                    if at == group {
                        v.param(&format!("{group}.{}{leaf}", entry.name), param);
                    }
                }
            }
        }
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
        Some("base_layer")
    }
}
