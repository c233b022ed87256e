//! Models from their directories, or with fresh weights.

use super::directory::Checkpoint;
use super::from_files::{FromFiles, Progress};
use super::{files, json};
use crate::models::{Body, Keys, Model, Quantization, Random};
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::path::Path;
use std::sync::Arc;

/// The type that weights get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightType {
    /// As config.json has it.
    Stored,
    /// As stored, but f32 in the place of halves where the device calculates faster with it: on processors.
    Fast,
    As(DType),
}

impl From<Option<DType>> for WeightType {
    fn from(dtype: Option<DType>) -> Self {
        dtype.map_or(Self::Stored, Self::As)
    }
}

impl WeightType {
    fn of(self, config: &serde_json::Value, path: &Path, device: &Device) -> Result<DType> {
        let stored = match self {
            Self::As(dtype) => return Ok(dtype),
            Self::Stored | Self::Fast => stored_dtype(config, path)?,
        };
        let half = matches!(stored, DType::BF16 | DType::F16);
        Ok(if self == Self::Fast && half && device.is_cpu() { DType::F32 } else { stored })
    }
}

/// Loads a model directory. `dtype` overrides the stored one; with `quantization` linear layers are packed as they are read.
///
/// A tensor that the architecture needs and the files lack is an error; surplus tensors are returned by name.
pub fn load_model(
    dir: &Path,
    dtype: impl Into<WeightType>,
    device: &Device,
    progress: Option<Progress<'_>>,
    quantization: Option<&Quantization>,
) -> Result<(Model, Vec<String>)> {
    build_model(dir, dtype.into(), device, progress, quantization, false)
}

/// A model whose weights stay in their files: each is read whenever it is used, and not kept. For work that takes them one
/// after another.
pub fn open_model(dir: &Path, dtype: Option<DType>) -> Result<(Model, Vec<String>)> {
    build_model(dir, dtype.into(), &Device::Cpu, None, None, true)
}

fn build_model(
    dir: &Path,
    dtype: WeightType,
    device: &Device,
    progress: Option<Progress<'_>>,
    quantization: Option<&Quantization>,
    deferred: bool,
) -> Result<(Model, Vec<String>)> {
    let config_path = dir.join("config.json");
    let (config, checkpoint) =
        files::while_it_stays(dir, || Ok((json::read(&config_path)?, Arc::new(Checkpoint::open(dir)?))))?;
    let dtype = dtype.of(&config, &config_path, device)?;
    let source = FromFiles::new(checkpoint, &config, progress, deferred)?;
    let model = Model::build(config, &source, dtype, device, quantization)?;
    Ok((model, source.unused()))
}

/// The network below the head of a decoder's checkpoint, which may be all that it holds. `prefix` is what its tensors' names begin
/// with; by default what transformers calls it.
pub fn load_body(
    dir: &Path,
    config: serde_json::Value,
    prefix: Option<&str>,
    dtype: DType,
    device: &Device,
) -> Result<Body> {
    let checkpoint = Arc::new(Checkpoint::open(dir)?);
    let usual = Keys::for_config(&config)?.blocks.split('.').next().unwrap_or_default();
    let with = |prefix: &&str| checkpoint.names().any(|name| name.starts_with(&format!("{prefix}.")));
    let prefix = prefix.unwrap_or_else(|| Some(usual).filter(with).unwrap_or_default());
    let source = FromFiles::new(checkpoint.clone(), &config, None, false)?;
    Body::build(config, &source, prefix, true, dtype, device)
}

/// `dtype` of transformers 5, `torch_dtype` before; f32 when absent.
fn stored_dtype(config: &serde_json::Value, path: &Path) -> Result<DType> {
    let name = config.get("dtype").or_else(|| config.get("torch_dtype")).and_then(|d| d.as_str()).unwrap_or("float32");
    match name.trim_start_matches("torch.") {
        "float32" => Ok(DType::F32),
        "float64" => Ok(DType::F64),
        "bfloat16" => Ok(DType::BF16),
        "float16" => Ok(DType::F16),
        other => Err(Error::corrupt(path, format!("dtype {:?} is not supported", crate::error::printable(other, 40)))),
    }
}

/// A model with fresh random weights.
pub fn new_model(config: serde_json::Value, dtype: DType, device: &Device, seed: u64) -> Result<Model> {
    Model::build(config, &Random { seed }, dtype, device, None)
}
