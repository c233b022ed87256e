//! Optimizers, schedules, gradient clipping, and which layers train when.

mod adafactor;
mod adamw;
mod adamw8bit;
mod algorithm;
mod build;
mod clip;
mod galore;
mod lisa;
mod lora_fa;
mod muon;
mod optimizer;
mod projection;
mod projector;
mod q_galore;
mod range;
mod schedule;
mod sgd;
#[cfg(test)]
mod testing;

pub use adafactor::{Adafactor, AdafactorOptions};
pub use adamw::AdamW;
pub use adamw8bit::AdamW8bit;
pub use algorithm::{Algorithm, Settings, State};
pub use build::{OptimizerOptions, ProjectionOptions};
pub use clip::clip_grad_norm;
pub use galore::GaLoreAdamW;
pub use lisa::Lisa;
pub use lora_fa::{LoraFa, Pair};
pub use muon::{AdjustLr, Muon};
pub use optimizer::{Group, Optimizer};
pub use projection::{ProjType, Projection, Quantisation, DEFAULT_QUANTISATION};
pub use q_galore::QGaLoreAdamW;
pub use schedule::{Schedule, ScheduleOptions};
pub use sgd::Sgd;
