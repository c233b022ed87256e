//! `args` of ReFT's configuration.

use super::{Formula, ReftConfig};
use crate::fields::FieldType;
use serde_json::{Map, Value as Json};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::ops::Activation;
use swift_tuners_nn::{Error, Result};

/// What `args` holds.
pub struct Options {
    pub kind: Formula,
    pub r: usize,
    pub add_bias: bool,
    pub act: Activation,
    pub dropout: f64,
}

impl Options {
    pub fn new(c: &ReftConfig) -> Result<Self> {
        let (kind, args) = (c.intervention_type, &c.args.0);
        let add_bias = match args.get("add_bias") {
            Some(Json::Bool(b)) => *b,
            None | Some(Json::Null) if !kind.projects() => false,
            None | Some(Json::Null) => {
                let name = printable(&kind.json().to_string(), 60);
                return Err(Error::config("args.add_bias", format!("missing: {name} needs true or false")));
            }
            Some(v) => return Err(Error::config("args.add_bias", format!("found {}", printable(&v.to_string(), 40)))),
        };
        let act = match args.get("act_fn") {
            None | Some(Json::Null) => Activation::Identity,
            Some(Json::String(name)) => Activation::parse(name, "args.act_fn")?,
            Some(v) => return Err(Error::config("args.act_fn", format!("found {}", printable(&v.to_string(), 40)))),
        };
        let dropout = match args.get("dropout") {
            None | Some(Json::Null) => 0.,
            Some(v) => v.as_f64().filter(|p| (0. ..1.).contains(p)).ok_or_else(|| {
                Error::config(
                    "args.dropout",
                    format!("expected a probability, found {}", printable(&v.to_string(), 40)),
                )
            })?,
        };
        Ok(Self { kind, r: c.r, add_bias, act, dropout })
    }
}

/// `args`: JSON text when it is given, an object once it was saved.
#[derive(Clone, Debug)]
pub struct InterventionArgs(pub Map<String, Json>);

impl FieldType for InterventionArgs {
    const WANTED: &'static str = "an object, or one as JSON text";
    fn typescript() -> String {
        "string | { add_bias?: boolean; act_fn?: string; dropout?: number }".into()
    }
    fn of(value: &Json) -> Option<Self> {
        match value {
            Json::Null => Some(Self(Map::new())),
            Json::Object(map) => Some(Self(map.clone())),
            Json::String(text) => match serde_json::from_str(text) {
                Ok(Json::Object(map)) => Some(Self(map)),
                _ => None,
            },
            _ => None,
        }
    }
    fn json(&self) -> Json {
        Json::Object(self.0.clone())
    }
}
