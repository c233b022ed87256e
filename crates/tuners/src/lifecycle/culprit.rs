//! Whose an error of a pass is, by name.

use super::TunedModel;
use swift_tuners_nn::error::Culprit;
use swift_tuners_nn::module::{named_nodes, NodeId};
use swift_tuners_nn::{AdapterId, Error};

impl TunedModel {
    /// The error of a pass with the names of the adapter and the module whose it is. A module that was called as it should not have been
    /// keeps its own words: what it was given came from the caller.
    pub fn explain(&self, error: Error) -> Error {
        match error {
            Error::Located { at: Culprit { node, adapter: Some(id), .. }, source } => {
                let named = Some(format!("{} on {}", self.called(id), self.path_of(node)));
                Error::Located { at: Culprit { node, adapter: Some(id), named }, source }
            }
            Error::Located { at, source } => match *source {
                Error::Shape { .. } => {
                    let named = Some(self.path_of(at.node));
                    Error::Located { at: Culprit { named, ..at }, source }
                }
                own => own,
            },
            other => other,
        }
    }

    fn called(&self, id: AdapterId) -> String {
        match self.adapters().iter().find(|(_, adapter)| adapter.id == id) {
            Some((name, adapter)) => format!("adapter {name:?} ({})", adapter.config.kind),
            None => "an adapter".into(),
        }
    }

    fn path_of(&self, node: NodeId) -> String {
        let nodes = named_nodes(&self.model.root);
        let found = nodes.into_iter().find(|(_, n)| n.id() == node).map(|(path, _)| path);
        found.unwrap_or_else(|| "the model".into())
    }
}
