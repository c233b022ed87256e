//! The description of the bypass.

use super::ResTuningConfig;
use crate::fields::{FieldType, OneOrMore};
use serde_json::{Map, Value as Json};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// One tuner of a block, as its configuration says.
#[derive(Clone)]
pub enum Spec {
    Identity,
    Zero,
    Adapter(Json),
    GroupAdapter(Json),
    Upsample,
}

impl Spec {
    pub fn new(value: Option<&Json>, option: &str) -> Result<Self> {
        let empty = || Json::Object(Map::new());
        let by_name = |name: &str, options: Json| match name {
            "res_adapter" => Ok(Self::Adapter(options)),
            "res_group_adapter" => Ok(Self::GroupAdapter(options)),
            "upsample" => Ok(Self::Upsample),
            "identity" => Ok(Self::Identity),
            "zero" => Ok(Self::Zero),
            other => Err(Error::config(
                option,
                format!(
                    "expected res_adapter, res_group_adapter, upsample, identity or zero, found {:?}",
                    printable(other, 60)
                ),
            )),
        };
        match value {
            None | Some(Json::Null) => Ok(Self::Identity),
            Some(Json::String(name)) => by_name(name, empty()),
            Some(Json::Object(map)) => match map.iter().next() {
                None => Ok(Self::Identity),
                Some((name, options)) if map.len() == 1 => {
                    by_name(name, if options.is_object() { options.clone() } else { empty() })
                }
                Some(_) => Err(Error::config(option, "expected one kind of tuner")),
            },
            Some(v) => Err(Error::config(option, format!("found {}", printable(&v.to_string(), 80)))),
        }
    }
}

/// `tuner_cfg`: one for all blocks, or one for each.
pub struct Blocks<'a> {
    configs: Vec<Option<&'a Json>>,
    each: bool,
    use_upsample: bool,
}

impl<'a> Blocks<'a> {
    pub fn new(c: &'a ResTuningConfig) -> Result<Self> {
        let (configs, each) = match c.tuner_cfg.as_ref().map(|b| &b.0) {
            Some(Json::Array(list)) => (list.iter().map(Some).collect(), true),
            other => (vec![other], false),
        };
        let blocks = Self { configs, each, use_upsample: c.use_upsample };
        for i in 0..blocks.configs.len() {
            blocks.specs(i, usize::MAX)?;
        }
        Ok(blocks)
    }

    /// Lateral, vertical and auxiliary tuner of block `i` of `depth`.
    pub fn specs(&self, i: usize, depth: usize) -> Result<(Spec, Spec, Option<Spec>)> {
        let found = if self.each { self.configs.get(i) } else { self.configs.first() };
        let option = |part: &str| format!("tuner_cfg{part}");
        match found {
            None => Err(Error::config("tuner_cfg", format!("{} entries are fewer than the stems", self.configs.len()))),
            Some(Some(Json::Object(map))) => {
                let part = |name: &str| Spec::new(map.get(name), &option(&format!(".{name}")));
                let aux = match map.get("aux_cfg") {
                    None | Some(Json::Null) => None,
                    Some(Json::Object(m)) if m.is_empty() => None,
                    Some(_) => Some(part("aux_cfg")?),
                };
                Ok((part("lateral_cfg")?, part("vertical_cfg")?, aux))
            }
            Some(Some(value @ Json::String(_))) => {
                let spec = Spec::new(Some(value), &option(""))?;
                let aux = (self.use_upsample && i + 1 != depth).then_some(Spec::Upsample);
                Ok((spec.clone(), spec, aux))
            }
            Some(None) => Ok((Spec::Identity, Spec::Identity, None)),
            Some(Some(v)) => Err(Error::config("tuner_cfg", format!("found {}", printable(&v.to_string(), 80)))),
        }
    }
}

/// `tuner_cfg` as it is written.
#[derive(Clone, Debug)]
pub struct BypassBlocks(Json);

impl FieldType for BypassBlocks {
    const WANTED: &'static str = "a tuner, or one for each block";
    fn typescript() -> String {
        "ResTunerBlock | ResTunerBlock[]".into()
    }
    fn of(value: &Json) -> Option<Self> {
        matches!(value, Json::Array(_) | Json::Object(_) | Json::String(_)).then(|| Self(value.clone()))
    }
    fn json(&self) -> Json {
        self.0.clone()
    }
}

/// `upsample_out_channels` of block `i`; no convolution where it is null.
pub fn upsample_channels(c: &ResTuningConfig, i: usize) -> Option<usize> {
    match &c.upsample_out_channels {
        None => None,
        Some(OneOrMore::One(channels)) => *channels,
        Some(OneOrMore::More(list)) => list.get(i).copied().flatten(),
    }
}
