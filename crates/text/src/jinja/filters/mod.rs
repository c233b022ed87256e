//! Filters (jinja2's filters.py).

mod attributes;
mod choose;
mod json;
mod sequences;
mod texts;
mod url;
mod wrap;

use super::args::CallArgs;
use super::run::Run;
use super::value::Value;
use crate::error::{Error, Result};

const NAMES: [&str; 54] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
    "random",
];

/// Whether there is such a filter.
pub fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// `value | name(args)`.
pub fn apply(run: &mut Run, name: &str, value: Value, args: CallArgs) -> Result<Value> {
    super::limits::step(2)?;
    match name {
        "tojson" => json::tojson(&value, args),
        "map" | "select" | "reject" | "selectattr" | "rejectattr" => choose::apply(run, name, &value, args),
        "batch" | "slice" | "dictsort" | "sort" | "unique" | "min" | "max" | "sum" | "groupby" | "first" | "last"
        | "list" | "items" | "reverse" | "length" | "count" | "join" => sequences::apply(name, &value, args),
        "urlencode" | "urlize" | "xmlattr" | "filesizeformat" | "striptags" => url::apply(name, &value, args),
        "random" => Err(Error::value("the filter 'random' would give another text each time")),
        _ => texts::apply(name, &value, args),
    }
}
