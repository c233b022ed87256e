//! Tuners, the life cycle of a tuned model, and the files of both formats.

mod bank;
mod bias;
mod blocks;
pub mod config;
mod copied;
mod declare;
pub mod fields;
pub mod formats;
mod init;
mod layer;
mod layers;
pub mod lifecycle;
pub mod lora;
mod measured;
pub mod merge_files;
pub mod method;
pub mod modules_to_save;
mod nearest;
mod pass;
mod pattern;
mod peft;
mod prompt_learning;
pub mod registry;
mod site;
mod standard;
pub mod state;
mod swift;
pub mod target;
mod tokens;
mod typescript;

pub use config::TunerConfig;
pub use lifecycle::{Flavor, TunedModel};
pub use typescript::typescript;
