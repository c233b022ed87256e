//! `Swift.from_pretrained` and `PeftModel.from_pretrained`.

use super::{adapter_order, configuration, LoadReport, BIN, CONFIG, EXTRA, SAFE};
use crate::config::{check_adapter_name, Dialect, TunerConfig};
use crate::init::Init;
use crate::lifecycle::{Flavor, Format, PrepareOptions, Slot, TunedModel};
use crate::registry::{self, Unknown};
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::{json, safetensors, torch_bin, Tensors};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{all_parameters, saved_nodes};
use swift_tuners_nn::ops::all_finite;
use swift_tuners_nn::{Array, Error, Param, Result};

/// Which adapters of a directory to load, and under which names: pairs of saved and new name.
#[derive(Clone, Debug, Default)]
pub enum NameSelection {
    #[default]
    All,
    Named(Vec<(String, String)>),
}

#[derive(Clone, Debug, Default)]
pub struct FromPretrainedOptions {
    pub names: NameSelection,
    /// Loads the adapters frozen.
    pub inference_mode: bool,
    /// Missing or surplus tensors become an error.
    pub strict: bool,
    pub seed: u64,
}

/// One adapter as it lies on disk, read and parsed but not applied.
struct Found {
    saved: String,
    name: String,
    config: TunerConfig,
    config_path: PathBuf,
    file: PathBuf,
    tensors: Tensors,
    warnings: Vec<String>,
}

/// The tensors of `extra_states`.
struct Extra {
    keys: Vec<String>,
    file: PathBuf,
    tensors: Tensors,
}

impl TunedModel {
    /// Loads the adapters of a directory in SWIFT's or PEFT's layout, which its configurations tell.
    ///
    /// Everything is read and checked before the model is touched; a failure leaves it as it was. What happened to each
    /// tensor is in [`TunedModel::load_reports`].
    pub fn from_pretrained(&mut self, thread: u64, dir: &Path, options: &FromPretrainedOptions) -> Result<()> {
        let meta = std::fs::metadata(dir).map_err(|e| Error::io(dir, e))?;
        if !meta.is_dir() {
            return Err(Error::corrupt(dir, "not an adapter directory"));
        }
        let (found, extra) = read_directory(dir, &options.names)?;
        let dialect = found.first().map_or(Dialect::Swift, |f| f.config.dialect);
        if dialect == Dialect::Peft && self.flavor == Flavor::Swift
            || dialect == Dialect::Swift && self.flavor == Flavor::Peft
        {
            return Err(Error::Invalid(
                "Mixed using with peft is not allowed: the model has adapters of the other kind".into(),
            ));
        }
        let loaded = |name: &&String| extra.is_some() || found.iter().any(|f| f.name == **name);
        let touched: Vec<String> = self.adapters().keys().filter(loaded).cloned().collect();
        self.transaction(&touched, |m| {
            for f in &found {
                m.apply(thread, f, options)?;
            }
            if let Some(extra) = &extra {
                m.apply_extra(extra, options)?;
            }
            Ok(())
        })
    }

