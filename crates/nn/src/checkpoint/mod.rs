//! Weight files: strict readers, writers that are whole or not at all.

pub mod files;
pub mod json;
pub mod safetensors;
pub mod source;
pub mod torch_bin;

use crate::models::Model;
use crate::module::{named_nodes, named_parameters};
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device};
use indexmap::IndexMap;
use std::path::{Path, PathBuf};

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

/// Loads a model directory. `dtype` overrides the stored one.
///
/// A tensor that the architecture needs and the files lack is an error; surplus tensors are returned by name.
pub fn load_model(
    dir: &Path,
    dtype: Option<DType>,
    device: &Device,
    progress: Option<Progress<'_>>,
) -> Result<(Model, Vec<String>)> {
    let config_path = dir.join("config.json");
    let config = json::read(&config_path)?;
    let checkpoint = Checkpoint::open(dir)?;
    let dtype = match dtype {
        Some(d) => d,
        None => stored_dtype(&config, &config_path)?,
    };
    let source = source::FromFiles::new(&checkpoint, &config, progress)?;
    let model = Model::build(config, &source, dtype, device)?;
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
    Model::build(config, &source::Random { seed }, dtype, device)
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
    files::replace_dir(dir, &mut |staging| write_model(model, staging, safe, max_shard))
}

/// The tensors of a base model as its files name them.
fn file_tensors(model: &Model) -> Result<Vec<(String, Array)>> {
    let mut out = Vec::new();
    for (name, p) in named_parameters(&model.root) {
        let array = p.array()?;
        match crate::models::split_experts(&name, &array)? {
            Some(parts) => out.extend(parts),
            None => out.push((model.keys.to_file(&name), array)),
        }
    }
    Ok(out)
}

/// Writes config.json and the weights into a folder that is being filled.
pub fn write_model(model: &Model, staging: &Path, safe: bool, max_shard: u64) -> Result<()> {
    let tensors = file_tensors(model)?;
    {
        json::write(&staging.join("config.json"), &model.config)?;
        let diffusers = model.config.get("_diffusers_version").is_some();
        let stem = match (safe, diffusers) {
            (true, true) => "diffusion_pytorch_model",
            (true, false) => "model",
            (false, _) => "pytorch_model",
        };
        let ending = if safe { "safetensors" } else { "bin" };
        let mut shards: Vec<Vec<(String, Array)>> = vec![Vec::new()];
        let (mut size, mut total) = (0, 0);
        for (name, array) in &tensors {
            let bytes = (array.elem_count() * array.dtype().size_in_bytes()) as u64;
            let empty = shards.last().is_none_or(|s| s.is_empty());
            if !empty && size + bytes > max_shard {
                shards.push(Vec::new());
                size = 0;
            }
            size += bytes;
            total += bytes;
            shards.last_mut().expect("never empty").push((name.clone(), array.clone()));
        }
        let write = |file: &Path, shard: &[(String, Array)]| {
            if safe {
                safetensors::write(file, shard, &format_pt())
            } else {
                torch_bin::write(file, shard)
            }
        };
        if let [only] = &shards[..] {
            return write(&staging.join(format!("{stem}.{ending}")), only);
        }
        let mut map = serde_json::Map::new();
        for (i, shard) in shards.iter().enumerate() {
            let file = format!("{stem}-{:05}-of-{:05}.{ending}", i + 1, shards.len());
            write(&staging.join(&file), shard)?;
            map.extend(shard.iter().map(|(n, _)| (n.clone(), file.clone().into())));
        }
        let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": map });
        json::write(&staging.join(format!("{stem}.{ending}.index.json")), &index)
    }
}

/// The metadata that transformers and PEFT write and check.
pub fn format_pt() -> std::collections::HashMap<String, String> {
    [("format".to_owned(), "pt".to_owned())].into()
}
