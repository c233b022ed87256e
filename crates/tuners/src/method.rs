//! What the life cycle knows about a kind of tuner.

use crate::bias::Bias;
use crate::config::{Dialect, TunerConfig, Typed};
use crate::fields::{Declared, Fields};
use crate::init::Init;
use crate::measured::Measurements;
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::Tensors;
use swift_tuners_nn::combine::Combination;
use swift_tuners_nn::module::Node;
use swift_tuners_nn::{AdapterId, Array, Model, Result};

/// A kind of tuner in one of Python's two worlds, as a type: what [`Method::of`] is made from.
pub trait Kind: 'static {
    /// As `swift_type` and `peft_type` spell it.
    const NAME: &'static str;
    const DIALECT: Dialect;
    /// The configuration's class, in Python and in TypeScript.
    const CLASS: &'static str;
    /// What it does, with its source: the documentation of the class.
    const ABOUT: &'static str;
    const TRAITS: Traits = Traits::DEFAULT;
    /// How adapters of this kind are combined, where they can be.
    const COMBINATION: Option<Combinations> = None;
    /// How an adapter over changed weights is saved as one over the weights as they were.
    const RESTORED: Option<Restored> = None;
    type Config: Fields + Clone;

    /// What the fields do not allow together.
    fn check(_config: &Self::Config) -> Result<()> {
        Ok(())
    }

    /// Attaches an adapter. May fail half-way: the life cycle undoes what was done.
    fn attach(config: &Self::Config, attach: &mut Attach<'_>) -> Result<Attachment>;
}

/// A kind of tuner as a value.
pub struct Method {
    pub name: &'static str,
    pub dialect: Dialect,
    pub class: &'static str,
    pub about: &'static str,
    pub traits: Traits,
    pub combination: Option<Combinations>,
    pub restored: Option<Restored>,
    /// Every field of the class, without those that tell the kind.
    pub fields: fn() -> Vec<Declared>,
    /// Reads and checks the fields alone, without a model.
    pub read: fn(&TunerConfig) -> Result<Typed>,
    pub attach: fn(&mut Attach<'_>) -> Result<Attachment>,
}

impl Method {
    pub const fn of<K: Kind>() -> Self {
        Self {
            name: K::NAME,
            dialect: K::DIALECT,
            class: K::CLASS,
            about: K::ABOUT,
            traits: K::TRAITS,
            combination: K::COMBINATION,
            restored: K::RESTORED,
            fields: K::Config::declared,
            read: |config| {
                let typed = K::Config::read(config)?;
                K::check(&typed)?;
                Ok(Typed::new(typed))
            },
            attach: |attach| {
                let config = K::Config::of(attach.config)?;
                K::attach(&config, attach)
            },
        }
    }
}

/// An adapter about to be attached.
pub struct Attach<'a> {
    pub model: &'a mut Model,
    pub id: AdapterId,
    pub name: &'a str,
    pub config: &'a TunerConfig,
    /// The configurations of the adapters that are there.
    pub others: Vec<&'a TunerConfig>,
    pub init: &'a mut Init,
    /// Where the configuration was read from.
    pub folder: Option<&'a Path>,
    /// Lists of blocks that others have taken the place of, by path: what is put here comes back when the call fails.
    pub replaced: &'a mut Vec<(String, Vec<Node>)>,
    /// What data told of layers.
    pub measured: &'a Measurements,
}

/// What attaching tells the life cycle.
pub struct Attachment {
    /// The configuration with everything resolved, as it is saved.
    pub config: TunerConfig,
    pub bias: Bias,
    /// Base parameters that train and are saved with the adapter, by their names without tuners.
    pub shared: Vec<String>,
    /// Why it cannot be merged, where others of its kind can.
    pub unmergeable: Option<&'static str>,
    /// Whether it wants something added to the loss ([`swift_tuners_nn::module::Tuner::penalty`]).
    pub penalised: bool,
}

impl Attachment {
    pub fn new(config: &TunerConfig) -> Self {
        Self { config: config.clone(), bias: Bias::None, shared: Vec::new(), unmergeable: None, penalised: false }
    }
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

/// From an adapter's configuration and tensors under PEFT's keys, and the tensors that it started with.
pub type Restored = fn(&TunerConfig, Vec<(String, Array)>, &Tensors) -> Result<(TunerConfig, Vec<(String, Array)>)>;

/// How SWIFT's checkpoints of a kind are written as PEFT's.
#[derive(Debug)]
pub struct Conversion {
    /// Fields that PEFT's class does not have.
    pub added: &'static [&'static str],
    /// Those of them that go to `additional_config.json`.
    pub beside: &'static [&'static str],
    /// Flags that PEFT has nothing like: an adapter that has one of them on stays as it is.
    pub refused: &'static [&'static str],
    /// Parts of keys that the adapter's name stands behind, and whether `.weight` behind that goes, too.
    pub groups: &'static [(&'static str, bool)],
}

impl Conversion {
    /// The flag that is in the way, if one is.
    pub fn refuses(&self, config: &TunerConfig) -> Result<Option<&'static str>> {
        for &field in self.refused {
            if config.flag(field)? {
                return Ok(Some(field));
            }
        }
        Ok(None)
    }
}

/// Gives the file and its tensors, or nothing where the folder has no such file.
pub type ReadOther = fn(&Path) -> Result<Option<(PathBuf, Tensors)>>;

/// [`Kind::TRAITS`]; the default is what most of SWIFT's tuners are like.
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
    /// It does something at the steps of a training run.
    pub steps: bool,
    /// Each row of a batch may have its own adapter of this kind.
    pub by_rows: bool,
    /// It puts virtual tokens before the sequence, for which PEFT wraps the model itself; no other kind goes with it.
    pub virtual_tokens: bool,
    /// Reads a checkpoint that is no safetensors file, where the original library writes one.
    pub read_other: Option<ReadOther>,
    /// The form of its checkpoints in PEFT, where it has one besides its own.
    pub converts: Option<&'static Conversion>,
}

impl Traits {
    pub const DEFAULT: Self = Self {
        freezes: true,
        has_tensors: true,
        merges: false,
        inserts_blocks: false,
        steps: false,
        by_rows: false,
        virtual_tokens: false,
        read_other: None,
        converts: None,
    };
    /// What sits on layers and maps their weights, inputs or outputs.
    pub const LAYER: Self = Self { merges: true, by_rows: true, ..Self::DEFAULT };
}
