//! The module tree and its one door.
//!
//! A [`Node`] owns a module and the tuners attached at that place. [`Node::call`] is the only way to run it: the call goes
//! through the tuners, outermost first, and each decides when, whether and with what to continue. Names come from walking
//! the tree and are stored nowhere.

mod args;
mod door;
mod field;
mod merge;
mod node;
mod part;
mod recompute;
mod steps;
mod value;
mod walk;
mod weights;

pub use args::Args;
pub use door::{Module, Rows, Tuner, TunerObject, Visitor, VisitorMut, FORWARD};
pub use field::Field;
pub use node::{Next, Node, NodeId, NodeList};
pub use part::{Excerpt, Own, Part, PartName, Rate, Role};
pub use recompute::checkpointed;
pub use steps::{Changed, Steps};
pub use value::{Ints, Position, RopeValue, Value};
pub use walk::{
    all_parameters, for_each_list_mut, for_each_node_mut, model_nodes, named_nodes, named_parameters, names_beside,
    node_below, own_parameters, saved_nodes, saved_state, walk, Item,
};
pub use weights::{WeightKind, Weights};
