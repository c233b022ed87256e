//! `modules_to_save`: a trained copy of a whole module per adapter.

use crate::config::check_adapter_name;
use crate::copied::{Copied, CopyKind};
use crate::method::Attach;
use crate::target::{attach_at, has_suffix, Place};
use swift_tuners_nn::module::{named_nodes, Node, NodeList, PartName, Role, VisitorMut};
use swift_tuners_nn::{AdapterId, Error, Model, Param, Result};

/// Runs the active adapter's copy, or the original when none is active.
///
/// PEFT's `ModulesToSaveWrapper`; with peft 0.18 its first copy always runs, here the active one does.
#[derive(Clone)]
pub struct Saved;

impl CopyKind for Saved {
    const WHAT: &'static str = "modules_to_save";
    const BASE_NAME: Option<&'static str> = Some("original_module");
    const ROLE: Role = Role::Copied;
    const REPLACES: bool = true;

    fn name(adapter: &str) -> String {
        format!("modules_to_save.{adapter}")
    }

    fn part(path: String) -> PartName {
        PartName::Plain(path)
    }
}

/// The modules that such a list means. Fails with [`Error::Target`] where there is none.
pub fn places(model: &Model, modules: &[String]) -> Result<Vec<Place>> {
    let nodes = named_nodes(&model.root);
    let meant = nodes.iter().filter(|(path, _)| modules.iter().any(|m| has_suffix(path, m)));
    let places: Vec<Place> = meant.map(|(path, node)| Place { id: node.id(), path: path.clone() }).collect();
    if places.is_empty() && !modules.is_empty() {
        let nearest = nodes.into_iter().map(|(p, _)| p).filter(|p| !p.contains('.')).collect();
        return Err(Error::target(format!("modules_to_save {modules:?}"), nearest));
    }
    Ok(places)
}

/// Adds the adapter's copies, each wrapping its module when it is the first.
pub fn attach(a: &mut Attach<'_>, places: &[Place]) -> Result<()> {
    let (id, name) = (a.id, a.name);
    attach_at(&mut a.model.root, places, |_, node| one(node, id, name))
}

fn one(node: &mut Node, id: AdapterId, name: &str) -> Result<()> {
    check_adapter_name(name)?;
    Copied::<Saved>::attach(node, id, name, |node| node.tuners.len())
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
    one(node, id, name)?;
    if let Some(copy) = node.tuner_mut::<Copied<Saved>>().and_then(|c| c.copy_mut(id)) {
        copy.node.module_mut().visit_mut(&mut Tie(weight));
    }
    Ok(())
}
