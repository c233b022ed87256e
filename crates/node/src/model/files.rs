//! Models and adapters on disk.

use super::handle::NativeModel;
use crate::cancel::NativeCancelFlag;
use crate::error::guard;
use crate::job::job;
use crate::pretrained::{NativeFromPretrainedOptions, NativeLoadReport};
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use std::path::PathBuf;
use swift_tuners_nn::checkpoint;
use swift_tuners_tuners::formats::SaveOptions;

#[napi]
impl NativeModel {
    #[napi(ts_return_type = "Promise<void>")]
    pub fn save_base<'env>(
        &self,
        env: &'env Env,
        directory: String,
        safe: bool,
        max_shard: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let cancel = cancel.flag();
        job(env, move || {
            cancel.check()?;
            checkpoint::save_model(
                &shared.tree.read_recursive().model,
                &PathBuf::from(directory),
                safe,
                max_shard as u64,
            )
        })
    }

    /// Writes the base with the active (or named) LoRAs merged; the model stays as it is.
    #[napi(ts_return_type = "Promise<void>")]
    #[allow(clippy::too_many_arguments)]
    pub fn save_merged<'env>(
        &self,
        env: &'env Env,
        directory: String,
        names: Option<Vec<String>>,
        safe: bool,
        max_shard: f64,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let cancel = cancel.flag();
        job(env, move || {
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.read_recursive();
            let options = SaveOptions { safe, max_shard: max_shard as u64, ..Default::default() };
            let directory = PathBuf::from(directory);
            tree.save_merged(thread as u64, names.as_deref(), &directory, &options, &cancel, &|_| Ok(()))
        })
    }

    /// Puts the adapter of a directory in the place of one of the model's.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn hotswap<'env>(
        &self,
        env: &'env Env,
        name: String,
        directory: String,
        options: NativeFromPretrainedOptions,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let cancel = cancel.flag();
        self.edit(env, move |m| {
            cancel.check()?;
            m.hotswap(thread as u64, &name, &PathBuf::from(directory), &options.into_core()?)
        })
    }

    #[allow(clippy::wrong_self_convention)] // SWIFT's name
    #[napi(ts_return_type = "Promise<void>")]
    pub fn from_pretrained<'env>(
        &self,
        env: &'env Env,
        directory: String,
        options: NativeFromPretrainedOptions,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let cancel = cancel.flag();
        self.edit(env, move |m| {
            cancel.check()?;
            let options = options.into_core()?;
            m.from_pretrained(thread as u64, &PathBuf::from(directory), &options)
        })
    }

    #[napi]
    pub fn load_reports(&self) -> napi::Result<Vec<NativeLoadReport>> {
        self.read(|m| Ok(m.load_reports.iter().map(Into::into).collect()))
    }

    #[napi(ts_return_type = "Promise<string[]>")]
    #[allow(clippy::too_many_arguments)]
    pub fn save_pretrained<'env>(
        &self,
        env: &'env Env,
        directory: String,
        names: Option<Vec<String>>,
        peft_format: bool,
        initial: Option<String>,
        safe: bool,
        max_shard: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let cancel = cancel.flag();
        job(env, move || {
            cancel.check()?;
            let tree = shared.tree.read_recursive();
            let options = SaveOptions {
                names,
                peft_format,
                initial: initial.map(PathBuf::from),
                safe,
                max_shard: max_shard as u64,
            };
            tree.save_pretrained(&PathBuf::from(directory), &options)
        })
    }
}
