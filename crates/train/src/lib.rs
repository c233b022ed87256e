//! Optimizers, schedules and gradient clipping.

mod adamw;
mod clip;
mod schedule;

pub use adamw::{AdamW, AdamWOptions, Group};
pub use clip::clip_grad_norm;
pub use schedule::Schedule;
