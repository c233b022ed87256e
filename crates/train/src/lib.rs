//! Optimizers, schedules, gradient clipping, and which layers train when.

mod adafactor;
mod adamw;
mod adamw8bit;
mod build;
mod clip;
mod galore;
mod lisa;
mod muon;
mod optimizer;
mod schedule;
mod sgd;

pub use adafactor::{Adafactor, AdafactorOptions};
pub use adamw::AdamW;
pub use adamw8bit::AdamW8bit;
pub use build::{OptimizerOptions, ProjectionOptions};
pub use clip::clip_grad_norm;
pub use galore::{GaLoreAdamW, ProjType, Projection, QGaLoreAdamW, Quantisation, DEFAULT_QUANTISATION};
pub use lisa::Lisa;
pub use muon::{AdjustLr, Muon};
pub use optimizer::{Algorithm, Group, Optimizer, Settings, State};
pub use schedule::Schedule;
pub use sgd::Sgd;
