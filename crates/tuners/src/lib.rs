//! Tuners, the life cycle of a tuned model, and the files of both formats.

pub mod config;
pub mod formats;
pub mod lora;
pub mod modules_to_save;
pub mod registry;
pub mod swift;
pub mod target;

pub use config::AdapterConfig;
pub use swift::{Flavor, TunedModel};
