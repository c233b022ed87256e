//! AdamW over a model's parameters.

use crate::error::guard;
use crate::job::job;
use crate::model::{NativeModel, NativeStateDict, Shared};
use crate::tensor::NativeTensor;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::{Error, Param};
use swift_tuners_train::{clip_grad_norm, AdamW, AdamWOptions, Group, Schedule};

/// A trainable parameter by reference: a model's, or one that JavaScript made for a head of its own.
#[napi]
pub struct NativeParameter {
    name: String,
    param: Param,
    shared: Option<Arc<Shared>>,
}

#[napi]
impl NativeParameter {
    /// A parameter that belongs to no model, with a copy of `value`.
    #[napi(constructor)]
    pub fn new(name: String, value: &NativeTensor) -> napi::Result<Self> {
        guard(|| {
            let value = value.get()?.into_data();
            if !value.dtype().is_float() {
                return Err(Error::Argument(format!("parameter {name}: {:?} values cannot be trained", value.dtype())));
            }
            Ok(Self { name, param: Param::new(value.copy()?, true), shared: None })
        })
    }

    #[napi(factory)]
    pub fn of_model(model: &NativeModel, name: String) -> napi::Result<Self> {
        guard(|| {
            let shared = model.get()?;
            let param = shared.tree.read_recursive().parameter(&name)?;
            Ok(Self { name, param, shared: Some(shared) })
        })
    }

    #[napi(getter)]
    pub fn shape(&self) -> Vec<u32> {
        self.param.shape().iter().map(|&d| d as u32).collect()
    }

    /// The value as an input of differentiable operations.
    #[napi(getter)]
    pub fn value(&self) -> napi::Result<NativeTensor> {
        guard(|| Ok(self.param.value(true)?.into()))
    }

    #[napi(getter)]
    pub fn grad(&self) -> Option<NativeTensor> {
        self.param.grad().map(Into::into)
    }

    #[napi]
    pub fn zero_grad(&self) {
        self.param.set_grad(None);
    }
}

#[napi(object)]
pub struct NativeAdamWOptions {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

/// Settings of one group; what is absent is the optimizer's.
#[napi(object)]
pub struct NativeGroupOptions {
    pub lr: Option<f64>,
    pub weight_decay: Option<f64>,
}

/// Parameters in groups, collected one by one: napi hands over no lists of class instances.
#[napi]
pub struct NativeGroups {
    groups: Vec<Vec<(String, Param)>>,
    models: Vec<Arc<Shared>>,
}

#[napi]
impl NativeGroups {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { groups: Vec::new(), models: Vec::new() }
    }

    #[napi]
    pub fn add_group(&mut self) {
        self.groups.push(Vec::new());
    }

    /// Adds to the newest group.
    #[napi]
    pub fn add(&mut self, parameter: &NativeParameter) {
        if let Some(shared) = &parameter.shared {
            if !self.models.iter().any(|m| Arc::ptr_eq(m, shared)) {
                self.models.push(shared.clone());
            }
        }
        if let Some(group) = self.groups.last_mut() {
            group.push((parameter.name.clone(), parameter.param.clone()));
        }
    }
}

#[napi]
pub struct NativeAdamW {
    inner: Arc<Mutex<AdamW>>,
    models: Vec<Arc<Shared>>,
}

#[napi]
impl NativeAdamW {
    #[napi(constructor)]
    pub fn new(groups: &NativeGroups, options: NativeAdamWOptions) -> napi::Result<Self> {
        guard(|| {
            let made =
                groups.groups.iter().map(|params| Group { params: params.clone(), lr: None, weight_decay: None });
            let options = AdamWOptions {
                lr: options.lr,
                betas: (options.beta1, options.beta2),
                eps: options.eps,
                weight_decay: options.weight_decay,
            };
            let inner = Arc::new(Mutex::new(AdamW::new(made.collect(), options)?));
            Ok(Self { inner, models: groups.models.clone() })
        })
    }

    /// Sets the groups' learning rates and decays, which JavaScript may change between steps.
    #[napi]
    pub fn configure(&self, groups: Vec<NativeGroupOptions>) -> napi::Result<()> {
        guard(|| {
            let settings: Vec<_> = groups.into_iter().map(|g| (g.lr, g.weight_decay)).collect();
            self.inner.lock().configure(&settings)
        })
    }

    /// Clips, updates, and resolves to the gradient norm before clipping. With `require_all` a parameter without a
    /// gradient is an error, and nothing is updated.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn step<'env>(
        &self,
        env: &'env Env,
        lr_scale: f64,
        max_grad_norm: Option<f64>,
        measure: bool,
        require_all: bool,
    ) -> napi::Result<Object<'env>> {
        let (inner, models) = (self.inner.clone(), self.models.clone());
        job(env, move || {
            let mut adamw = inner.lock();
            if require_all {
                let without =
                    adamw.groups.iter().flat_map(|g| &g.params).find(|(_, p)| p.requires_grad() && p.grad().is_none());
                if let Some((name, _)) = without {
                    return Err(Error::Invalid(format!(
                        "{name} is trainable but received no gradient in the first step: it has no part in the loss"
                    )));
                }
            }
            let _passes: Vec<_> = models.iter().map(|m| m.passes.write()).collect();
            let params: Vec<Param> = adamw.params().cloned().collect();
            let norm =
                if measure || max_grad_norm.is_some() { clip_grad_norm(params.iter(), max_grad_norm)? } else { 0. };
            adamw.step(lr_scale)?;
            Ok(norm)
        })
    }

    #[napi]
    pub fn zero_grad(&self) {
        self.inner.lock().params().for_each(|p| p.set_grad(None));
    }

    #[napi]
    pub fn state_dict(&self) -> napi::Result<NativeStateDict> {
        guard(|| Ok(NativeStateDict::of(self.inner.lock().state_dict()?)))
    }

    #[napi]
    pub fn load_state_dict(&self, state: &NativeStateDict) -> napi::Result<()> {
        guard(|| self.inner.lock().load_state_dict(&state.entries().iter().cloned().collect()))
    }
}

/// The factor on the learning rate at a step.
#[napi]
pub fn schedule_factor(name: String, step: f64, warmup: f64, total: f64) -> napi::Result<f64> {
    guard(|| {
        let schedule = Schedule::parse(&name)
            .ok_or_else(|| Error::config("schedule.name", "expected constant, linear or cosine"))?;
        Ok(schedule.factor(step as u64, warmup as u64, total as u64))
    })
}
