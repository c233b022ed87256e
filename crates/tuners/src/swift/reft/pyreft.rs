//! What pyreft writes.

use super::rotation::{from_columns, BASE, ORIGINAL};
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::{torch_bin, Tensors};
use swift_tuners_nn::{Error, Result};

/// pyreft's files: a pickle of tensors per intervention, `intkey_<key>.bin`.
pub fn read_pyreft(folder: &Path) -> Result<Option<(PathBuf, Tensors)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        if let Some(name) = entry.file_name().to_str() {
            if let Some(key) = name.strip_prefix("intkey_").and_then(|n| n.strip_suffix(".bin")) {
                files.push((key.to_owned(), entry.path()));
            }
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    files.sort();
    let mut out = Tensors::new();
    for (key, path) in &files {
        let at = |leaf: &str| format!("interventions.{key}.{leaf}");
        for (name, tensor) in torch_bin::read(path)? {
            match name.as_str() {
                // Sizes that pyvene keeps beside the weights.
                "embed_dim" | "interchange_dim" => {}
                // LoReFT's state is its linear layer and the rotation that is in effect.
                "weight" | "bias" => drop(out.insert(at(&format!("learned_source.{name}")), tensor)),
                "rotate_layer" => {
                    if tensor.rank() != 2 || tensor.dims()[1] >= tensor.dims()[0] {
                        return Err(Error::Mismatch {
                            path: path.clone(),
                            message: format!("tensor rotate_layer: shape {:?} is no tall matrix", tensor.dims()),
                        });
                    }
                    let (original, base) = from_columns(&tensor).map_err(|e| Error::Mismatch {
                        path: path.clone(),
                        message: format!("tensor rotate_layer: {e}"),
                    })?;
                    out.insert(at(ORIGINAL), original);
                    out.insert(at(BASE), base);
                }
                _ => drop(out.insert(at(&name), tensor)),
            }
        }
    }
    Ok(Some((files.swap_remove(0).1, out)))
}
