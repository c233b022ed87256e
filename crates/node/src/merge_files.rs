//! Merging adapters into a model, file to file.

use crate::cancel::NativeCancelFlag;
use crate::job::job;
use crate::pretrained::{NativeFromPretrainedOptions, NativeLoadReport};
use crate::tensor::parse_dtype;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use std::path::{Path, PathBuf};
use swift_tuners_nn::{checkpoint, Error};
use swift_tuners_tuners::formats::{NameSelection, SaveOptions};
use swift_tuners_tuners::TunedModel;

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
        let (model, adapters, output) = (PathBuf::from(model), PathBuf::from(adapters), PathBuf::from(output));
        if [&model, &adapters].iter().any(|input| same_folder(input, &output)) {
            return Err(Error::config("outputDir", format!("{} is one of the inputs", output.display())));
        }
        cancel.check()?;
        let (base, surplus) = checkpoint::open_model(&model, dtype)?;
        let mut tuned = TunedModel::new(base, true);
        let load = load.into_core()?;
        let names = match &load.names {
            NameSelection::All => None,
            NameSelection::Named(pairs) => Some(pairs.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()),
        };
        tuned.from_pretrained(0, &adapters, &load)?;
        let save =
            SaveOptions { names: None, peft_format: false, safe: options.safe, max_shard: options.max_shard as u64 };
        let companions = |to: &Path| checkpoint::copy_companions(&model, to);
        tuned.save_merged(0, names.as_deref(), &output, &save, &cancel, &companions)?;
        Ok(NativeMergeReport { loads: tuned.load_reports.iter().map(Into::into).collect(), surplus })
    })
}

fn same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
