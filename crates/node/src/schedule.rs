//! What trains when, and how fast.

use crate::error::guard;
use crate::model::NativeModel;
use crate::shared::Shared;
use napi_derive::napi;
use std::sync::Arc;
use swift_tuners_train::{Lisa, Schedule, ScheduleOptions};

#[napi(object)]
pub struct NativeScheduleOptions {
    pub name: String,
    pub warmup: f64,
    pub total: Option<f64>,
    pub num_cycles: Option<f64>,
    pub power: Option<f64>,
    pub least: Option<f64>,
    pub timescale: Option<f64>,
    pub decay_steps: Option<f64>,
    pub stable_steps: Option<f64>,
    pub warmup_type: Option<String>,
    pub decay_type: Option<String>,
}

impl From<NativeScheduleOptions> for ScheduleOptions {
    fn from(o: NativeScheduleOptions) -> Self {
        let steps = |n: f64| n as u64;
        Self {
            name: o.name,
            warmup: steps(o.warmup),
            total: o.total.map(steps),
            num_cycles: o.num_cycles,
            power: o.power,
            least: o.least,
            timescale: o.timescale,
            decay_steps: o.decay_steps.map(steps),
            stable_steps: o.stable_steps.map(steps),
            warmup_type: o.warmup_type,
            decay_type: o.decay_type,
        }
    }
}

/// Factors on the learning rate.
#[napi]
pub struct NativeSchedule(Schedule);

#[napi]
impl NativeSchedule {
    #[napi(constructor)]
    pub fn new(options: NativeScheduleOptions) -> napi::Result<Self> {
        guard(|| Ok(Self(Schedule::new(&options.into())?)))
    }

    /// The factor at a step, from 0.
    #[napi]
    pub fn factor(&self, step: f64) -> f64 {
        self.0.factor(step as u64)
    }
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
