//! Weight files: strict readers, writers that are whole or not at all.

pub mod files;
mod from_files;
pub mod json;
pub mod safetensors;
pub mod torch_bin;

use crate::models::{Model, Quantization, Random};
use crate::module::{named_nodes, own_parameters};
use crate::param::Param;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device};
use indexmap::IndexMap;
use parking_lot::Mutex;
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tensors by name, in file order.
pub type Tensors = IndexMap<String, Array>;

/// Tells a caller how far a load has come: the file, bytes done, bytes in all.
pub type Progress<'a> = &'a (dyn Fn(&Path, u64, u64) + Sync);

/// The weight files of a model directory.
pub(crate) struct Checkpoint {
    files: Vec<Reader>,
    /// Tensor name → index into `files`.
    owner: IndexMap<String, usize>,
    path: PathBuf,
}

enum Reader {
    Safe(safetensors::SafeTensors),
    Torch(PathBuf, Tensors),
}

impl Checkpoint {
    /// Opens what a Hugging Face directory holds: `model.safetensors` or `pytorch_model.bin`, whole or with an index.
    pub fn open(dir: &Path) -> Result<Self> {
        let stems =
            [("model.safetensors", true), ("diffusion_pytorch_model.safetensors", true), ("pytorch_model.bin", false)];
        for (name, safe) in stems {
            let index = dir.join(format!("{name}.index.json"));
            if index.exists() {
                return Self::from_index(dir, &index, safe);
            }
            let file = dir.join(name);
            if file.exists() {
                let reader = Self::reader(&file, safe)?;
                let owner = reader.names().into_iter().map(|n| (n, 0)).collect();
                return Ok(Self { files: vec![reader], owner, path: file });
            }
        }
        Err(Error::corrupt(dir, "no model.safetensors, pytorch_model.bin or index of either was found"))
    }

    fn reader(file: &Path, safe: bool) -> Result<Reader> {
        if safe {
            return Ok(Reader::Safe(safetensors::SafeTensors::open(file)?));
        }
        Ok(Reader::Torch(file.to_owned(), torch_bin::read(file)?))
    }

    fn from_index(dir: &Path, index: &Path, safe: bool) -> Result<Self> {
        let json = json::read(index)?;
        let Some(map) = json.get("weight_map").and_then(|m| m.as_object()) else {
            return Err(Error::corrupt(index, "no weight_map"));
        };
        let mut names: IndexMap<String, usize> = IndexMap::new();
        let mut owner = IndexMap::new();
        for (tensor, file) in map {
            let file = file.as_str().unwrap_or("");
            files::check_plain_name(file).map_err(|why| Error::Unsafe {
                path: index.to_owned(),
                message: format!(
                    "tensor {}: shard name {:?}: {why}",
                    crate::error::printable(tensor, 120),
                    crate::error::printable(file, 80)
                ),
            })?;
            let next = names.len();
            owner.insert(tensor.clone(), *names.entry(file.to_owned()).or_insert(next));
        }
        let files = names.keys().map(|n| Self::reader(&dir.join(n), safe)).collect::<Result<Vec<_>>>()?;
        for (tensor, &file) in &owner {
            if !files[file].has(tensor) {
                return Err(Error::corrupt(
                    &dir.join(names.get_index(file).expect("indices were made above").0),
                    format!(
                        "the index promises tensor {} here, but it is missing",
                        crate::error::printable(tensor, 120)
                    ),
                ));
            }
        }
        Ok(Self { files, owner, path: index.to_owned() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.owner.keys()
    }

    pub fn read(&self, name: &str) -> Result<Option<(Array, &Path)>> {
        let Some(&file) = self.owner.get(name) else {
            return Ok(None);
        };
        Ok(Some(match &self.files[file] {
            Reader::Safe(s) => (s.read(name)?, s.path()),
            Reader::Torch(path, tensors) => (tensors[name].clone(), path),
        }))
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.files[*self.owner.get(name)?] {
            Reader::Safe(s) => s.shape(name),
            Reader::Torch(_, t) => t.get(name).map(|a| a.dims().to_vec()),
        }
    }
}

impl Reader {
    fn names(&self) -> Vec<String> {
        match self {
            Self::Safe(s) => s.names().cloned().collect(),
            Self::Torch(_, t) => t.keys().cloned().collect(),
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Safe(s) => s.shape(name).is_some(),
            Self::Torch(_, t) => t.contains_key(name),
        }
    }
}

/// Loads a model directory. `dtype` overrides the stored one; with `quantization` linear layers are packed as they are read.
///
/// A tensor that the architecture needs and the files lack is an error; surplus tensors are returned by name.
pub fn load_model(
    dir: &Path,
    dtype: Option<DType>,
    device: &Device,
    progress: Option<Progress<'_>>,
    quantization: Option<&Quantization>,
) -> Result<(Model, Vec<String>)> {
    build_model(dir, dtype, device, progress, quantization, false)
}

/// A model whose weights stay in their files: each is read whenever it is used, and not kept. For work that takes them one
/// after another.
pub fn open_model(dir: &Path, dtype: Option<DType>) -> Result<(Model, Vec<String>)> {
    build_model(dir, dtype, &Device::Cpu, None, None, true)
}

fn build_model(
    dir: &Path,
    dtype: Option<DType>,
    device: &Device,
    progress: Option<Progress<'_>>,
    quantization: Option<&Quantization>,
    deferred: bool,
) -> Result<(Model, Vec<String>)> {
    let config_path = dir.join("config.json");
    let config = json::read(&config_path)?;
    let checkpoint = Arc::new(Checkpoint::open(dir)?);
    let dtype = match dtype {
        Some(d) => d,
        None => stored_dtype(&config, &config_path)?,
    };
    let source = from_files::FromFiles::new(checkpoint, &config, progress, deferred)?;
    let model = Model::build(config, &source, dtype, device, quantization)?;
    Ok((model, source.unused()))
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

/// Writes config.json and the weights (sharded above `max_shard` bytes) as Hugging Face does, whole or not at all.
///
/// Refuses a model with tuners: its names are those of the wrapped modules, which no other program would find.
pub fn save_model(model: &Model, dir: &Path, safe: bool, max_shard: u64) -> Result<()> {
    if let Some((path, _)) = named_nodes(&model.root).iter().find(|(_, node)| !node.tuners.is_empty()) {
        return Err(Error::Invalid(format!(
            "{path} has adapters; merge and unload them to save the model, or save the adapters themselves"
        )));
    }
    files::replace_dir(dir, &mut |staging| write_model(model, staging, safe, max_shard, &Param::array))
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
