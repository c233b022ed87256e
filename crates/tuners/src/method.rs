//! What the life cycle knows about a kind of tuner.

use crate::config::{Dialect, TunerConfig};
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::Tensors;
use swift_tuners_nn::combine::Combination;
use swift_tuners_nn::{AdapterId, Array, Model, Result};

/// A kind of tuner.
pub struct Method {
    /// As `swift_type` and `peft_type` spell it.
    pub kind: &'static str,
    pub dialects: &'static [Dialect],
    /// Every field of the Python class with its default.
    pub defaults: fn(Dialect) -> Map<String, Json>,
    /// Checks the fields alone, without a model.
    pub check: fn(&TunerConfig) -> Result<()>,
    /// Attaches an adapter. May fail half-way: the life cycle undoes what was done.
    pub attach: fn(&mut Attach<'_>) -> Result<Attachment>,
    /// How adapters of this kind are combined, where they can be.
    pub combination: Option<Combinations>,
    /// What sets this kind apart in the life cycle.
    pub traits: Traits,
}

/// An adapter about to be attached.
pub struct Attach<'a> {
    pub model: &'a mut Model,
    pub id: AdapterId,
    pub name: &'a str,
    pub config: &'a TunerConfig,
    pub seed: u64,
}

/// What attaching tells the life cycle.
pub struct Attachment {
    /// The configuration with everything resolved, as it is saved.
    pub config: TunerConfig,
    pub bias: Bias,
    /// Base parameters that train and are saved with the adapter, by their names without tuners.
    pub shared: Vec<String>,
}

impl Attachment {
    pub fn new(config: &TunerConfig) -> Self {
        Self { config: config.clone(), bias: Bias::None, shared: Vec::new() }
    }
}

/// Which biases of the base train with an adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    #[default]
    None,
    All,
    /// Those of the adapted layers (`lora_only` and its kin).
    Adapted,
}

/// The values of a combined adapter at one place, in the order of its parts.
pub struct Made {
    pub path: String,
    pub values: Vec<Array>,
}

/// `add_weighted_adapter` for one kind.
#[derive(Clone, Copy)]
pub struct Combinations {
    /// The rank of the result; fails when these configurations cannot be combined so.
    pub rank: fn(&[&TunerConfig], Combination, svd_rank: Option<usize>) -> Result<usize>,
    /// Its configuration.
    pub config: fn(&[&TunerConfig], rank: usize, &[Made]) -> Result<TunerConfig>,
}

/// Gives the file and its tensors, or nothing where the folder has no such file.
pub type ReadOther = fn(&Path) -> Result<Option<(PathBuf, Tensors)>>;

/// [`Method::traits`]; the default is what most tuners are like.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Preparing it freezes the base.
    pub freezes: bool,
    /// It has tensors of its own; otherwise its configuration alone is a checkpoint.
    pub has_tensors: bool,
    /// It can go into the weights.
    pub merges: bool,
    /// It puts blocks of its own into the model's list of blocks.
    pub inserts_blocks: bool,
    /// Each row of a batch may have its own adapter of this kind.
    pub by_rows: bool,
    /// Reads a checkpoint that is no safetensors file, where the original library writes one.
    pub read_other: Option<ReadOther>,
}

impl Traits {
    pub const DEFAULT: Self = Self {
        freezes: true,
        has_tensors: true,
        merges: false,
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
