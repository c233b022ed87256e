//! All tuners by the names that configurations use. Adding a tuner is a file and a line here.

use crate::config::{AdapterConfig, Dialect};
use crate::swift::{Attachment, TunedModel};
use serde_json::{Map, Value as Json};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{AdapterId, Error, Result};

/// What the life cycle needs to know about one kind of tuner.
pub struct Entry {
    /// As `swift_type` and `peft_type` spell it.
    pub kind: &'static str,
    pub dialects: &'static [Dialect],
    /// Every field of the Python class with its default.
    pub defaults: fn(Dialect) -> Map<String, Json>,
    /// Checks the fields alone, without a model.
    pub check: fn(&AdapterConfig) -> Result<()>,
    /// Attaches an adapter. May fail half-way: the life cycle undoes what was done.
    pub attach: fn(&mut TunedModel, AdapterId, &str, &AdapterConfig, seed: u64) -> Result<Attachment>,
}

static ENTRIES: &[&Entry] = &[&crate::lora::ENTRY];

/// The tuner of that name; upper and lower case do not matter, as in Python's enums.
pub fn find(dialect: Dialect, name: &str) -> Result<&'static Entry> {
    let found = ENTRIES.iter().find(|e| e.dialects.contains(&dialect) && e.kind.eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        let field = if dialect == Dialect::Swift { "swift_type" } else { "peft_type" };
        let known: Vec<&str> = ENTRIES.iter().filter(|e| e.dialects.contains(&dialect)).map(|e| e.kind).collect();
        Error::UnsupportedTuner(format!("{field} {:?}; supported are {}", printable(name, 60), known.join(", ")))
    })
}
