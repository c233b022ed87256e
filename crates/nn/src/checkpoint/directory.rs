//! The weight files of a directory, whole or sharded.

use super::tensors::Tensors;
use super::{files, json, safetensors, torch_bin};
use crate::tensor::Array;
use crate::{Error, Result};
use indexmap::IndexMap;
use std::path::{Path, PathBuf};

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
            if files::exists(&index)? {
                return Self::from_index(dir, &index, safe);
            }
            let file = dir.join(name);
            if files::exists(&file)? {
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
            super::names::check_plain_name(file).map_err(|why| Error::Unsafe {
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
