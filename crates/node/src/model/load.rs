//! Models from files and from configurations.

use super::handle::NativeModel;
use crate::cancel::NativeCancelFlag;
use crate::job::job;
use crate::tensor::{parse_device, parse_dtype};
use napi::bindgen_prelude::*;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::Env;
use napi_derive::napi;
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::WeightType;
use swift_tuners_nn::quantized::Packing;
use swift_tuners_nn::{checkpoint, Error, Quantization};
use swift_tuners_tuners::TunedModel;

/// File, tensors read, tensors in all.
type OnProgress = ThreadsafeFunction<FnArgs<(String, f64, f64)>, (), FnArgs<(String, f64, f64)>, Status, false>;

#[napi(object)]
pub struct NativeQuantization {
    pub packing: String,
    pub skip_modules: Option<Vec<String>>,
}

/// Loads a model directory on a thread of its own.
#[napi(ts_return_type = "Promise<NativeModel>")]
#[allow(clippy::too_many_arguments)]
pub fn load_model<'env>(
    env: &'env Env,
    directory: String,
    dtype: Option<String>,
    device: String,
    quantization: Option<NativeQuantization>,
    unique_thread: bool,
    cancel: &NativeCancelFlag,
    on_progress: Option<OnProgress>,
) -> napi::Result<Object<'env>> {
    let cancel = cancel.flag();
    job(env, move || {
        let dtype = match dtype.as_deref() {
            None => WeightType::Fast,
            Some("auto") => WeightType::Stored,
            Some(name) => WeightType::As(parse_dtype(name)?),
        };
        let device = parse_device(&device)?;
        let quantization = quantization
            .map(|q| Packing::parse(&q.packing).map(|packing| Quantization { packing, skip_modules: q.skip_modules }));
        let quantization = quantization.transpose()?;
        let directory = PathBuf::from(directory);
        let report = move |file: &Path, done: u64, all: u64| {
            if let Some(f) = &on_progress {
                let args: FnArgs<_> = (file.display().to_string(), done as f64, all as f64).into();
                f.call(args, ThreadsafeFunctionCallMode::NonBlocking);
            }
        };
        let checked = |file: &Path, done: u64, all: u64| report(file, done, all);
        cancel.check()?;
        let (model, surplus) =
            checkpoint::load_model(&directory, dtype, &device, Some(&checked), quantization.as_ref())?;
        cancel.check()?;
        Ok(NativeModel::new(TunedModel::new(model, unique_thread), 0, surplus))
    })
}

/// A model with fresh weights.
#[napi(ts_return_type = "Promise<NativeModel>")]
pub fn new_model<'env>(
    env: &'env Env,
    config: String,
    dtype: String,
    device: String,
    unique_thread: bool,
    seed: f64,
) -> napi::Result<Object<'env>> {
    job(env, move || {
        let config = checkpoint::json::parse(config.as_bytes()).map_err(|e| Error::config("config", e))?;
        let model = checkpoint::new_model(config, parse_dtype(&dtype)?, &parse_device(&device)?, seed as u64)?;
        Ok(NativeModel::new(TunedModel::new(model, unique_thread), seed as u64, Vec::new()))
    })
}
