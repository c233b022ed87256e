//! Other names for adapters.

use super::flavor::Flavor;
use super::tuned_model::TunedModel;
use serde_json::Value as Json;
use swift_tuners_nn::module::for_each_node_mut;
use swift_tuners_nn::{Error, Result};

impl TunedModel {
    /// Calls an adapter by another name: in memory, in files that are written from now on, and wherever names are given.
    ///
    /// # Errors
    /// When there is no adapter `from`, `to` is taken or cannot be a name, or another adapter's configuration names `from`.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let id = self.id(from)?;
        if self.flavor == Flavor::Swift {
            return Err(Error::Invalid("SWIFT's adapters keep their names".into()));
        }
        if from == to {
            return Ok(());
        }
        self.check_name(to, Some(from))?;
        if let Some((router, _)) = self.adapters.iter().find(|(_, a)| is_named(a.config.get("arrow_config"), from)) {
            return Err(Error::Invalid(format!("the router {router} chooses among adapters by name, {from} is one")));
        }
        let Some((at, _, adapter)) = self.adapters.shift_remove_full(from) else { return Ok(()) };
        self.adapters.shift_insert(at, to.to_owned(), adapter);
        for_each_node_mut(&mut self.model.root, &mut |node| {
            node.tuners.iter_mut().for_each(|tuner| tuner.rename(id, to));
        });
        Ok(())
    }
}

/// Whether a router's configuration names this adapter.
fn is_named(router: Option<&Json>, name: &str) -> bool {
    let lists = ["task_adapter_names", "gks_adapter_names"].map(|list| router.and_then(|r| r.get(list)));
    lists.into_iter().flatten().filter_map(Json::as_array).flatten().any(|n| n == name)
}
