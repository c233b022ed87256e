//! `Swift.save_to_peft_format`: a SWIFT checkpoint as PEFT reads it, without a model.

use super::{python_line, split_config, BIN, CONFIG, CONFIGURATION, EXTRA, SAFE};
use crate::config::{check_adapter_name, Dialect};
use crate::method::Conversion;
use crate::registry::{self, Unknown};
use serde_json::Value as Json;
use std::path::Path;
use swift_tuners_nn::checkpoint::{files, json, replace_dir_without, safetensors};
use swift_tuners_nn::{Array, Error, Result};

struct Converted {
    name: String,
    config: Json,
    additional: Option<Json>,
    tensors: Vec<(String, Array)>,
}

/// Rewrites every adapter of `ckpt` into `out` (which may be `ckpt` itself): PEFT's keys and configuration, `default` in
/// the root. A folder that is PEFT's already is copied as it is, so the call can be repeated.
///
/// Refuses extra states, and adapters that have no form in PEFT ([`Error::NotConvertible`]); then nothing is written.
pub fn save_to_peft_format(ckpt: &Path, out: &Path) -> Result<()> {
    let refuse = |message: String| Err(Error::NotConvertible { path: ckpt.to_owned(), message });
    let meta = std::fs::metadata(ckpt).map_err(|e| Error::io(ckpt, e))?;
    if !meta.is_dir() {
        return refuse("not a folder".into());
    }
    if ckpt.join(EXTRA).exists() {
        return refuse("extra_states cannot be carried over".into());
    }
    let mut names: Vec<Option<String>> = Vec::new();
    if ckpt.join(CONFIG).exists() {
        names.push(None);
    }
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(ckpt).map_err(|e| Error::io(ckpt, e))? {
        let entry = entry.map_err(|e| Error::io(ckpt, e))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if !name.starts_with('.') && check_adapter_name(&name).is_ok() && entry.path().join(CONFIG).exists() {
            folders.push(name);
        }
    }
    folders.sort();
    names.extend(folders.into_iter().map(Some));
    if names.is_empty() {
        return refuse("it holds no adapter".into());
    }
    let mut converted = Vec::new();
    for name in &names {
        let folder = name.as_ref().map_or(ckpt.to_owned(), |n| ckpt.join(n));
        let adapter = name.clone().unwrap_or_else(|| "default".into());
        let value = json::read(&folder.join(CONFIG))?;
        let named = value.get("swift_type").and_then(Json::as_str);
        let conversion = match named {
            Some(kind) => match registry::find(Dialect::Swift, kind).ok().and_then(|m| m.traits.converts) {
                Some(conversion) => Some(conversion),
                None => {
                    let kind = swift_tuners_nn::error::printable(kind, 40);
                    return refuse(format!("adapter {adapter} is {kind}, which PEFT does not have"));
                }
            },
            None => None,
        };
        let on = |field: &&str| value.get(*field).and_then(Json::as_bool) == Some(true);
        if let Some(field) = conversion.and_then(|c| c.refused.iter().find(|f| on(f))) {
            return refuse(format!("adapter {adapter} has {field}"));
        }
        let config = registry::parse(&value, Unknown::Keep)?;
        let weights = folder.join(SAFE);
        if !weights.exists() {
            return refuse(if folder.join(BIN).exists() {
                format!("adapter {adapter} has only {BIN}; SWIFT's layout needs safetensors")
            } else {
                format!("adapter {adapter} has no {SAFE}")
            });
        }
        let tensors = safetensors::read(&weights)?;
        let tensors = tensors
            .into_iter()
            .map(|(key, array)| (conversion.map_or(key.clone(), |c| peft_key(&key, &adapter, c)), array))
            .collect();
        let (plain, mut additional) = split_config(&config)?;
        let beside = folder.join("additional_config.json");
        if conversion.is_none() && beside.exists() {
            additional = Some(json::read(&beside)?);
        }
        converted.push(Converted { name: adapter, config: json::sorted(&plain), additional, tensors });
    }
    if converted.iter().filter(|c| c.name == "default").count() > 1 {
        return refuse("it has a default adapter in the root and another in a folder".into());
    }
    let others = other_files(ckpt)?;
    let in_place = out.exists() && std::fs::canonicalize(ckpt).ok() == std::fs::canonicalize(out).ok();
    // In place, `default` moves to the root: its folder goes in the same step.
    let old = out.join("default");
    let moved = in_place && old.join(CONFIG).exists() && converted.iter().any(|c| c.name == "default");
    let gone: &[&str] = if moved { &["default"] } else { &[] };
    replace_dir_without(out, gone, &mut |staging| {
        for (name, bytes) in &others {
            files::write_file(&staging.join(name), bytes)?;
        }
        for c in &converted {
            let folder = if c.name == "default" { staging.to_owned() } else { staging.join(&c.name) };
            if c.name != "default" {
                std::fs::create_dir(&folder).map_err(|e| Error::io(&folder, e))?;
            }
            json::write(&folder.join(CONFIG), &c.config)?;
            if let Some(additional) = &c.additional {
                files::write_file(&folder.join("additional_config.json"), python_line(additional).as_bytes())?;
            }
            super::save::write_tensors(&folder, &c.tensors, true)?;
        }
        Ok(())
    })?;
    // A folder that must stay is filled, and keeps what it had.
    if moved && old.exists() {
        std::fs::remove_dir_all(&old).map_err(|e| Error::io(&old, e))?;
    }
    Ok(())
}

/// The small files beside the adapters (the model card, `configuration.json`).
fn other_files(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut out = Vec::new();
    for name in ["README.md", CONFIGURATION] {
        let path = dir.join(name);
        if path.is_file() {
            out.push((name.to_owned(), files::read_bounded(&path, 16 << 20)?));
        }
    }
    Ok(out)
}

/// `model.q_proj.<group>.default.weight` → `base_model.model.model.q_proj.<group>.weight`. Only the component behind a group is the
/// adapter's name: a module may be called the same.
fn peft_key(key: &str, adapter: &str, conversion: &Conversion) -> String {
    let components: Vec<&str> = key.split('.').collect();
    let mut out: Vec<&str> = vec!["base_model", "model"];
    let mut i = 0;
    while i < components.len() {
        out.push(components[i]);
        let group = conversion.groups.iter().find(|(group, _)| *group == components[i]);
        if let Some((_, bare)) = group.filter(|_| components.get(i + 1) == Some(&adapter)) {
            i += 1;
            if *bare && components.get(i + 1) == Some(&"weight") {
                i += 1;
            }
        }
        i += 1;
    }
    out.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_adapter_component_leaves_a_key() {
        let groups = &[("down", false), ("scale", true)];
        let conversion = Conversion { added: &[], beside: &[], refused: &[], groups };
        let key = |key: &str, adapter: &str| peft_key(key, adapter, &conversion);
        assert_eq!(key("model.down.q.down.q.weight", "q"), "base_model.model.model.down.down.weight");
        assert_eq!(key("q.down.q.weight", "q"), "base_model.model.q.down.weight");
        assert_eq!(key("m.scale.d.weight", "d"), "base_model.model.m.scale");
    }
}
