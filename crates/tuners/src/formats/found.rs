//! Adapters as they lie in a directory, in SWIFT's or PEFT's layout.

use super::{adapter_order, configuration, BIN, CONFIG, EXTRA, SAFE};
use crate::config::{check_adapter_name, Dialect, TunerConfig};
use crate::registry::{self, Unknown};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::files::{exists, while_it_stays};
use swift_tuners_nn::checkpoint::{json, safetensors, torch_bin, Tensors};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// Which adapters of a directory to load, and under which names: pairs of saved and new name.
#[derive(Clone, Debug, Default)]
pub enum NameSelection {
    #[default]
    All,
    Named(Vec<(String, String)>),
}

/// One adapter as it lies on disk, read and parsed but not applied.
pub struct Found {
    pub saved: String,
    pub name: String,
    pub config: TunerConfig,
    pub config_path: PathBuf,
    pub file: PathBuf,
    pub tensors: Tensors,
    pub warnings: Vec<String>,
}

/// The tensors of `extra_states`.
pub struct Extra {
    pub keys: Vec<String>,
    pub file: PathBuf,
    pub tensors: Tensors,
}

/// All that is asked for, of one save: a folder that is replaced meanwhile is read again.
pub fn read_directory(dir: &Path, names: &NameSelection) -> Result<(Vec<Found>, Option<Extra>)> {
    while_it_stays(dir, || read_once(dir, names))
}

fn read_once(dir: &Path, names: &NameSelection) -> Result<(Vec<Found>, Option<Extra>)> {
    let root = dir.join(CONFIG);
    let root_config = if exists(&root)? { Some(read_config(&root)?) } else { None };
    let mut subfolders = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let entry = entry.map_err(|e| Error::io(dir, e))?;
        // Folders whose names no adapter can have (temporary ones, and what a stranger put there) are not adapters.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        let named = check_adapter_name(&name).is_ok() && !name.starts_with('.');
        if named && entry.path().is_dir() && exists(&entry.path().join(CONFIG))? {
            subfolders.push(name);
        }
    }
    subfolders.sort();
    let order = adapter_order(&configuration(dir));
    subfolders.sort_by_key(|name| order.iter().position(|n| n == name).unwrap_or(usize::MAX));
    let in_root =
        |config: &TunerConfig, name: &str| config.dialect == Dialect::Peft || !subfolders.iter().any(|s| s == name);
    let pairs: Vec<(String, String)> = match names {
        NameSelection::All => {
            let root_name = root_config.iter().filter(|c| in_root(c, "default")).map(|_| "default".to_owned());
            let mut all: Vec<String> = root_name.collect();
            all.extend(subfolders.iter().filter(|s| all.first() != Some(s)).cloned().collect::<Vec<_>>());
            all.into_iter().map(|n| (n.clone(), n)).collect()
        }
        NameSelection::Named(pairs) => pairs.clone(),
    };
    if pairs.is_empty() {
        return Err(Error::corrupt(dir, format!("no adapter: neither {CONFIG} nor a folder with one was found")));
    }
    let mut found: Vec<Found> = Vec::new();
    for (saved, name) in pairs {
        check_adapter_name(&saved)?;
        check_adapter_name(&name)?;
        if found.iter().any(|f| f.name == name) {
            return Err(Error::AdapterExists(name));
        }
        let (folder, config) = match &root_config {
            Some(c) if saved == "default" && in_root(c, "default") => (dir.to_owned(), c.clone()),
            _ if subfolders.contains(&saved) => {
                let folder = dir.join(&saved);
                let config = read_config(&folder.join(CONFIG))?;
                (folder, config)
            }
            // A PEFT folder of one adapter may be loaded under any name.
            Some(c) if c.dialect == Dialect::Peft && subfolders.is_empty() => (dir.to_owned(), c.clone()),
            _ => {
                let mut known = subfolders.clone();
                if root_config.is_some() {
                    known.push("default".into());
                }
                return Err(Error::AdapterNotFound { name: printable(&saved, 80), known });
            }
        };
        let (file, tensors) = read_weights(&folder, &config)?;
        let config_path = folder.join(CONFIG);
        let warnings = registry::unknown(&config)
            .iter()
            .map(|f| format!("{}: unknown field {:?} is kept", config_path.display(), printable(f, 80)))
            .collect();
        found.push(Found { saved, name, config, config_path, file, tensors, warnings });
    }
    if found.iter().any(|f| f.config.dialect != found[0].config.dialect) {
        return Err(Error::corrupt(dir, "adapters in SWIFT's and in PEFT's layout lie side by side"));
    }
    Ok((found, read_extra(dir)?))
}

