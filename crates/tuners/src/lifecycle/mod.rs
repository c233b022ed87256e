//! The life cycle of a tuned model: SWIFT's `Swift` and `SwiftModel`, and PEFT's `PeftModel`, over one tree.

mod activation;
mod adapter;
mod culprit;
mod flavor;
mod groups;
mod measure;
mod merge;
mod prepare;
mod rename;
mod replace;
mod slots;
mod status;
mod steps;
mod trainable;
mod transaction;
mod tuned_model;
mod weighted;

pub use activation::{Offload, RowIds};
pub use adapter::Adapter;
pub use flavor::{Flavor, Naming};
pub use groups::{GaLoreGroup, ParamGroup};
pub use measure::Measure;
pub use prepare::PrepareOptions;
pub use slots::{Format, Slot};
pub use status::{AdapterStatus, LayerStatus};
pub use swift_tuners_nn::combine::{Combination, SignMethod};
pub(crate) use tuned_model::no_parameter;
pub use tuned_model::TunedModel;
pub use weighted::WeightedOptions;
