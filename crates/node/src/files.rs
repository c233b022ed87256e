//! Whole-file access for tests and tools.

use crate::job::job;
use crate::state_dict::NativeStateDict;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use std::collections::HashMap;
use std::path::PathBuf;
use swift_tuners_nn::checkpoint::{self, safetensors};
use swift_tuners_nn::Error;

#[napi(ts_return_type = "Promise<NativeStateDict>")]
pub fn read_safetensors(env: &Env, path: String) -> napi::Result<Object<'_>> {
    job(env, move || Ok(NativeStateDict::of(safetensors::read(&PathBuf::from(path))?.into_iter().collect())))
}

#[napi(ts_return_type = "Promise<void>")]
pub fn write_safetensors<'env>(
    env: &'env Env,
    path: String,
    tensors: &NativeStateDict,
    metadata: HashMap<String, String>,
) -> napi::Result<Object<'env>> {
    let tensors = tensors.entries().to_vec();
    job(env, move || {
        let path = PathBuf::from(path);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let staged = path.with_file_name(format!(".{name}.tmp-{}", checkpoint::unique()));
        let written = safetensors::write(&staged, &tensors, &metadata)
            .and_then(|()| std::fs::rename(&staged, &path).map_err(|e| Error::io(&path, e)));
        if written.is_err() {
            let _ = std::fs::remove_file(&staged);
        }
        written
    })
}

#[napi(ts_return_type = "Promise<void>")]
pub fn save_to_peft_format(env: &Env, ckpt: String, output: String) -> napi::Result<Object<'_>> {
    job(env, move || swift_tuners_tuners::formats::save_to_peft_format(&PathBuf::from(ckpt), &PathBuf::from(output)))
}
