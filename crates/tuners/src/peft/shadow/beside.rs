//! The small networks beside the model: the first state of a pass, and their part of the loss.

use super::backbone::Backbone;
use super::block::STATE;
use crate::method::Attach;
use std::sync::Arc;
use swift_tuners_nn::models::LOSS;
use swift_tuners_nn::module::{Args, Next, Part, PartName, Role, Tuner, Value, Visitor, FORWARD};
use swift_tuners_nn::{AdapterId, Context, Error, Param, Result};

/// Where a pass keeps the first state, and the mask of its tokens.
const FIRST: usize = STATE + 1;
const MASK: usize = STATE + 2;

/// What keeps the networks' tensors.
const GROUPS: [&str; 3] = ["shadow_backbone", "shadow_projection", "shadow_head"];

#[derive(Clone)]
struct Entry {
    name: String,
    backbone: Arc<Backbone>,
}

/// All Shadow adapters of a model; one of them may be active.
#[derive(Clone, Default)]
struct Beside {
    ids: Vec<AdapterId>,
    entries: Vec<Entry>,
}

pub fn attach(a: &mut Attach<'_>, backbone: Backbone) {
    let root = &mut a.model.root;
    if root.tuner::<Beside>().is_none() {
        root.tuners.push(Box::new(Beside::default()));
    }
    if let Some(beside) = root.tuner_mut::<Beside>() {
        beside.ids.push(a.id);
        beside.entries.push(Entry { name: a.name.to_owned(), backbone: Arc::new(backbone) });
    }
}

impl Beside {
    fn entry(&self, id: AdapterId) -> Option<&Entry> {
        self.ids.binary_search(&id).ok().map(|at| &self.entries[at])
    }

    fn active(&self, cx: &Context) -> Result<(AdapterId, &Backbone)> {
        let mut active = cx.active.iter().filter_map(|&id| Some((id, self.entry(id)?)));
        match (active.next(), active.next()) {
            (Some((id, entry)), None) => Ok((id, &entry.backbone)),
            (Some((_, a)), Some((_, b))) => Err(Error::Invalid(format!(
                "{} and {} both run a network beside the model; activate one of them",
                a.name, b.name
            ))),
            (None, _) => Err(Error::Invalid("no shadow network is active".into())),
        }
    }
}

impl Tuner for Beside {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let (id, backbone) = self.active(cx)?;
        let base = next.module();
        if next.method() == FORWARD {
            let first = backbone.state(cx, id, base, &args)?;
            cx.put_tap(id, MASK, args.named("attention_mask").clone());
            cx.put_tap(id, FIRST, first.clone().into());
            cx.put_tap(id, STATE, first.into());
            return next.run(cx, args);
        }
        let Value::Tensor(loss) = next.run(cx, args.clone())? else { return Ok(Value::None) };
        let Some(Value::Tensor(first)) = cx.tap(id, FIRST) else { return Ok(loss.into()) };
        let mask = match cx.tap(id, MASK) {
            Some(Value::Ints(mask)) => Some(mask),
            _ => None,
        };
        Ok(match backbone.loss(cx, base, &first, mask.as_ref(), &args)? {
            Some(term) => loss.add(&term.to_dtype(loss.dtype())?)?.into(),
            None => loss.into(),
        })
    }

    fn surrounds(&self, method: &str) -> bool {
        method == FORWARD || method == LOSS
    }

    /// It looks at nothing that the model gives, so that a loss may come without logits.
    fn reads_output(&self) -> bool {
        false
    }

    fn idle(&self) -> Vec<&Param> {
        self.entries.iter().flat_map(|entry| entry.backbone.idle()).collect()
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    /// Files have `default` in the place of any adapter's name.
    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        let Some(Entry { name, backbone }) = self.entry(adapter) else { return Vec::new() };
        let keys = backbone.parameters("default").into_iter().map(|(key, _)| format!("base_model.{key}"));
        let named = backbone.parameters(name).into_iter().zip(keys);
        let one = |((name, param), key)| {
            let role = if backbone.is_frozen(param) { Role::Frozen } else { Role::Trained };
            Part::of(PartName::Beside { name, key }, param).role(role)
        };
        named.map(one).collect()
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for group in GROUPS {
            v.scope(group);
            for Entry { name, backbone } in &self.entries {
                let all = backbone.parameters(name).into_iter();
                all.filter(|(full, _)| full.starts_with(group)).for_each(|(full, param)| v.param(&full, param));
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
}
