//! Models to directories.

use super::{files, json, safetensors, torch_bin};
use crate::models::Model;
use crate::module::{named_nodes, own_parameters};
use crate::param::Param;
use crate::tensor::Array;
use crate::{Error, Result};
use parking_lot::Mutex;
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// Writes config.json and the weights (sharded above `max_shard` bytes) as Hugging Face does, whole or not at all.
///
/// Refuses a model with tuners: its names are those of the wrapped modules, which no other program would find.
pub fn save_model(model: &Model, dir: &Path, safe: bool, max_shard: u64) -> Result<()> {
    if let Some((path, _)) = named_nodes(&model.root).iter().find(|(_, node)| !node.tuners.is_empty()) {
        return Err(Error::Invalid(format!(
            "{path} has adapters; merge and unload them to save the model, or save the adapters themselves"
        )));
    }
    super::replace::replace_dir(dir, &mut |staging| write_model(model, staging, safe, max_shard, &Param::array))
}

/// How a model's parameter gets the value that is written.
pub type ValueOf<'a> = &'a (dyn Fn(&Param) -> Result<Array> + Sync);

/// The tensors of a base model as its files name them.
fn file_tensors<'a>(model: &Model, value: ValueOf<'a>) -> Vec<safetensors::Deferred<'a>> {
    let mut out = Vec::new();
    let mut seen = HashSet::new();
    // Of tied parameters the first name only; tuners are passed over.
    for (name, param) in own_parameters(&model.root).into_iter().filter(|(_, p)| seen.insert(p.id())) {
        let (dtype, shape) = (param.dtype(), param.shape());
        let param = param.clone();
        let Some(parts) = crate::models::split_experts(&name, &shape) else {
            let name = model.keys.to_file(&name);
            out.push(safetensors::Deferred { name, dtype, shape, value: Box::new(move || value(&param)) });
            continue;
        };
        // All experts' matrices are parts of one value, which is made for the first and dropped after the last.
        let whole = Arc::new(Mutex::new((None::<Array>, parts.len())));
        for (name, part) in parts {
            let (whole, param, shape) = (whole.clone(), param.clone(), part.shape.clone());
            let value = Box::new(move || {
                // Not under the lock: a parallel loop inside may take up another file's task, which wants it, too.
                let found = whole.lock().0.clone();
                let merged = found.map_or_else(|| value(&param), Ok)?;
                let (array, left) = &mut *whole.lock();
                *left = left.saturating_sub(1);
                *array = (*left > 0).then(|| merged.clone());
                part.of(&merged)
            });
            out.push(safetensors::Deferred { name, dtype, shape, value });
        }
    }
    out
}

/// Writes config.json and the weights into a folder that is being filled: each thread holds one tensor at a time.
pub fn write_model(model: &Model, staging: &Path, safe: bool, max_shard: u64, value: ValueOf<'_>) -> Result<()> {
    json::write(&staging.join("config.json"), &model.config)?;
    let diffusers = model.config.get("_diffusers_version").is_some();
    let stem = match (safe, diffusers) {
        (true, true) => "diffusion_pytorch_model",
        (true, false) => "model",
        (false, _) => "pytorch_model",
    };
    let ending = if safe { "safetensors" } else { "bin" };
    let mut shards: Vec<Vec<safetensors::Deferred<'_>>> = vec![Vec::new()];
    let (mut size, mut total) = (0, 0);
    for tensor in file_tensors(model, value) {
        let bytes = tensor.bytes();
        let empty = shards.last().is_none_or(|s| s.is_empty());
        if !empty && size + bytes > max_shard {
            shards.push(Vec::new());
            size = 0;
        }
        size += bytes;
        total += bytes;
        shards.last_mut().expect("never empty").push(tensor);
    }
    let write = |file: &Path, shard: &[safetensors::Deferred<'_>]| {
        if safe {
            return safetensors::write_deferred(file, shard, &format_pt());
        }
        let arrays = shard.iter().map(|t| Ok((t.name.clone(), (t.value)()?))).collect::<Result<Vec<_>>>()?;
        torch_bin::write(file, &arrays)
    };
    if let [only] = &shards[..] {
        return write(&staging.join(format!("{stem}.{ending}")), only);
    }
    let count = shards.len();
    let file = |i: usize| format!("{stem}-{:05}-of-{count:05}.{ending}", i + 1);
    // Files are written side by side: one is flushed to the disk while another is filled.
    shards.par_iter().enumerate().try_for_each(|(i, shard)| write(&staging.join(file(i)), shard))?;
    let entries = shards.iter().enumerate().flat_map(|(i, shard)| shard.iter().map(move |t| (t.name.clone(), i)));
    let map: serde_json::Map<String, serde_json::Value> = entries.map(|(name, i)| (name, file(i).into())).collect();
    let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": map });
    json::write(&staging.join(format!("{stem}.{ending}.index.json")), &index)
}

/// Copies what lies beside a model's weights and belongs to it: tokenizer, generation settings, chat template.
pub fn copy_companions(from: &Path, to: &Path) -> Result<()> {
    const KINDS: [&str; 5] = ["json", "txt", "model", "jinja", "tiktoken"];
    const MAX: u64 = 64 << 20;
    for entry in std::fs::read_dir(from).map_err(|e| Error::io(from, e))? {
        let entry = entry.map_err(|e| Error::io(from, e))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let of_weights = name.ends_with(".index.json") || name.starts_with("adapter_");
        // Links are followed: the hub's cache is made of them.
        let wanted = |m: &std::fs::Metadata| m.is_file() && m.len() <= MAX;
        if KINDS.contains(&kind)
            && !of_weights
            && !name.starts_with('.')
            && !target.exists()
            && std::fs::metadata(&path).is_ok_and(|m| wanted(&m))
        {
            let bytes = files::read_bounded(&path, MAX)?;
            files::write_file(&target, &bytes)?;
        }
    }
    Ok(())
}

/// The metadata that transformers and PEFT write and check.
pub fn format_pt() -> std::collections::HashMap<String, String> {
    [("format".to_owned(), "pt".to_owned())].into()
}
