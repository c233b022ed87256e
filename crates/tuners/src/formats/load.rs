//! `Swift.from_pretrained` and `PeftModel.from_pretrained`.

use super::found::{in_config, read_directory, Extra, Found, NameSelection};
use super::{LoadReport, CONFIG, EXTRA};
use crate::config::Dialect;
use crate::init::Init;
use crate::lifecycle::{Flavor, Format, PrepareOptions, Slot, TunedModel};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{all_parameters, own_parameters, saved_nodes};
use swift_tuners_nn::ops::all_finite;
use swift_tuners_nn::{Array, Error, Param, Result};

#[derive(Clone, Debug, Default)]
pub struct FromPretrainedOptions {
    pub names: NameSelection,
    /// Loads the adapters frozen.
    pub inference_mode: bool,
    /// Missing or surplus tensors become an error.
    pub strict: bool,
    pub seed: u64,
}

impl TunedModel {
    /// Loads the adapters of a directory in SWIFT's or PEFT's layout, which its configurations tell.
    ///
    /// Everything is read and checked before the model is touched; a failure leaves it as it was. What happened to each
    /// tensor is in [`TunedModel::load_reports`].
    pub fn from_pretrained(&mut self, thread: u64, dir: &Path, options: &FromPretrainedOptions) -> Result<()> {
        directory(dir)?;
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

    pub(super) fn apply(&mut self, thread: u64, found: &Found, options: &FromPretrainedOptions) -> Result<()> {
        let prepare = PrepareOptions {
            seed: options.seed,
            inference_mode: options.inference_mode,
            folder: found.config_path.parent().map(Path::to_owned),
            ..Default::default()
        };
        self.free_name(&found.name)?;
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
        let lacking = slots.iter().zip(&filled).filter(|(_, filled)| !**filled).map(|(slot, _)| elements(&slot.param));
        let lacking = lacking.fold(0usize, usize::saturating_add);
        if lacking > SPARE
            && lacking / 4 > own_parameters(&self.model.root).iter().map(|(_, p)| elements(p)).sum::<usize>()
        {
            return Err(Error::Mismatch {
                path: found.file.clone(),
                message: format!(
                    "{lacking} values are missing of what {} describes, more than the model has",
                    found.config_path.display()
                ),
            });
        }
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

/// Values that a file may lack in any case. What it lacks is made, in sizes that a configuration of a few bytes claims.
const SPARE: usize = 1 << 24;

fn elements(param: &Param) -> usize {
    param.shape().iter().fold(1, |n, &size| n.saturating_mul(size))
}

/// Fails where there is no directory.
pub(super) fn directory(dir: &Path) -> Result<()> {
    let meta = std::fs::metadata(dir).map_err(|e| Error::io(dir, e))?;
    if meta.is_dir() {
        Ok(())
    } else {
        Err(Error::corrupt(dir, "not an adapter directory"))
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
