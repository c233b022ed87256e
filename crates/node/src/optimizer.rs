//! Optimizers over a model's parameters.

use crate::error::guard;
use crate::job::job;
use crate::parameter::NativeParameter;
use crate::shared::Shared;
use crate::state_dict::NativeStateDict;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::{Error, Param};
use swift_tuners_train::{
    clip_grad_norm, Adafactor, AdafactorOptions, AdamW, AdamW8bit, AdjustLr, GaLoreAdamW, Group, Muon, Optimizer,
    ProjType, Projection, QGaLoreAdamW, Quantisation, Sgd, DEFAULT_QUANTISATION,
};

/// The settings of every optimizer; each reads its own.
#[napi(object)]
pub struct NativeOptimizerOptions {
    pub lr: f64,
    pub weight_decay: f64,
    pub beta1: Option<f64>,
    pub beta2: Option<f64>,
    pub eps: Option<f64>,
    pub eps2: Option<f64>,
    pub momentum: Option<f64>,
    pub dampening: Option<f64>,
    pub nesterov: Option<bool>,
    pub clip_threshold: Option<f64>,
    pub decay_rate: Option<f64>,
    pub scale_parameter: Option<bool>,
    pub relative_step: Option<bool>,
    pub warmup_init: Option<bool>,
    pub correct_bias: Option<bool>,
    pub ns_coefficients: Option<Vec<f64>>,
    pub ns_steps: Option<u32>,
    pub adjust_lr_fn: Option<String>,
}

/// GaLore's settings of a group.
#[napi(object)]
pub struct NativeProjection {
    pub rank: u32,
    pub update_proj_gap: f64,
    pub scale: f64,
    pub proj_type: String,
    pub quant_n_bit: Option<u32>,
    pub quant_group_size: Option<u32>,
    pub cos_threshold: Option<f64>,
    pub gamma_proj: Option<f64>,
    pub queue_size: Option<u32>,
}

fn projection(p: &NativeProjection) -> swift_tuners_nn::Result<Projection> {
    let d = DEFAULT_QUANTISATION;
    let quantised = p.quant_n_bit.is_some() || p.quant_group_size.is_some() || p.queue_size.is_some();
    let out = Projection {
        rank: p.rank as usize,
        update_proj_gap: p.update_proj_gap as u64,
        scale: p.scale,
        proj_type: ProjType::parse(&p.proj_type)?,
        quantisation: quantised.then(|| Quantisation {
            bits: p.quant_n_bit.unwrap_or(d.bits),
            group_size: p.quant_group_size.map_or(d.group_size, |n| n as usize),
            cos_threshold: p.cos_threshold.unwrap_or(d.cos_threshold),
            gamma: p.gamma_proj.unwrap_or(d.gamma),
            queue_size: p.queue_size.map_or(d.queue_size, |n| n as usize),
        }),
    };
    out.check()?;
    Ok(out)
}

fn build(kind: &str, groups: Vec<Group>, o: &NativeOptimizerOptions) -> swift_tuners_nn::Result<Optimizer> {
    let betas = (o.beta1.unwrap_or(0.9), o.beta2.unwrap_or(0.999));
    let eps = |default: f64| o.eps.unwrap_or(default);
    let (lr, decay) = (o.lr, o.weight_decay);
    match kind {
        "AdamW" => Optimizer::new(groups, lr, decay, AdamW::new(betas, eps(1e-8))?),
        "AdamW8bit" => Optimizer::new(groups, lr, decay, AdamW8bit::new(betas, eps(1e-8))?),
        "SGD" => {
            let (momentum, dampening) = (o.momentum.unwrap_or(0.), o.dampening.unwrap_or(0.));
            Optimizer::new(groups, lr, decay, Sgd::new(momentum, dampening, o.nesterov.unwrap_or(false))?)
        }
        "Adafactor" | "GaLoreAdafactor" => {
            let options = AdafactorOptions {
                eps: (eps(1e-30), o.eps2.unwrap_or(1e-3)),
                clip_threshold: o.clip_threshold.unwrap_or(1.),
                decay_rate: o.decay_rate.unwrap_or(-0.8),
                beta1: o.beta1,
                scale_parameter: o.scale_parameter.unwrap_or(true),
                relative_step: o.relative_step.unwrap_or(true),
                warmup_init: o.warmup_init.unwrap_or(false),
            };
            Optimizer::new(groups, lr, decay, Adafactor::new(options, kind == "GaLoreAdafactor")?)
        }
        "GaLoreAdamW" => {
            let correct = o.correct_bias.unwrap_or(true);
            Optimizer::new(groups, lr, decay, GaLoreAdamW::new(betas, eps(1e-6), correct)?)
        }
        "QGaLoreAdamW" => Optimizer::new(groups, lr, decay, QGaLoreAdamW::new(betas, eps(1e-8))?),
        "Muon" => {
            let ns = o.ns_coefficients.as_deref().unwrap_or(&[3.4445, -4.7750, 2.0315]);
            let &[a, b, c] = ns else {
                return Err(Error::config("nsCoefficients", format!("expected three numbers, found {}", ns.len())));
            };
            let muon = Muon {
                momentum: o.momentum.unwrap_or(0.95),
                nesterov: o.nesterov.unwrap_or(true),
                ns_coefficients: (a, b, c),
                eps: eps(1e-7),
                ns_steps: o.ns_steps.map_or(5, |n| n as usize),
                adjust: AdjustLr::parse(o.adjust_lr_fn.as_deref().unwrap_or("original"))?,
            };
            Optimizer::new(groups, lr, decay, muon.check()?)
        }
        other => Err(Error::Argument(format!("no optimizer is called {other:?}"))),
    }
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
    groups: Vec<Group>,
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
    pub fn add_group(&mut self, low_rank: Option<NativeProjection>) -> napi::Result<()> {
        guard(|| {
            let low_rank = low_rank.as_ref().map(projection).transpose()?;
            self.groups.push(Group { projection: low_rank, ..Group::default() });
            Ok(())
        })
    }

    /// Adds to the newest group.
    #[napi]
    pub fn add(&mut self, parameter: &NativeParameter) {
        if let Some(shared) = parameter.model() {
            if !self.models.iter().any(|m| Arc::ptr_eq(m, shared)) {
                self.models.push(shared.clone());
            }
        }
        if let Some(group) = self.groups.last_mut() {
            group.params.push(parameter.named());
        }
    }
}

#[napi]
pub struct NativeOptimizer {
    inner: Arc<Mutex<Optimizer>>,
    models: Vec<Arc<Shared>>,
}

#[napi]
impl NativeOptimizer {
    #[napi(constructor)]
    pub fn new(kind: String, groups: &NativeGroups, options: NativeOptimizerOptions) -> napi::Result<Self> {
        guard(|| {
            let inner = Arc::new(Mutex::new(build(&kind, groups.groups.clone(), &options)?));
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
            let mut optimizer = inner.lock();
            if require_all {
                let without = optimizer
                    .groups
                    .iter()
                    .flat_map(|g| &g.params)
                    .find(|(_, p)| p.requires_grad() && p.grad().is_none());
                if let Some((name, _)) = without {
                    return Err(Error::Invalid(format!(
                        "{name} is trainable but received no gradient in the first step: it has no part in the loss"
                    )));
                }
            }
            let _passes: Vec<_> = models.iter().map(|m| m.passes.write()).collect();
            let params: Vec<Param> = optimizer.params().cloned().collect();
            let norm =
                if measure || max_grad_norm.is_some() { clip_grad_norm(params.iter(), max_grad_norm)? } else { 0. };
            optimizer.step(lr_scale)?;
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