fn read_config(path: &Path) -> Result<TunerConfig> {
    let mut value = json::read(path)?;
    let additional = path.with_file_name("additional_config.json");
    if value.get("swift_type").is_none() && exists(&additional)? {
        let Json::Object(more) = json::read(&additional)? else {
            return Err(Error::config(additional.display().to_string(), "expected an object"));
        };
        // On its own first, so that an error names the right file.
        if let Some(kind) = value.get("peft_type").cloned() {
            let mut alone = more.clone();
            alone.insert("peft_type".into(), kind);
            registry::parse(&Json::Object(alone), Unknown::Keep).map_err(|e| in_config(&additional, e))?;
        }
        if let Json::Object(fields) = &mut value {
            fields.extend(more);
        }
    }
    registry::parse(&value, Unknown::Keep).map_err(|e| in_config(path, e))
}

/// An error about a configuration's fields names the file that they came from.
pub fn in_config(path: &Path, error: Error) -> Error {
    match error {
        Error::Config { option, message } => Error::Config { option: format!("{}: {option}", path.display()), message },
        Error::Target { pattern, nearest, hint } => {
            Error::Target { pattern: format!("{pattern} of {}", path.display()), nearest, hint }
        }
        Error::UnsupportedTuner(what) => Error::UnsupportedTuner(format!("{}: {what}", path.display())),
        other => other,
    }
}

fn read_weights(folder: &Path, config: &TunerConfig) -> Result<(PathBuf, Tensors)> {
    let (safe, bin) = (folder.join(SAFE), folder.join(BIN));
    if exists(&safe)? || safe.is_symlink() {
        return Ok((safe.clone(), safetensors::read(&safe)?));
    }
    let traits = registry::find(config.dialect, &config.kind)?.traits;
    if !traits.has_tensors {
        return Ok((safe, Tensors::new()));
    }
    if let Some(found) = traits.read_other.map(|read| read(folder)).transpose()?.flatten() {
        return Ok(found);
    }
    if !exists(&bin)? {
        // Python never writes the weights of a merged linear; its configuration alone is such a checkpoint.
        if config.flag("use_merged_linear")? {
            return Ok((safe, Tensors::new()));
        }
        return Err(Error::corrupt(&safe, "the adapter's weights are missing"));
    }
    if config.dialect == Dialect::Swift {
        return Err(Error::Unsafe {
            path: bin,
            message: "SWIFT does not load .bin files, to prevent malicious code; save it as safetensors".into(),
        });
    }
    let tensors = torch_bin::read(&bin)?;
    Ok((bin, tensors))
}

fn read_extra(dir: &Path) -> Result<Option<Extra>> {
    let folder = dir.join(EXTRA);
    let config_path = folder.join(CONFIG);
    if !exists(&config_path)? {
        return Ok(None);
    }
    let config = json::read(&config_path)?;
    let bad = |why: &str| Error::config(format!("{}: extra_state_keys", config_path.display()), why);
    let keys = match config.get("extra_state_keys") {
        Some(Json::Array(items)) => items
            .iter()
            .map(|i| i.as_str().map(str::to_owned).ok_or_else(|| bad("expected a list of strings")))
            .collect::<Result<Vec<_>>>()?,
        None | Some(Json::Null) => Vec::new(),
        Some(_) => return Err(bad("expected a list of strings")),
    };
    for key in &keys {
        crate::pattern::FullMatch::new(key, &format!("{}: extra_state_keys", config_path.display()))?;
    }
    let file = folder.join(SAFE);
    if !exists(&file)? {
        let bin = folder.join(BIN);
        if exists(&bin)? {
            let message = "SWIFT does not load .bin files, to prevent malicious code; save it as safetensors".into();
            return Err(Error::Unsafe { path: bin, message });
        }
        return Ok(Some(Extra { keys, file, tensors: Tensors::new() }));
    }
    let tensors = safetensors::read(&file)?;
    Ok(Some(Extra { keys, file, tensors }))
}
