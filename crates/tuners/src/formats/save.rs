//! `SwiftModel.save_pretrained` and `PeftModel.save_pretrained`.

use super::{adapter_order, configuration, python_line, split_config, BIN, CONFIG, CONFIGURATION, EXTRA, ORDER, SAFE};
use crate::config::Dialect;
use crate::lifecycle::{Flavor, Format, TunedModel};
use crate::pattern::FullMatch;
use crate::registry;
use serde_json::{json, Map, Value as Json};
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::{
    files, format_pt, json as json_files, replace_dir, safetensors, torch_bin, write_model,
};
use swift_tuners_nn::module::named_parameters;
use swift_tuners_nn::{Array, Error, Param, Result};

#[derive(Clone, Debug, Default)]
pub struct SaveOptions {
    /// All adapters when absent. Names that do not exist are skipped and returned.
    pub names: Option<Vec<String>>,
    /// Writes a SwiftModel's adapters as PEFT does, where they have a form there.
    pub peft_format: bool,
    /// A folder with what the adapter started with: it is then saved for the weights from before its initialisation, where that
    /// changed them (PEFT's `path_initial_model_for_weight_conversion`).
    pub initial: Option<PathBuf>,
    /// safetensors, or PyTorch's `.bin`.
    pub safe: bool,
    /// Bytes that one file of a base model may have.
    pub max_shard: u64,
}

/// The patterns, and the tensors that they match.
type ExtraStates = (Vec<String>, Vec<(String, Array)>);

/// One adapter ready to be written.
struct Written {
    name: String,
    /// In the root folder, as PEFT puts `default`.
    in_root: bool,
    config: Json,
    additional: Option<Json>,
    /// Absent for a tuner that has none.
    tensors: Option<Vec<(String, Array)>>,
}

impl TunedModel {
    /// Writes adapters in this model's layout, whole or not at all. Returns the names that were asked for but not found.
    pub fn save_pretrained(&self, dir: &Path, options: &SaveOptions) -> Result<Vec<String>> {
        let chosen: Vec<String> = match &options.names {
            Some(names) => names.iter().filter(|n| self.adapters().contains_key(*n)).cloned().collect(),
            None => self.adapters().keys().cloned().collect(),
        };
        let mut left = Vec::with_capacity(chosen.len());
        for name in chosen {
            if !self.is_spent(&name)? {
                left.push(name);
            }
        }
        let chosen = left;
        let unknown = options.names.iter().flatten().filter(|n| !self.adapters().contains_key(*n)).cloned().collect();
        let peft = self.flavor == Flavor::Peft || options.peft_format;
        let mut written = Vec::new();
        for name in chosen {
            written.push(self.written(&name, peft, options.initial.as_deref())?);
        }
        let extra = self.extra_states()?;
        // Tuners without modules of their own train the base itself: it is what there is to save.
        let whole = !self.adapters().is_empty() && self.adapters().values().all(|a| !a.traits.has_tensors);
        replace_dir(dir, &mut |staging| {
            if whole {
                write_model(&self.model, staging, options.safe, options.max_shard, &Param::array)?;
            } else {
                files::write_file(&staging.join("README.md"), self.card().as_bytes())?;
            }
            if self.flavor != Flavor::Peft {
                let saved: Vec<&str> = written.iter().filter(|w| !w.in_root).map(|w| w.name.as_str()).collect();
                let text = Json::Object(self.configuration(dir, &saved)).to_string();
                files::write_file(&staging.join(CONFIGURATION), text.as_bytes())?;
            }
            for w in &written {
                let folder = if w.in_root { staging.to_owned() } else { staging.join(&w.name) };
                if !w.in_root {
                    std::fs::create_dir(&folder).map_err(|e| Error::io(&folder, e))?;
                }
                write_adapter(&folder, w, options.safe)?;
            }
            if let Some((keys, tensors)) = &extra {
                let folder = staging.join(EXTRA);
                std::fs::create_dir(&folder).map_err(|e| Error::io(&folder, e))?;
                json_files::write(&folder.join(CONFIG), &json!({ "extra_state_keys": keys }))?;
                write_tensors(&folder, tensors, options.safe)?;
            }
            Ok(())
        })?;
        Ok(unknown)
    }

