//! What an optimizer's algorithm is given, keeps and does.

use crate::projection::Projection;
use std::collections::BTreeMap;
use swift_tuners_nn::{Array, Param, Result};

/// One way of turning gradients into updates.
pub trait Algorithm: Send {
    /// Names of the tensors that it keeps per parameter.
    fn keys(&self) -> &'static [&'static str];

    /// Whether it works on this parameter at all.
    fn check_param(&self, _name: &str, _param: &Param) -> Result<()> {
        Ok(())
    }

    /// Whether groups may have a low-rank space.
    fn projects(&self) -> bool {
        false
    }

    /// The new value. `value` and `grad` are in f32 (f64 for f64 parameters), also for half-precision parameters;
    /// `state.step` counts this step already.
    fn update(&self, settings: &Settings<'_>, value: &Array, grad: &Array, state: &mut State) -> Result<Array>;

    /// The shape that a saved tensor must have for this parameter; `None` where any will do.
    fn shape(&self, key: &str, param: &[usize], settings: &Settings<'_>) -> Option<Vec<usize>>;
}

/// What one update goes by.
pub struct Settings<'a> {
    /// The parameter's.
    pub name: &'a str,
    pub lr: f64,
    pub weight_decay: f64,
    pub projection: Option<&'a Projection>,
}

/// What is kept for one parameter between steps.
#[derive(Clone, Default)]
pub struct State {
    /// Steps done.
    pub step: u64,
    pub tensors: BTreeMap<&'static str, Array>,
}

impl State {
    pub fn get(&self, key: &str) -> Option<&Array> {
        self.tensors.get(key)
    }

    /// A moment, zeros at the start.
    pub fn moment(&self, key: &str, like: &Array) -> Result<Array> {
        match self.tensors.get(key) {
            Some(m) => Ok(m.clone()),
            None => Ok(like.zeros_like()?),
        }
    }

    pub fn put(&mut self, key: &'static str, value: Array) {
        self.tensors.insert(key, value);
    }
}
