//! What data told of layers before adapters are made for them.

use std::collections::HashMap;
use swift_tuners_nn::{Array, Result};

/// A mean over what was measured so far.
#[derive(Clone)]
pub struct Mean {
    sum: Array,
    count: f64,
}

impl Mean {
    pub fn array(&self) -> Result<Array> {
        Ok((&self.sum / self.count)?)
    }
}

/// Of one layer: a gradient `[out, in]`, a covariance `[in, in]`.
#[derive(Clone, Default)]
pub struct Measured {
    pub gradient: Option<Mean>,
    pub covariance: Option<Mean>,
}

/// By path.
pub type Measurements = HashMap<String, Measured>;

/// Adds one value to a mean.
pub fn add(mean: &mut Option<Mean>, value: Array) -> Result<()> {
    *mean = Some(match mean.take() {
        Some(Mean { sum, count }) => Mean { sum: (sum + value)?, count: count + 1. },
        None => Mean { sum: value, count: 1. },
    });
    Ok(())
}
