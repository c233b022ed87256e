//! What trains when, and how fast.

use crate::error::guard;
use crate::model::NativeModel;
use crate::shared::Shared;
use napi_derive::napi;
use std::sync::Arc;
use swift_tuners_nn::Error;
use swift_tuners_train::{Lisa, Schedule};

/// The factor on the learning rate at a step.
#[napi]
pub fn schedule_factor(name: String, step: f64, warmup: f64, total: f64) -> napi::Result<f64> {
    guard(|| {
        let schedule = Schedule::parse(&name)
            .ok_or_else(|| Error::config("schedule.name", "expected constant, linear or cosine"))?;
        Ok(schedule.factor(step as u64, warmup as u64, total as u64))
    })
}

/// Which layers of a model train when.
#[napi]
pub struct NativeLisa {
    lisa: Lisa,
    shared: Arc<Shared>,
}

#[napi]
impl NativeLisa {
    #[napi(constructor)]
    pub fn new(model: &NativeModel, active: u32, interval: f64, seed: f64) -> napi::Result<Self> {
        guard(|| {
            let shared = model.get()?;
            let lisa = Lisa::new(&shared.tree.read_recursive().model, active as usize, interval as u64, seed as u64)?;
            Ok(Self { lisa, shared })
        })
    }

    /// Makes the layers of a step (from 0) train and freezes the others; resolves to their indices.
    #[napi]
    pub fn apply(&self, step: f64) -> napi::Result<Vec<u32>> {
        guard(|| {
            let tree = self.shared.tree.read_recursive();
            Ok(self.lisa.apply(&tree.model, step as u64).into_iter().map(|i| i as u32).collect())
        })
    }
}