    /// ModelScope's own file, in which Python notes nothing: adapters that were not attached in the order of their names
    /// are listed, as adapters on one module nest in that order. What a folder's file holds otherwise is kept.
    fn configuration(&self, dir: &Path, saved: &[&str]) -> Map<String, Json> {
        let mut fields = configuration(dir);
        let before = adapter_order(&fields);
        let here = |name: &String| saved.contains(&name.as_str()) || dir.join(name).join(CONFIG).exists();
        let own = self.adapters().keys().cloned();
        let order: Vec<String> =
            own.chain(before.into_iter().filter(|n| !self.adapters().contains_key(n))).filter(here).collect();
        if order.is_sorted() {
            fields.remove(ORDER);
        } else {
            fields.insert(ORDER.into(), order.into());
        }
        fields
    }

    fn written(&self, name: &str, peft: bool, initial: Option<&Path>) -> Result<Written> {
        let adapter = &self.adapters()[name];
        let traits = adapter.traits;
        // PEFT's own go its way; of SWIFT's some have a form there.
        let convertible = match traits.converts {
            Some(conversion) => conversion.refuses(&adapter.config)?.is_none(),
            None => false,
        };
        let own = adapter.config.dialect == Dialect::Peft;
        let format = if own || peft && convertible { Format::Peft } else { Format::Swift };
        let mut tensors = traits.has_tensors.then(|| self.tensors(name, format)).transpose()?;
        let mut config = adapter.config.clone();
        if let Some(initial) = initial {
            let restored = registry::find(config.dialect, &config.kind)?.restored.filter(|_| format == Format::Peft);
            let (Some(restored), Some(all)) = (restored, tensors.take()) else {
                let message = format!("adapter {name} is of a kind whose initialisation changes no weights");
                return Err(Error::NotConvertible { path: initial.to_owned(), message });
            };
            let before = safetensors::read(&initial.join(SAFE))?;
            let (changed, all) = restored(&config, all, &before)?;
            config = changed;
            tensors = Some(all);
        }
        let (config, additional) = if format == Format::Peft {
            let (mut plain, additional) = split_config(&config)?;
            plain["inference_mode"] = true.into();
            (plain, additional)
        } else {
            (config.to_json(), None)
        };
        let config = json_files::sorted(&config);
        Ok(Written {
            name: name.to_owned(),
            in_root: format == Format::Peft && name == "default",
            config,
            additional,
            tensors,
        })
    }

    /// An adapter's tensors under their keys, wherever the values are.
    pub fn tensors(&self, name: &str, format: Format) -> Result<Vec<(String, Array)>> {
        let mut out: Vec<(String, Array)> = Vec::new();
        for slot in self.slots(name)?.into_iter().filter(|s| s.is_saved(format)) {
            let key = slot.key(format, name);
            if out.iter().any(|(k, _)| *k == key) {
                continue;
            }
            let mut value = self.value(&slot.param)?;
            if let Some((dim, kept)) = &slot.saved {
                let kept = Array::from_slice(kept, kept.len(), value.device())?;
                value = value.index_select(&kept, *dim)?;
            }
            match slot.excerpt(format) {
                Some(excerpt) => {
                    let parts = (excerpt.take)(&value, excerpt.keep)?;
                    out.extend(excerpt.endings.iter().zip(parts).map(|(end, part)| (format!("{key}{end}"), part)));
                }
                None => out.push((key, value)),
            }
        }
        Ok(out)
    }

    fn extra_states(&self) -> Result<Option<ExtraStates>> {
        if self.extra_state_keys().is_empty() {
            return Ok(None);
        }
        let patterns = self
            .extra_state_keys()
            .iter()
            .map(|k| FullMatch::new(k, "extra_state_keys"))
            .collect::<Result<Vec<_>>>()?;
        let mut tensors = Vec::new();
        for (name, param) in named_parameters(&self.model.root) {
            for p in &patterns {
                if p.matches(&name)? {
                    tensors.push((name.clone(), param.array()?));
                    break;
                }
            }
        }
        Ok(Some((self.extra_state_keys().to_vec(), tensors)))
    }
}

fn write_adapter(folder: &Path, w: &Written, safe: bool) -> Result<()> {
    json_files::write(&folder.join(CONFIG), &w.config)?;
    if let Some(additional) = &w.additional {
        files::write_file(&folder.join("additional_config.json"), python_line(additional).as_bytes())?;
    }
    match &w.tensors {
        Some(tensors) => write_tensors(folder, tensors, safe),
        None => Ok(()),
    }
}

pub(super) fn write_tensors(folder: &Path, tensors: &[(String, Array)], safe: bool) -> Result<()> {
    if safe {
        safetensors::write(&folder.join(SAFE), tensors, &format_pt())
    } else {
        torch_bin::write(&folder.join(BIN), tensors)
    }
}
