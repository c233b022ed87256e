//! `modules_to_save`: a trained copy of a whole module per adapter.

use crate::config::check_adapter_name;
use crate::target::{self, Place};
use std::collections::HashSet;
use swift_tuners_nn::module::{
    all_parameters, named_nodes, Args, Next, Node, NodeList, Part, Role, Rows, Tuner, Value, Visitor, VisitorMut,
};
use swift_tuners_nn::{AdapterId, Context, Error, Model, Param, Result};

/// Runs the active adapter's copy, or the original when none is active.
///
/// PEFT's `ModulesToSaveWrapper`; with peft 0.18 its first copy always runs, here the active one does.
#[derive(Clone, Default)]
pub struct ModulesToSave {
    copies: Vec<Copy>,
    /// Theirs, in the same order.
    ids: Vec<AdapterId>,
}

/// The modules that `names` mean, without those that are adapted.
pub(crate) fn places(model: &Model, names: &[String], adapted: &HashSet<&String>) -> Result<Vec<Place>> {
    let nodes = named_nodes(&model.root).into_iter();
    let meant = |path: &String| !adapted.contains(path) && names.iter().any(|m| target::has_suffix(path, m));
    let found: Vec<Place> =
        nodes.filter(|(path, _)| meant(path)).map(|(path, node)| Place { id: node.id(), path }).collect();
    if !names.is_empty() && found.is_empty() {
        return Err(Error::Target {
            pattern: format!("modules_to_save {names:?}"),
            nearest: named_nodes(&model.root).into_iter().map(|(p, _)| p).filter(|p| !p.contains('.')).collect(),
        });
    }
    Ok(found)
}

#[derive(Clone)]
pub struct Copy {
    pub id: AdapterId,
    pub name: String,
    pub node: Node,
}

impl ModulesToSave {
    /// Adds an adapter's trainable copy of the node it sits on, wrapping the node when it is the first.
    pub fn attach(node: &mut Node, id: AdapterId, name: &str) -> Result<()> {
        check_adapter_name(name)?;
        let copy = node.deep_copy()?;
        for (_, p) in all_parameters(&copy) {
            p.set_requires_grad(true);
        }
        let copy = Copy { id, name: name.to_owned(), node: copy };
        match node.tuner_mut::<Self>() {
            Some(wrapper) => {
                wrapper.copies.push(copy);
                wrapper.ids.push(id);
            }
            None => node.tuners.push(Box::new(Self { copies: vec![copy], ids: vec![id] })),
        }
        Ok(())
    }

    /// Adds a copy whose weight is another copy's (`ensure_weight_tying`).
    pub fn attach_tied(node: &mut Node, id: AdapterId, name: &str, weight: &Param) -> Result<()> {
        struct Tie<'p>(&'p Param);
        impl VisitorMut for Tie<'_> {
            fn param(&mut self, name: &str, param: &mut Param) {
                if name == "weight" {
                    *param = self.0.clone();
                }
            }
            fn node(&mut self, _: &str, _: &mut Node) {}
            fn list(&mut self, _: &str, _: &mut NodeList) {}
        }
        Self::attach(node, id, name)?;
        let copy = node.tuner_mut::<Self>().and_then(|w| w.copies.iter_mut().find(|c| c.id == id));
        if let Some(copy) = copy {
            copy.node.module_mut().visit_mut(&mut Tie(weight));
        }
        Ok(())
    }

    fn active(&self, cx: &Context) -> Result<Option<&Copy>> {
        let mut active = self.copies.iter().filter(|c| cx.is_active(c.id));
        let first = active.next();
        if let (Some(a), Some(b)) = (first, active.next()) {
            return Err(Error::Invalid(format!(
                "modules_to_save: the adapters {} and {} both replace the same module; activate one of them",
                a.name, b.name
            )));
        }
        Ok(first)
    }
}

impl Tuner for ModulesToSave {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        match self.active(cx)? {
            Some(copy) => copy.node.call(cx, args),
            None => next.run(cx, args),
        }
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    fn rows(&self, cx: &Context) -> Result<Rows> {
        // The cache of a decoding pass is of all rows together.
        let whole = |c: &Copy| cx.is_active(c.id) && named_nodes(&c.node).len() > 1;
        if cx.cache.is_some() && self.copies.iter().any(whole) {
            return Err(Error::Invalid("adapterNames: generation with a whole block in modules_to_save".into()));
        }
        Ok(Rows::Apart)
    }

    fn parts(&self, id: AdapterId) -> Vec<Part<'_>> {
        let copies = self.copies.iter().filter(|c| c.id == id);
        let params = copies.flat_map(|c| all_parameters(&c.node));
        params.map(|(name, p)| Part::plain(name, p).role(Role::Copied)).collect()
    }

    fn unloads(&self) -> bool {
        true
    }

    fn replacement(&self, ids: &[AdapterId]) -> Option<&Node> {
        self.copies.iter().find(|c| ids.contains(&c.id)).map(|c| &c.node)
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for copy in &self.copies {
            v.node(&format!("modules_to_save.{}", copy.name), &copy.node);
        }
    }

    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        self.copies.iter_mut().for_each(|copy| v.node("", &mut copy.node));
    }

    fn has_nodes(&self) -> bool {
        true
    }

    fn detach(&mut self, id: AdapterId) -> bool {
        self.copies.retain(|c| c.id != id);
        self.ids.retain(|&c| c != id);
        self.copies.is_empty()
    }

    fn base_name(&self) -> Option<&'static str> {
        Some("original_module")
    }
}
