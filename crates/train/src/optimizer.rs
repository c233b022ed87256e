//! What all optimizers share: groups of parameters, a state per parameter that can be saved, and the step.

use crate::algorithm::{Algorithm, Settings, State};
use crate::projection::Projection;
use crate::range::range;
use candle_core::{DType, Device};
use std::collections::{HashMap, HashSet};
use swift_tuners_nn::ops::compute_dtype;
use swift_tuners_nn::{Array, Error, Param, Result};

/// Parameters with settings of their own; what is absent is the optimizer's.
#[derive(Clone, Default)]
pub struct Group {
    pub params: Vec<(String, Param)>,
    pub lr: Option<f64>,
    pub weight_decay: Option<f64>,
    /// GaLore's low-rank space; only its optimizers take one.
    pub projection: Option<Projection>,
}

pub struct Optimizer {
    pub groups: Vec<Group>,
    lr: f64,
    weight_decay: f64,
    algorithm: Box<dyn Algorithm>,
    /// By parameter name, so that a saved state finds its parameter again.
    state: HashMap<String, State>,
}

impl Optimizer {
    /// Fails with [`Error::Config`] when a setting is out of range or a parameter occurs twice.
    pub fn new(groups: Vec<Group>, lr: f64, weight_decay: f64, algorithm: impl Algorithm + 'static) -> Result<Self> {
        check_settings(Some(lr), Some(weight_decay))?;
        let mut seen = HashSet::new();
        for group in &groups {
            check_settings(group.lr, group.weight_decay)?;
            if let Some(projection) = &group.projection {
                if !algorithm.projects() {
                    return Err(Error::config("rank", "only the GaLore optimizers have a low-rank space"));
                }
                projection.check()?;
            }
            for (name, param) in &group.params {
                algorithm.check_param(name, param)?;
                if group.projection.is_some() && param.shape().len() != 2 {
                    return Err(Error::config("rank", format!("{name} is no matrix and cannot be projected")));
                }
                if !seen.insert(param.id()) {
                    return Err(Error::config("params", format!("{name} is in more than one group")));
                }
            }
        }
        Ok(Self { groups, lr, weight_decay, algorithm: Box::new(algorithm), state: HashMap::new() })
    }

    /// New learning rates and decays, one pair per group. All are checked before any is set.
    pub fn configure(&mut self, settings: &[(Option<f64>, Option<f64>)]) -> Result<()> {
        settings.iter().try_for_each(|&(lr, decay)| check_settings(lr, decay))?;
        for (group, &(lr, decay)) in self.groups.iter_mut().zip(settings) {
            (group.lr, group.weight_decay) = (lr, decay);
        }
        Ok(())
    }

    /// All parameters, for clipping and for clearing gradients.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.groups.iter().flat_map(|g| g.params.iter().map(|(_, p)| p))
    }

    /// Updates every parameter that has a gradient; those without are skipped, also by weight decay. `lr_scale` is a
    /// schedule's factor on every group's learning rate.
    pub fn step(&mut self, lr_scale: f64) -> Result<()> {
        let Self { groups, lr, weight_decay, algorithm, state } = self;
        for group in groups.iter() {
            for (name, param) in &group.params {
                let Some(grad) = param.grad() else { continue };
                let settings = Settings {
                    name,
                    lr: group.lr.unwrap_or(*lr) * lr_scale,
                    weight_decay: group.weight_decay.unwrap_or(*weight_decay),
                    projection: group.projection.as_ref(),
                };
                let value = param.array()?;
                let wide = compute_dtype(value.dtype());
                let s = state.entry(name.clone()).or_default();
                s.step += 1;
                let updated = algorithm.update(&settings, &value.to_dtype(wide)?, &grad.to_dtype(wide)?, s)?;
                param.replace(updated.to_dtype(value.dtype())?);
            }
        }
        Ok(())
    }

    /// `{name}.{key}` for every tensor that is kept, and `{name}.step`.
    pub fn state_dict(&self) -> Result<Vec<(String, Array)>> {
        let mut names: Vec<&String> = self.state.keys().collect();
        names.sort();
        let mut out = Vec::new();
        for name in names {
            let s = &self.state[name];
            out.extend(s.tensors.iter().map(|(key, t)| (format!("{name}.{key}"), t.clone())));
            out.push((format!("{name}.step"), Array::new(s.step as i64, &Device::Cpu)?));
        }
        Ok(out)
    }

    /// Restores what [`Optimizer::state_dict`] gave. All is checked before anything is changed.
    pub fn load_state_dict(&mut self, tensors: &HashMap<String, Array>) -> Result<()> {
        let mut known: HashMap<&str, (&Param, Settings<'_>)> = HashMap::new();
        for group in &self.groups {
            for (name, param) in &group.params {
                let settings = Settings {
                    name,
                    lr: group.lr.unwrap_or(self.lr),
                    weight_decay: group.weight_decay.unwrap_or(self.weight_decay),
                    projection: group.projection.as_ref(),
                };
                known.insert(name, (param, settings));
            }
        }
        let mut state: HashMap<String, State> = HashMap::new();
        for (full, tensor) in tensors {
            let found = full.rsplit_once('.').filter(|(_, key)| *key == "step" || self.algorithm.keys().contains(key));
            let (name, key) =
                found.ok_or_else(|| Error::Argument(format!("optimizer state: {full} is no moment or step")))?;
            let (param, settings) = known
                .get(name)
                .ok_or_else(|| Error::Argument(format!("optimizer state: no parameter is called {name}")))?;
            let s = state.entry(name.to_owned()).or_default();
            if key == "step" {
                let number = tensor.reshape(()).ok().and_then(|t| t.to_dtype(DType::I64).ok()?.to_scalar::<i64>().ok());
                s.step = number
                    .and_then(|n| u64::try_from(n).ok())
                    .ok_or_else(|| Error::Argument(format!("optimizer state: {full} is no number of steps")))?;
                continue;
            }
            let key = self.algorithm.keys().iter().find(|k| **k == key).expect("filtered above");
            if let Some(expected) = self.algorithm.shape(key, &param.shape(), settings) {
                if tensor.dims() != expected {
                    return Err(Error::Shape { path: full.clone(), expected, actual: tensor.dims().to_vec() });
                }
            }
            let wide = compute_dtype(param.dtype());
            let value = if tensor.dtype().is_float() && tensor.dtype() != DType::F64 {
                tensor.to_dtype(wide)?
            } else {
                tensor.clone()
            };
            s.tensors.insert(key, value.to_device(&param.device())?);
        }
        for (name, s) in &state {
            if s.step == 0 {
                return Err(Error::Argument(format!("optimizer state: {name}.step is missing")));
            }
        }
        self.state = state;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn state_of(&mut self, name: &str) -> &mut State {
        self.state.entry(name.to_owned()).or_default()
    }
}

fn check_settings(lr: Option<f64>, weight_decay: Option<f64>) -> Result<()> {
    for (name, value) in [("lr", lr), ("weightDecay", weight_decay)] {
        if let Some(v) = value {
            range(name, v >= 0. && v.is_finite(), v)?;
        }
    }
    Ok(())
}