    fn apply(&mut self, thread: u64, found: &Found, options: &FromPretrainedOptions) -> Result<()> {
        let prepare = PrepareOptions {
            seed: options.seed,
            inference_mode: options.inference_mode,
            folder: found.config_path.parent().map(Path::to_owned),
            ..Default::default()
        };
        if !self.adapters().contains_key(&found.name) {
            let at = |e| in_config(&found.config_path, e);
            let mut init = Init::later(&self.model, options.seed);
            self.attach(thread, &found.name, &found.config, &prepare, &mut init).map_err(at)?;
        }
        let format = if found.config.dialect == Dialect::Swift { Format::Swift } else { Format::Peft };
        let slots = self.slots(&found.name)?;
        let mut by_key: HashMap<String, usize> = HashMap::new();
        for (i, slot) in slots.iter().enumerate() {
            for alias in slot.aliases(format, &found.saved) {
                by_key.entry(alias).or_insert(i);
            }
        }
        for (i, slot) in slots.iter().enumerate() {
            by_key.insert(slot.key(format, &found.saved), i);
        }
        let mut report = LoadReport {
            adapter: found.name.clone(),
            file: found.file.display().to_string(),
            warnings: found.warnings.clone(),
            ..Default::default()
        };
        let mut filled = vec![false; slots.len()];
        let mut read: HashSet<String> = HashSet::new();
        for (i, slot) in slots.iter().enumerate() {
            let Some(excerpt) = slot.excerpt(format) else { continue };
            let key = slot.key(format, &found.saved);
            let keys: Vec<String> = excerpt.endings.iter().map(|end| format!("{key}{end}")).collect();
            let parts: Vec<&Array> = keys.iter().filter_map(|k| found.tensors.get(k)).collect();
            if parts.len() < keys.len() {
                continue;
            }
            let restored = (excerpt.restore)(&parts, &slot.param.shape());
            restored.and_then(|value| slot.param.take(&value)).map_err(|e| in_tensor(&found.file, &key, e))?;
            filled[i] = true;
            report.loaded.extend(keys.iter().cloned());
            read.extend(keys);
        }
        for (key, tensor) in found.tensors.iter().filter(|(key, _)| !read.contains(*key)) {
            match by_key.get(key) {
                Some(&i) => {
                    check_tensor(&found.file, key, tensor, &slots[i].param, &mut report)?;
                    slots[i].param.take(tensor).map_err(|e| in_tensor(&found.file, key, e))?;
                    filled[i] = true;
                    report.loaded.push(key.clone());
                }
                None => report.unexpected.push(printable(key, 200)),
            }
        }
        let id = self.id(&found.name)?;
        for (_, node) in saved_nodes(&self.model.root) {
            node.tuners.iter().try_for_each(|tuner| tuner.loaded(id))?;
        }
        // What a file holds counts until its sources are set.
        let made = slots.iter().zip(&filled).any(|(slot, filled)| slot.is_made() && *filled);
        let settles = |slot: &&Slot| !(slot.is_made() || made && slot.is_source());
        slots.iter().filter(settles).try_for_each(|slot| slot.param.settle())?;
        report.missing = slots
            .iter()
            .zip(&filled)
            .filter(|(slot, filled)| slot.is_required() && !**filled)
            .map(|(slot, _)| slot.key(format, &found.saved))
            .collect();
        let merged_linear = found.config.flag("use_merged_linear")? && found.tensors.is_empty();
        let has_tensors = self.adapters()[&found.name].traits.has_tensors;
        if report.loaded.is_empty() && has_tensors && !merged_linear {
            let example = found.tensors.keys().next().map(|k| printable(k, 120)).unwrap_or_default();
            return Err(Error::Mismatch {
                path: found.file.clone(),
                message: format!(
                    "none of its {} tensors belongs to adapter {} (it holds {example:?}, the adapter has {:?})",
                    found.tensors.len(),
                    found.name,
                    slots.first().map(|s| s.key(format, &found.saved)).unwrap_or_default()
                ),
            });
        }
        if options.strict && !(report.missing.is_empty() && report.unexpected.is_empty()) {
            return Err(Error::Mismatch {
                path: found.file.clone(),
                message: format!("missing: {:?}; unexpected: {:?}", report.missing, report.unexpected),
            });
        }
        self.load_reports.push(report);
        Ok(())
    }

    fn apply_extra(&mut self, extra: &Extra, options: &FromPretrainedOptions) -> Result<()> {
        let params: HashMap<String, Param> =
            all_parameters(&self.model.root).into_iter().map(|(n, p)| (n, p.clone())).collect();
        let mut report =
            LoadReport { adapter: EXTRA.into(), file: extra.file.display().to_string(), ..Default::default() };
        for (key, tensor) in &extra.tensors {
            match params.get(key) {
                Some(param) => {
                    check_tensor(&extra.file, key, tensor, param, &mut report)?;
                    param.set(tensor)?;
                    param.set_requires_grad(!options.inference_mode);
                    report.loaded.push(key.clone());
                }
                None => report.unexpected.push(printable(key, 200)),
            }
        }
        if options.strict && !report.unexpected.is_empty() {
            let message = format!("unexpected: {:?}", report.unexpected);
            return Err(Error::Mismatch { path: extra.file.clone(), message });
        }
        self.add_extra_state_keys(&extra.keys);
        self.load_reports.push(report);
        Ok(())
    }
}

