//! Adapter directories: SWIFT's, PEFT's, and the way from one to the other.

mod card;
mod convert;
mod found;
mod hotswap;
mod load;
mod save;
mod state;

pub use convert::save_to_peft_format;
pub use found::NameSelection;
pub use load::FromPretrainedOptions;
pub use save::SaveOptions;

use crate::config::{Dialect, TunerConfig};
use crate::registry;
use serde_json::{Map, Value as Json};
use std::path::Path;
use swift_tuners_nn::checkpoint::json;
use swift_tuners_nn::Result;

pub const CONFIG: &str = "adapter_config.json";
pub const SAFE: &str = "adapter_model.safetensors";
pub const BIN: &str = "adapter_model.bin";
pub const EXTRA: &str = "extra_states";
/// ModelScope's description of a repository; SWIFT writes an empty one.
pub const CONFIGURATION: &str = "configuration.json";
/// The field of it that lists adapters in the order of attaching.
const ORDER: &str = "adapter_order";

/// What became of every tensor of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    pub adapter: String,
    pub file: String,
    pub loaded: Vec<String>,
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
    pub warnings: Vec<String>,
    /// What needs no attention, such as converted dtypes.
    pub notes: Vec<String>,
}

/// What a folder's `configuration.json` holds: nothing where it is missing or no object, as nothing depends on it.
fn configuration(dir: &Path) -> Map<String, Json> {
    match json::read(&dir.join(CONFIGURATION)) {
        Ok(Json::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn adapter_order(configuration: &Map<String, Json>) -> Vec<String> {
    let listed = configuration.get(ORDER).and_then(Json::as_array).into_iter().flatten();
    listed.filter_map(|n| n.as_str().map(str::to_owned)).collect()
}

/// Splits a configuration into PEFT's own fields and `additional_config.json`, which only kinds have that SWIFT adds fields to.
fn split_config(config: &TunerConfig) -> Result<(Json, Option<Json>)> {
    let Some(conversion) = registry::find(config.dialect, &config.kind)?.traits.converts else {
        return Ok((config.to_json(), None));
    };
    let fields = &config.fields;
    let own = |k: &str| k != Dialect::Swift.field() && !conversion.added.contains(&k);
    let mut plain: Map<String, Json> =
        fields.iter().filter(|(k, _)| own(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    // What says `swift_type` need not say `peft_type` as well.
    if plain.get("peft_type").is_none_or(Json::is_null) {
        plain.insert("peft_type".into(), config.kind.as_str().into());
    }
    let additional: Map<String, Json> =
        conversion.beside.iter().map(|&k| (k.to_owned(), fields.get(k).cloned().unwrap_or(Json::Null))).collect();
    Ok((Json::Object(plain), Some(Json::Object(additional))))
}

/// As Python's `json.dump` writes it: one line, a space behind colons and commas.
fn python_line(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let items: Vec<String> =
                map.iter().map(|(k, v)| format!("{}: {}", Json::from(k.as_str()), python_line(v))).collect();
            format!("{{{}}}", items.join(", "))
        }
        Json::Number(n) => match n.as_f64() {
            // Python writes 1e-06 where Rust writes 1e-6.
            Some(x) if n.is_f64() && x != 0. && x.abs() < 1e-4 => {
                let text = format!("{x:e}");
                match text.split_once("e-") {
                    Some((m, e)) if e.len() == 1 => format!("{m}e-0{e}"),
                    _ => text,
                }
            }
            _ => n.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_that_says_swift_type_alone_names_peft_s_kind_when_it_is_split() {
        for given in
            [json!({ "swift_type": "LORA", "r": 3 }), json!({ "swift_type": "LORA", "r": 3, "peft_type": null })]
        {
            let config = crate::registry::parse(&given, crate::registry::Unknown::Keep).unwrap();
            let (plain, additional) = split_config(&config).unwrap();
            assert_eq!(plain["peft_type"], "LORA");
            assert_eq!(plain.get("swift_type"), None);
            assert_eq!(plain["r"], 3);
            assert_eq!(additional.unwrap()["lorap_lr_ratio"], 16.);
        }
    }
}
