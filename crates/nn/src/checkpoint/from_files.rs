//! A model's parameters from the files of its directory.

use super::directory::Checkpoint;
use crate::error::printable;
use crate::models::{Init, Keys, Make, Source};
use crate::tensor::Array;
use crate::{Error, Result};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Tells a caller how far a load has come: the file, bytes done, bytes in all.
pub type Progress<'a> = &'a (dyn Fn(&Path, u64, u64) + Sync);

/// Values from a model directory.
pub(crate) struct FromFiles<'a> {
    checkpoint: Arc<Checkpoint>,
    deferred: bool,
    /// Running name → name in the files.
    names: HashMap<String, String>,
    used: RefCell<HashSet<String>>,
    progress: Option<Progress<'a>>,
    loaded: Cell<u64>,
}

impl<'a> FromFiles<'a> {
    /// `deferred`: values stay in the files until they are used.
    pub fn new(
        checkpoint: Arc<Checkpoint>,
        config: &serde_json::Value,
        progress: Option<Progress<'a>>,
        deferred: bool,
    ) -> Result<Self> {
        let keys = Keys::for_config(config)?;
        let names = checkpoint.names().map(|n| (keys.from_file(n), n.clone())).collect();
        Ok(Self { checkpoint, deferred, names, used: RefCell::default(), progress, loaded: Cell::new(0) })
    }

    /// Tensors that the architecture did not ask for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        // Buffers of older releases, and copies of tied weights, are no loss.
        const HARMLESS: [&str; 6] =
            ["position_ids", "inv_freq", "attn.bias", "attn.masked_bias", "lm_head.weight", "pooler.dense"];
        let surplus = self.checkpoint.names().filter(|n| !used.contains(*n));
        surplus.filter(|n| !HARMLESS.iter().any(|h| n.contains(h))).cloned().collect()
    }
}

impl FromFiles<'_> {
    /// The name in the files of a tensor that must be there in this shape.
    fn find(&self, name: &str, shape: &[usize]) -> Result<&String> {
        let missing = || Error::Mismatch {
            path: self.checkpoint.path().to_owned(),
            message: format!("tensor {name} is missing"),
        };
        let file_name = self.names.get(name).ok_or_else(missing)?;
        let actual = self.checkpoint.shape(file_name).ok_or_else(missing)?;
        if actual != shape {
            return Err(Error::Mismatch {
                path: self.checkpoint.path().to_owned(),
                message: format!("tensor {}: expected shape {shape:?}, found {actual:?}", printable(file_name, 120)),
            });
        }
        self.used.borrow_mut().insert(file_name.clone());
        Ok(file_name)
    }
}

/// Reads a tensor that was found before.
fn read<'a>(checkpoint: &'a Checkpoint, file_name: &str) -> Result<(Array, &'a Path)> {
    let Some((array, path)) = checkpoint.read(file_name)? else {
        return Err(Error::corrupt(checkpoint.path(), format!("tensor {} is gone", printable(file_name, 120))));
    };
    if !array.dtype().is_float() {
        return Err(Error::corrupt(
            path,
            format!("tensor {}: dtype {:?} is no weight", printable(file_name, 120), array.dtype()),
        ));
    }
    Ok((array, path))
}

impl Source for FromFiles<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn get(&self, name: &str, shape: &[usize], _: Init) -> Result<Array> {
        let (array, path) = read(&self.checkpoint, self.find(name, shape)?)?;
        if let Some(progress) = self.progress {
            self.loaded.set(self.loaded.get() + 1);
            progress(path, self.loaded.get(), self.names.len() as u64);
        }
        Ok(array)
    }

    fn deferred(&self, name: &str, shape: &[usize], _: Init) -> Result<Option<Make>> {
        if !self.deferred {
            return Ok(None);
        }
        let (checkpoint, file_name) = (self.checkpoint.clone(), self.find(name, shape)?.clone());
        Ok(Some(Box::new(move || Ok(read(&checkpoint, &file_name)?.0))))
    }
}