/// An error about a tensor's values names the tensor.
fn in_tensor(file: &Path, key: &str, error: Error) -> Error {
    match error {
        Error::Argument(why) => {
            Error::Mismatch { path: file.to_owned(), message: format!("tensor {}: {why}", printable(key, 160)) }
        }
        other => other,
    }
}

fn check_tensor(file: &Path, key: &str, tensor: &Array, param: &Param, report: &mut LoadReport) -> Result<()> {
    let shown = printable(key, 160);
    if tensor.dims() != param.shape() {
        return Err(Error::Mismatch {
            path: file.to_owned(),
            message: format!(
                "tensor {shown}: expected shape {:?} by the model and {CONFIG}, found {:?}",
                param.shape(),
                tensor.dims()
            ),
        });
    }
    let whole = param.dtype().is_int();
    if !tensor.dtype().is_float() && !whole {
        return Err(Error::Mismatch {
            path: file.to_owned(),
            message: format!("tensor {shown}: {:?} values are no weights", tensor.dtype()),
        });
    }
    if tensor.dtype() != param.dtype() && !(whole && tensor.dtype().is_int()) {
        report.notes.push(format!("tensor {shown}: converted from {:?} to {:?}", tensor.dtype(), param.dtype()));
    }
    if !all_finite(tensor)? {
        report.warnings.push(format!("tensor {shown}: holds NaN or infinite values"));
    }
    Ok(())
}

fn read_directory(dir: &Path, names: &NameSelection) -> Result<(Vec<Found>, Option<Extra>)> {
    let root = dir.join(CONFIG);
    let root_config = if root.exists() { Some(read_config(&root)?) } else { None };
    let mut subfolders = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let entry = entry.map_err(|e| Error::io(dir, e))?;
        // Folders whose names no adapter can have (temporary ones, and what a stranger put there) are not adapters.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if check_adapter_name(&name).is_ok() && !name.starts_with('.') && entry.path().join(CONFIG).exists() {
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
    if value.get("swift_type").is_none() && additional.exists() {
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
fn in_config(path: &Path, error: Error) -> Error {
    match error {
        Error::Config { option, message } => Error::Config { option: format!("{}: {option}", path.display()), message },
        Error::Target { pattern, nearest } => {
            Error::Target { pattern: format!("{pattern} of {}", path.display()), nearest }
        }
        Error::UnsupportedTuner(what) => Error::UnsupportedTuner(format!("{}: {what}", path.display())),
        other => other,
    }
}

fn read_weights(folder: &Path, config: &TunerConfig) -> Result<(PathBuf, Tensors)> {
    let (safe, bin) = (folder.join(SAFE), folder.join(BIN));
    if safe.exists() || safe.is_symlink() {
        return Ok((safe.clone(), safetensors::read(&safe)?));
    }
    let traits = registry::find(config.dialect, &config.kind)?.traits;
    if !traits.has_tensors {
        return Ok((safe, Tensors::new()));
    }
    if let Some(found) = traits.read_other.map(|read| read(folder)).transpose()?.flatten() {
        return Ok(found);
    }
    if !bin.exists() {
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
    if !config_path.exists() {
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
    if !file.exists() {
        let bin = folder.join(BIN);
        if bin.exists() {
            let message = "SWIFT does not load .bin files, to prevent malicious code; save it as safetensors".into();
            return Err(Error::Unsafe { path: bin, message });
        }
        return Ok(Some(Extra { keys, file, tensors: Tensors::new() }));
    }
    let tensors = safetensors::read(&file)?;
    Ok(Some(Extra { keys, file, tensors }))
}
