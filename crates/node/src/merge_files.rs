//! Merging adapters into a model, file to file.

use crate::cancel::NativeCancelFlag;
use crate::job::job;
use crate::pretrained::{NativeFromPretrainedOptions, NativeLoadReport};
use crate::tensor::parse_dtype;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use std::path::PathBuf;
use swift_tuners_tuners::merge_files::{self, MergeFilesOptions};

/// What [`merge_files`] did.
#[napi(object)]
pub struct NativeMergeReport {
    pub loads: Vec<NativeLoadReport>,
    pub surplus: Vec<String>,
}

#[napi(object)]
pub struct NativeMergeOptions {
    pub dtype: Option<String>,
    pub safe: bool,
    pub max_shard: f64,
}

/// Merges the LoRAs of a directory into a model directory, one tensor in memory at a time.
#[napi(ts_return_type = "Promise<NativeMergeReport>")]
pub fn merge_files<'env>(
    env: &'env Env,
    model: String,
    adapters: String,
    output: String,
    load: NativeFromPretrainedOptions,
    options: NativeMergeOptions,
    cancel: &NativeCancelFlag,
) -> napi::Result<Object<'env>> {
    let cancel = cancel.flag();
    job(env, move || {
        let dtype = options.dtype.map(|d| parse_dtype(&d)).transpose()?;
        let max_shard = options.max_shard as u64;
        let options = MergeFilesOptions { dtype, load: load.into_core()?, safe: options.safe, max_shard };
        let (model, adapters, output) = (PathBuf::from(model), PathBuf::from(adapters), PathBuf::from(output));
        let report = merge_files::merge_files(&model, &adapters, &output, &options, &cancel)?;
        Ok(NativeMergeReport { loads: report.loads.iter().map(Into::into).collect(), surplus: report.surplus })
    })
}
