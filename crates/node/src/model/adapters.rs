//! Adapters: attached, active, merged, removed.

use super::handle::NativeModel;
use crate::cancel::NativeCancelFlag;
use crate::error::guard;
use crate::state_dict::NativeStateDict;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use std::collections::HashMap;
use swift_tuners_nn::{checkpoint, Error, Result};
use swift_tuners_tuners::lifecycle::{Combination, Format, Offload, PrepareOptions, SignMethod, WeightedOptions};
use swift_tuners_tuners::registry::{self, Unknown};

#[napi(object)]
pub struct NativeAdapter {
    pub name: String,
    /// JSON text of the configuration.
    pub config: String,
}

#[napi(object)]
pub struct NativePrepareOptions {
    pub extra_state_keys: Vec<String>,
    pub inference_mode: bool,
    pub seed: f64,
    /// The tokens of the texts that configurations start from.
    pub texts: Option<HashMap<String, Vec<f64>>>,
}

#[napi(object)]
pub struct NativeWeightedOptions {
    pub adapters: Vec<String>,
    pub weights: Vec<f64>,
    pub adapter_name: String,
    pub combination_type: String,
    pub svd_rank: Option<u32>,
    pub svd_clamp: Option<f64>,
    pub density: Option<f64>,
    pub majority_sign_method: Option<String>,
    pub seed: f64,
}

/// Fills in a configuration's defaults and checks it. JSON in, JSON out. `strict` refuses fields that the class does not have.
#[napi]
pub fn complete_config(json: String, strict: bool) -> napi::Result<String> {
    guard(|| {
        let value = checkpoint::json::parse(json.as_bytes()).map_err(|e| Error::config("adapter config", e))?;
        let unknown = if strict { Unknown::Refuse } else { Unknown::Keep };
        Ok(registry::parse(&value, unknown)?.to_json().to_string())
    })
}

