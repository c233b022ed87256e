//! Optimizers over a model's parameters.

use crate::error::guard;
use crate::job::job;
use crate::model::NativeModel;
use crate::parameter::NativeParameter;
use crate::shared::Shared;
use crate::state_dict::NativeStateDict;
use candle_core::DType;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use swift_tuners_nn::{Error, Param};
use swift_tuners_train::{clip_grad_norm, Group, Optimizer, OptimizerOptions, Pair, ProjectionOptions};

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

impl From<NativeOptimizerOptions> for OptimizerOptions {
    fn from(o: NativeOptimizerOptions) -> Self {
        Self {
            lr: o.lr,
            weight_decay: o.weight_decay,
            beta1: o.beta1,
            beta2: o.beta2,
            eps: o.eps,
            eps2: o.eps2,
            momentum: o.momentum,
            dampening: o.dampening,
            nesterov: o.nesterov,
            clip_threshold: o.clip_threshold,
            decay_rate: o.decay_rate,
            scale_parameter: o.scale_parameter,
            relative_step: o.relative_step,
            warmup_init: o.warmup_init,
            correct_bias: o.correct_bias,
            ns_coefficients: o.ns_coefficients,
            ns_steps: o.ns_steps.map(|n| n as usize),
            adjust_lr_fn: o.adjust_lr_fn,
            pairs: HashMap::new(),
        }
    }
}

/// GaLore's settings of a group.
#[napi(object)]
pub struct NativeProjection {
    pub rank: u32,
    pub update_proj_gap: Option<f64>,
    pub scale: Option<f64>,
    pub proj_type: Option<String>,
    pub quant: bool,
    pub quant_n_bit: Option<u32>,
    pub quant_group_size: Option<u32>,
    pub cos_threshold: Option<f64>,
    pub gamma_proj: Option<f64>,
    pub queue_size: Option<u32>,
}

impl From<NativeProjection> for ProjectionOptions {
    fn from(p: NativeProjection) -> Self {
        Self {
            rank: p.rank as usize,
            update_proj_gap: p.update_proj_gap.map(|n| n as u64),
            scale: p.scale,
            proj_type: p.proj_type,
            quant: p.quant,
            quant_n_bit: p.quant_n_bit,
            quant_group_size: p.quant_group_size.map(|n| n as usize),
            cos_threshold: p.cos_threshold,
            gamma_proj: p.gamma_proj,
            queue_size: p.queue_size.map(|n| n as usize),
        }
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
    pairs: HashMap<String, Pair>,
}

#[napi]
impl NativeGroups {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { groups: Vec::new(), models: Vec::new(), pairs: HashMap::new() }
    }

    #[napi]
    pub fn add_group(&mut self, low_rank: Option<NativeProjection>) -> napi::Result<()> {
        guard(|| {
            let projection = low_rank.map(|p| ProjectionOptions::from(p).build()).transpose()?;
            self.groups.push(Group { projection, ..Group::default() });
            Ok(())
        })
    }

    /// Takes the pairs of factors of a model's LoRAs, for an optimizer that steps with them, and freezes the first of each.
    #[napi]
    pub fn pair(&mut self, model: &NativeModel) -> napi::Result<()> {
        let pairs = model.read(|m| {
            m.freeze_down();
            Ok(m.factor_pairs())
        })?;
        self.pairs.extend(pairs.into_iter().map(|p| (p.name, Pair { a: p.a, scaling: p.scaling })));
        Ok(())
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

fn is_finite(param: &Param) -> bool {
    let sum = |g: swift_tuners_nn::Array| g.to_dtype(DType::F64)?.abs()?.sum_all()?.to_scalar::<f64>();
    param.grad().is_none_or(|g| sum(g).is_ok_and(f64::is_finite))
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
            let options = OptimizerOptions { pairs: groups.pairs.clone(), ..OptimizerOptions::from(options) };
            let inner = Arc::new(Mutex::new(options.build(&kind, groups.groups.clone())?));
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
                let all = optimizer.groups.iter().flat_map(|g| &g.params);
                let mut without = all.filter(|(_, p)| p.requires_grad() && p.grad().is_none()).peekable();
                let idle = match without.peek() {
                    Some(_) => models.iter().flat_map(|m| m.tree.read_recursive().idle()).collect(),
                    None => HashSet::new(),
                };
                if let Some((name, _)) = without.find(|(_, p)| !idle.contains(&p.id())) {
                    return Err(Error::Invalid(format!(
                        "{name} is trainable but received no gradient in the first step: it has no part in the loss"
                    )));
                }
            }
            let trees: Vec<_> = models.iter().map(|m| m.tree.read_recursive()).collect();
            let _passes: Vec<_> = models.iter().map(|m| m.passes.write()).collect();
            trees.iter().try_for_each(|tree| tree.before_step())?;
            let params: Vec<Param> = optimizer.params().cloned().collect();
            let norm =
                if measure || max_grad_norm.is_some() { clip_grad_norm(params.iter(), max_grad_norm)? } else { 0. };
            // One such gradient would make NaN of every weight that it reaches, or of all of them where norms are clipped.
            if !norm.is_finite() {
                let broken = optimizer.groups.iter().flat_map(|g| &g.params).find(|(_, p)| !is_finite(p));
                let name = broken.map_or("the gradients' norm", |(name, _)| name);
                return Err(Error::Invalid(format!("{name}: the gradient is not finite; no weight was changed")));
            }
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
