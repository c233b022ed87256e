//! What tuners do at the steps of a training run.

use crate::adapter_id::AdapterId;
use crate::tensor::Array;
use crate::Result;
use serde_json::Value as Json;
use std::collections::HashMap;

/// A field of an adapter's configuration that a step has changed.
pub struct Changed {
    pub adapter: AdapterId,
    pub field: &'static str,
    pub value: Json,
}

/// What a tuner does at the steps of a training run.
pub trait Steps {
    /// Puts what trains back to where it may be, before an optimizer's step.
    fn constrain(&self) -> Result<()> {
        Ok(())
    }

    /// Acts on what the optimizer's step of this number, from 0 on, has done: values are new, gradients are those that it was made with.
    fn after_step(&self, _step: u64) -> Result<Vec<Changed>> {
        Ok(Vec::new())
    }

    /// What it remembers from step to step beside parameters and configurations, by names of its own.
    fn state(&self) -> Vec<(String, Array)> {
        Vec::new()
    }

    /// Takes what [`Steps::state`] gave; names of others are not looked at.
    fn load_state(&self, _state: &HashMap<String, Array>) -> Result<Vec<Changed>> {
        Ok(Vec::new())
    }
}