#[napi]
impl NativeModel {
    #[napi(ts_return_type = "Promise<string[]>")]
    pub fn prepare<'env>(
        &self,
        env: &'env Env,
        names: Vec<String>,
        configs: Vec<String>,
        options: NativePrepareOptions,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let cancel = cancel.flag();
        self.edit(env, move |m| {
            cancel.check()?;
            let configs = names
                .into_iter()
                .zip(configs)
                .map(|(name, json)| {
                    let value =
                        checkpoint::json::parse(json.as_bytes()).map_err(|e| Error::config("adapter config", e))?;
                    Ok((name, value))
                })
                .collect::<Result<Vec<_>>>()?;
            let options = PrepareOptions {
                extra_state_keys: options.extra_state_keys,
                inference_mode: options.inference_mode,
                seed: options.seed as u64,
                texts: options
                    .texts
                    .into_iter()
                    .flatten()
                    .map(|(text, ids)| (text, ids.into_iter().map(|id| id as i64).collect()))
                    .collect(),
                folder: None,
            };
            m.prepare(thread as u64, &configs, &options)
        })
    }

    #[napi]
    pub fn adapters(&self) -> napi::Result<Vec<NativeAdapter>> {
        self.read(|m| {
            let one = |(name, a): (&String, &swift_tuners_tuners::lifecycle::Adapter)| NativeAdapter {
                name: name.clone(),
                config: a.config.to_json().to_string(),
            };
            Ok(m.adapters().iter().map(one).collect())
        })
    }

    /// The first adapter's `task_type`, without telling of the others.
    #[napi(getter)]
    pub fn task_type(&self) -> napi::Result<Option<String>> {
        self.read(|m| match m.adapters().values().next() {
            Some(first) => Ok(first.config.text("task_type")?.map(str::to_owned)),
            None => Ok(None),
        })
    }

    #[napi]
    pub fn adapter_keys(&self, name: String, peft_format: bool) -> napi::Result<Vec<String>> {
        let format = if peft_format { Format::Peft } else { Format::Swift };
        self.read(|m| Ok(m.tensors(&name, format)?.into_iter().map(|(k, _)| k).collect()))
    }

    /// What a file of the adapter would hold.
    #[napi]
    pub fn adapter_state(&self, name: String) -> napi::Result<NativeStateDict> {
        self.read(|m| Ok(NativeStateDict::of(m.adapter_state(&name)?)))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn set_adapter_state<'env>(
        &self,
        env: &'env Env,
        name: String,
        state: &NativeStateDict,
    ) -> napi::Result<Object<'env>> {
        let tensors = state.entries().iter().cloned().collect();
        self.edit(env, move |m| m.set_adapter_state(&name, tensors))
    }

    #[napi]
    pub fn active_adapters(&self, thread: f64) -> napi::Result<Vec<String>> {
        self.read(|m| Ok(m.active_names(thread as u64)))
    }

    /// Returns the names that do not exist.
    #[napi]
    pub fn set_active(&self, names: Vec<String>, offload: Option<String>, thread: f64) -> napi::Result<Vec<String>> {
        self.read(|m| {
            let offload = offload.map(|o| Offload::parse(&o)).transpose()?;
            let unknown = m.set_active(thread as u64, &names, offload)?;
            offload.inspect(|_| crate::release_free_memory());
            Ok(unknown)
        })
    }

    #[napi]
    pub fn activate(&self, name: String, thread: f64) -> napi::Result<()> {
        self.read(|m| m.activate(thread as u64, &name))
    }

    #[napi]
    pub fn deactivate(&self, name: String, offload: Option<String>, thread: f64) -> napi::Result<()> {
        self.read(|m| {
            let offload = offload.map(|o| Offload::parse(&o)).transpose()?;
            m.deactivate(thread as u64, &name, offload)?;
            offload.inspect(|_| crate::release_free_memory());
            Ok(())
        })
    }

    #[napi]
    pub fn set_adapter(&self, names: Vec<String>, inference: bool, thread: f64) -> napi::Result<()> {
        self.read(|m| m.set_adapter(thread as u64, &names, inference))
    }

    #[napi]
    pub fn set_adapters_require_grad(&self, names: Vec<String>, on: bool) -> napi::Result<()> {
        self.read(|m| m.set_adapters_require_grad(&names, on))
    }

    /// What the scalings of LoRAs were before they are multiplied.
    #[napi(ts_return_type = "Promise<number[]>")]
    pub fn rescale<'env>(&self, env: &'env Env, factor: f64) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| m.rescale(factor))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn restore_scalings<'env>(&self, env: &'env Env, former: Vec<f64>) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| m.restore_scalings(&former))
    }

    #[napi]
    pub fn delete_adapter(&self, name: String) -> napi::Result<()> {
        guard(|| {
            let shared = self.get()?;
            let Some(mut tree) = shared.tree.try_write() else {
                return Err(Error::Invalid("deleteAdapter: the model is in use; wait for running calls first".into()));
            };
            tree.delete(&name)
        })
    }

    #[napi]
    pub fn rename_adapter(&self, from: String, to: String) -> napi::Result<()> {
        guard(|| {
            let shared = self.get()?;
            let Some(mut tree) = shared.tree.try_write() else {
                return Err(Error::Invalid("renameAdapter: the model is in use; wait for running calls first".into()));
            };
            tree.rename(&from, &to)
        })
    }

    /// Whether a weight holds adapters afterwards: of some kinds there is nothing to merge.
    #[napi(ts_return_type = "Promise<boolean>")]
    pub fn merge<'env>(&self, env: &'env Env, names: Option<Vec<String>>, thread: f64) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| {
            m.merge(thread as u64, names.as_deref())?;
            Ok(m.is_merged(None))
        })
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn unmerge<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.edit(env, |m| m.unmerge())
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn merge_and_unload<'env>(
        &self,
        env: &'env Env,
        names: Option<Vec<String>>,
        thread: f64,
    ) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| m.merge_and_unload(thread as u64, names.as_deref()))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn merge_and_unload_peft<'env>(
        &self,
        env: &'env Env,
        names: Option<Vec<String>>,
        safe: bool,
        thread: f64,
    ) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| m.merge_and_unload_peft(thread as u64, names.as_deref(), safe))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn unload<'env>(&self, env: &'env Env, thread: f64) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| m.unload(thread as u64))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn add_weighted_adapter<'env>(
        &self,
        env: &'env Env,
        options: NativeWeightedOptions,
        thread: f64,
    ) -> napi::Result<Object<'env>> {
        let o = options;
        let options = guard(|| {
            Ok(WeightedOptions {
                adapters: o.adapters,
                weights: o.weights,
                name: o.adapter_name,
                combination: Combination::parse(&o.combination_type)?,
                svd_rank: o.svd_rank.map(|r| r as usize),
                svd_clamp: o.svd_clamp,
                density: o.density,
                sign: o.majority_sign_method.map_or(Ok(SignMethod::Total), |s| SignMethod::parse(&s))?,
                seed: o.seed as u64,
            })
        })?;
        self.edit(env, move |m| m.add_weighted_adapter(thread as u64, &options))
    }
}
