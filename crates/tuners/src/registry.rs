//! All tuners by the names that configurations use. Adding a tuner is a file and a line here.

use crate::config::{AdapterConfig, Dialect};
use crate::swift::{Attachment, TunedModel};
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::Tensors;
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
    /// What sets this kind apart in the life cycle.
    pub traits: Traits,
}

/// Gives the file and its tensors, or nothing where the folder has no such file.
pub type ReadOther = fn(&Path) -> Result<Option<(PathBuf, Tensors)>>;

/// [`Entry::traits`]; the default is what most tuners are like.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Preparing it freezes the base.
    pub freezes: bool,
    /// It has tensors of its own; otherwise its configuration alone is a checkpoint.
    pub has_tensors: bool,
    /// LoRA's files: PEFT's layout on request, and conversion to it.
    pub lora_layout: bool,
    /// It puts blocks of its own into the model's list of blocks.
    pub inserts_blocks: bool,
    /// Its modules look at [`Context::rows`](swift_tuners_nn::Context), so each row of a batch may have its own adapter.
    pub by_rows: bool,
    /// Reads a checkpoint that is no safetensors file, where the original library writes one.
    pub read_other: Option<ReadOther>,
}

impl Traits {
    pub const DEFAULT: Self = Self {
        freezes: true,
        has_tensors: true,
        lora_layout: false,
        inserts_blocks: false,
        by_rows: false,
        read_other: None,
    };
}

/// SWIFT's defaults: its two common fields, then the tuner's own.
pub fn swift_fields(kind: &str, own: Json) -> Map<String, Json> {
    let mut map = Map::new();
    map.insert("swift_type".into(), kind.into());
    map.insert("model_key_mapping".into(), Json::Null);
    if let Json::Object(fields) = own {
        map.extend(fields);
    }
    map
}

static ENTRIES: &[&Entry] = &[
    &crate::lora::ENTRY,
    &crate::longlora::ENTRY,
    &crate::adapter::ENTRY,
    &crate::prompt::ENTRY,
    &crate::side::ENTRY,
    &crate::restuning::ENTRY,
    &crate::scetuning::ENTRY,
    &crate::neftune::ENTRY,
    &crate::llamapro::ENTRY,
    &crate::part::ENTRY,
    &crate::reft::ENTRY,
];

/// The tuner of that name; upper and lower case do not matter, as in Python's enums.
pub fn find(dialect: Dialect, name: &str) -> Result<&'static Entry> {
    let found = ENTRIES.iter().find(|e| e.dialects.contains(&dialect) && e.kind.eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        let field = if dialect == Dialect::Swift { "swift_type" } else { "peft_type" };
        let known: Vec<&str> = ENTRIES.iter().filter(|e| e.dialects.contains(&dialect)).map(|e| e.kind).collect();
        Error::UnsupportedTuner(format!("{field} {:?}; supported are {}", printable(name, 60), known.join(", ")))
    })
}
