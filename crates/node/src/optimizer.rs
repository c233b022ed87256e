//! AdamW over a model's parameters.

use crate::error::guard;
use crate::job::job;
use crate::model::{NativeModel, NativeStateDict, Shared};
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::{Error, Param};
use swift_tuners_train::{clip_grad_norm, AdamW, AdamWOptions, Group, Schedule};

#[napi(object)]
pub struct NativeGroupOptions {
    pub names: Vec<String>,
    pub lr: Option<f64>,
    pub weight_decay: Option<f64>,
}

#[napi(object)]
pub struct NativeAdamWOptions {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

#[napi]
pub struct NativeAdamW {
    inner: Arc<Mutex<AdamW>>,
    shared: Arc<Shared>,
}

#[napi]
impl NativeAdamW {
    #[napi(constructor)]
    pub fn new(model: &NativeModel, groups: Vec<NativeGroupOptions>, options: NativeAdamWOptions) -> napi::Result<Self> {
        guard(|| {
            let shared = model.get()?;
            let groups = {
                let tree = shared.tree.read_recursive();
                let one = |g: NativeGroupOptions| -> swift_tuners_nn::Result<Group> {
                    let params = g.names.into_iter().map(|n| Ok((n.clone(), tree.parameter(&n)?)));
                    Ok(Group { params: params.collect::<swift_tuners_nn::Result<_>>()?, lr: g.lr, weight_decay: g.weight_decay })
                };
                groups.into_iter().map(one).collect::<swift_tuners_nn::Result<Vec<_>>>()?
            };
            let options = AdamWOptions {
                lr: options.lr,
                betas: (options.beta1, options.beta2),
                eps: options.eps,
                weight_decay: options.weight_decay,
            };
            Ok(Self { inner: Arc::new(Mutex::new(AdamW::new(groups, options)?)), shared })
        })
    }

    /// Sets the groups' learning rates and decays, which JavaScript may have changed since.
    #[napi]
    pub fn configure(&self, groups: Vec<NativeGroupOptions>) {
        let mut inner = self.inner.lock();
        for (group, new) in inner.groups.iter_mut().zip(groups) {
            group.lr = new.lr;
            group.weight_decay = new.weight_decay;
        }
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
        let (inner, shared) = (self.inner.clone(), self.shared.clone());
        job(env, move || {
            let mut adamw = inner.lock();
            if require_all {
                let without = adamw.groups.iter().flat_map(|g| &g.params).find(|(_, p)| p.requires_grad() && p.grad().is_none());
                if let Some((name, _)) = without {
                    return Err(Error::Invalid(format!(
                        "{name} is trainable but received no gradient in the first step: it has no part in the loss"
                    )));
                }
            }
            let _passes = shared.passes.write();
            let params: Vec<Param> = adamw.params().cloned().collect();
            let norm = if measure || max_grad_norm.is_some() { clip_grad_norm(params.iter(), max_grad_norm)? } else { 0. };
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
