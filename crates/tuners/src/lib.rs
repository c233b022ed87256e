//! Tuners, the life cycle of a tuned model, and the files of both formats.

mod adapter;
mod blocks;
pub mod config;
pub mod formats;
pub mod lifecycle;
mod llamapro;
mod longlora;
pub mod lora;
pub mod method;
pub mod modules_to_save;
mod neftune;
mod part;
mod prompt;
mod reft;
pub mod registry;
mod restuning;
mod scetuning;
mod side;
pub mod target;

pub use config::TunerConfig;
pub use lifecycle::{Flavor, TunedModel};
