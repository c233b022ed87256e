//! Tuners, the life cycle of a tuned model, and the files of both formats.

mod adapter;
mod blocks;
pub mod config;
pub mod formats;
mod llamapro;
mod longlora;
pub mod lora;
pub mod merge_files;
pub mod modules_to_save;
mod neftune;
mod part;
mod pass;
mod prompt;
mod reft;
pub mod registry;
mod restuning;
mod scetuning;
mod side;
mod state;
pub mod swift;
pub mod target;

pub use config::AdapterConfig;
pub use swift::{Flavor, TunedModel};
