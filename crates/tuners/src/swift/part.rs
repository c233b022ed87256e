//! Part: full training of chosen modules, on copies that belong to the adapter.
//!
//! Python's `swift.tuners.part`.

use crate::config::Dialect;
use crate::fields::Required;
use crate::method::{Attach, Attachment, Kind};
use crate::target::{attach_at, SwiftPattern};
use serde_json::Value as Json;
use swift_tuners_nn::module::{own_parameters, Args, Next, Node, Part, Tuner, Value, Visitor, VisitorMut};
use swift_tuners_nn::{AdapterId, Context, Error, Result};

crate::config! {
    /// `PartConfig`
    pub struct PartConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        /// A regular expression for whole names.
        target_modules: Required<SwiftPattern>;
    }
}

/// The kind of tuner.
pub struct PartTuning;

impl Kind for PartTuning {
    const NAME: &'static str = "part";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "PartConfig";
    const ABOUT: &'static str = "Full training of chosen modules, on copies that belong to the adapter.";
    type Config = PartConfig;

    fn attach(config: &PartConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

fn attach(c: &PartConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    let mut places = c.target_modules.0.places(a.model, "target_modules")?;
    places.retain(|p| !p.path.is_empty());
    attach_at(&mut a.model.root, &places, |_, node| {
        let copy = node.deep_copy()?;
        for (_, p) in own_parameters(&copy) {
            p.set_requires_grad(true);
        }
        let copy = Copy { id, name: name.to_owned(), node: copy };
        match node.tuner_mut::<Parts>() {
            Some(parts) => {
                parts.copies.push(copy);
                parts.ids.push(id);
            }
            None => {
                // Inside of a LoRA, which goes on applying to the copy; Python skips modules that LoRA wraps already.
                let at = node.tuners.iter().position(|t| t.merges()).unwrap_or(node.tuners.len());
                node.tuners.insert(at, Box::new(Parts { copies: vec![copy], ids: vec![id] }));
            }
        }
        Ok(())
    })?;
    Ok(Attachment::new(a.config))
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
    /// Theirs, in the same order.
    ids: Vec<AdapterId>,
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

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    /// Saved under the names that the module's own parameters have.
    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        let copies = self.copies.iter().filter(|c| c.id == adapter);
        copies.flat_map(|c| own_parameters(&c.node)).map(|(name, p)| Part::plain(name, p)).collect()
    }

    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        self.copies.iter_mut().for_each(|copy| v.node("", &mut copy.node));
    }

    fn has_nodes(&self) -> bool {
        true
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        self.copies.retain(|c| c.id != adapter);
        self.ids.retain(|&c| c != adapter);
        self.copies.is_empty()
    }
}
