//! Part: full training of chosen modules, on copies that belong to the adapter.
//!
//! Python's `swift.tuners.part`.

use crate::config::{AdapterConfig, Dialect};
use crate::lora::{LoraLayer, MergedLinear};
use crate::registry::{swift_fields, Entry, Traits};
use crate::swift::{Attachment, TunedModel};
use crate::target::{attach_at, SwiftRule};
use serde_json::{json, Map, Value as Json};
use swift_tuners_nn::module::{own_parameters, Args, Next, Node, OwnTensor, TensorName, Tuner};
use swift_tuners_nn::module::{Value, Visitor};
use swift_tuners_nn::{AdapterId, Context, Error, Result};

pub static ENTRY: Entry =
    Entry { kind: "part", dialects: &[Dialect::Swift], defaults, check, attach, traits: Traits::DEFAULT };

fn defaults(_: Dialect) -> Map<String, Json> {
    swift_fields("part", json!({ "target_modules": null }))
}

fn check(c: &AdapterConfig) -> Result<()> {
    SwiftRule::new(c, "target_modules", false).map(|_| ())
}

fn attach(model: &mut TunedModel, id: AdapterId, name: &str, c: &AdapterConfig, _: u64) -> Result<Attachment> {
    let mut places = SwiftRule::new(c, "target_modules", false)?.places(&model.model, c, "target_modules")?;
    places.retain(|p| !p.path.is_empty());
    attach_at(&mut model.model.root, &places, |_, node| {
        let copy = node.deep_copy()?;
        for (_, p) in own_parameters(&copy) {
            p.set_requires_grad(true);
        }
        let copy = Copy { id, name: name.to_owned(), node: copy };
        match node.tuner_mut::<Parts>() {
            Some(parts) => parts.copies.push(copy),
            None => {
                // Inside of a LoRA, which goes on applying to the copy; Python skips modules that LoRA wraps already.
                let wraps = |t: &dyn Tuner| t.as_any().is::<LoraLayer>() || t.as_any().is::<MergedLinear>();
                let at = node.tuners.iter().position(|t| wraps(t.as_ref())).unwrap_or(node.tuners.len());
                node.tuners.insert(at, Box::new(Parts { copies: vec![copy] }));
            }
        }
        Ok(())
    })?;
    Ok(Attachment::new(c))
}

#[derive(Clone)]
struct Copy {
    id: AdapterId,
    name: String,
    node: Node,
}

/// Runs the active adapter's trained copy in the place of the module; the original stays as it is.
#[derive(Clone)]
pub struct Parts {
    copies: Vec<Copy>,
}

impl Tuner for Parts {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let mut active = self.copies.iter().filter(|c| cx.is_active(c.id));
        match (active.next(), active.next()) {
            (Some(a), Some(b)) => Err(Error::Invalid(format!(
                "part: the adapters {} and {} both replace the same module; activate one of them",
                a.name, b.name
            ))),
            (Some(copy), None) => copy.node.call(cx, args),
            _ => next.run(cx, args),
        }
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for copy in &self.copies {
            v.node(&format!("_part_{}", copy.name), &copy.node);
        }
    }

    /// Saved under the names that the module's own parameters have.
    fn tensors(&self, adapter: AdapterId) -> Vec<OwnTensor> {
        let copies = self.copies.iter().filter(|c| c.id == adapter);
        copies
            .flat_map(|c| own_parameters(&c.node))
            .map(|(name, p)| OwnTensor { name: TensorName::Plain(name), param: p.clone(), buffer: false })
            .collect()
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        self.copies.retain(|c| c.id != adapter);
        self.copies.is_empty()
    }
}
