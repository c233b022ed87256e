//! Shadow: a small network beside a frozen decoder, whose state blocks take in and hand on.
//!
//! Li et al. 2026 (arXiv 2604.19254); PEFT's `peft.tuners.shadow`, since 0.21.

mod backbone;
mod beside;
mod block;
mod pretrained;

use crate::config::Dialect;
use crate::fields::{Names, Probability};
use crate::layers::save_heads;
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::modules_to_save;
use crate::target::{self, attach_at, Place};
use backbone::Backbone;
use block::{Entry, ShadowBlock};
use swift_tuners_nn::module::named_nodes;
use swift_tuners_nn::ops::compute_dtype;
use swift_tuners_nn::{Error, Model, Result};

crate::config! {
    /// `ShadowConfig`
    pub struct ShadowConfig {
        standard: [peft, exclude_modules, layers_to_transform, layers_pattern, modules_to_save];
        /// Suffixes of blocks' names, or a regular expression for whole names. They must be neighbours. Default: every block.
        target_modules: Option<Names> = None;
        /// Rank of what goes into a block's input.
        r: usize = 8, in 1..;
        /// How much of it goes in.
        shadow_alpha: f64 = 0.1;
        /// Of the difference between hidden states and shadow states.
        shadow_dropout: Probability = Probability(0.2);
        /// False starts with random matrices throughout, so that the adapter acts at once.
        init_weights: bool = true;
        /// 'mirror' makes a fresh network of the model's own family; anything else is the folder of a trained one.
        shadow_model: String = "mirror".to_owned();
        /// Blocks of a fresh network; by default 1.
        shadow_num_hidden_layers: Option<usize> = None;
        /// Its width; by default the model's, as with the fields that follow.
        shadow_hidden_size: Option<usize> = None;
        shadow_num_attention_heads: Option<usize> = None;
        shadow_intermediate_size: Option<usize> = None;
        /// Feeds a fresh network of the model's width with the model's own embeddings.
        share_embeddings: bool = true;
        /// Inner width of the networks that move the state on; by default `r`.
        update_hidden_size: Option<usize> = None;
        /// How much the loss counts that the small network has by itself, in passes with labels.
        auxiliary_loss_weight: f64 = 0.05;
    }
}

impl ShadowConfig {
    /// The sizes of a fresh network by their fields.
    fn sizes(&self) -> [(&'static str, Option<usize>); 4] {
        [
            ("shadow_num_hidden_layers", self.shadow_num_hidden_layers),
            ("shadow_hidden_size", self.shadow_hidden_size),
            ("shadow_num_attention_heads", self.shadow_num_attention_heads),
            ("shadow_intermediate_size", self.shadow_intermediate_size),
        ]
    }

    fn is_mirror(&self) -> bool {
        self.shadow_model == MIRROR
    }

    fn update_width(&self) -> usize {
        self.update_hidden_size.filter(|&width| width > 0).unwrap_or(self.r)
    }
}

const MIRROR: &str = "mirror";
const MOST_LAYERS: usize = 1024;

/// The kind of tuner.
pub struct Shadow;

impl Kind for Shadow {
    const NAME: &'static str = "SHADOW";
    const DIALECT: Dialect = Dialect::Peft;
    const CLASS: &'static str = "ShadowConfig";
    const ABOUT: &'static str =
        "A small network beside a frozen decoder: each block takes in what sets its input apart from the network's state, and moves the state on. Li et al. 2026 (arXiv 2604.19254).";
    const TRAITS: Traits = Traits::DEFAULT;
    type Config = ShadowConfig;

    fn check(c: &ShadowConfig) -> Result<()> {
        for (name, size) in c.sizes() {
            if size.is_some() && !c.is_mirror() {
                return Err(Error::config(name, "the network of a folder has its own sizes; leave it out"));
            }
            if size == Some(0) && name != "shadow_num_hidden_layers" {
                return Err(Error::config(name, "expected a positive integer, found 0"));
            }
        }
        if let Some(layers) = c.shadow_num_hidden_layers.filter(|&n| n > MOST_LAYERS) {
            return Err(Error::config(
                "shadow_num_hidden_layers",
                format!("expected at most {MOST_LAYERS}, found {layers}"),
            ));
        }
        Ok(())
    }

    fn attach(c: &ShadowConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        let mut resolved = a.config.clone();
        save_heads(a.model, &mut resolved)?;
        let shadows = a.others.iter().copied().filter(|other| other.kind == Self::NAME);
        let mut tasks = shadows.map(|other| other.text("task_type")).collect::<Result<Vec<_>>>()?;
        if !tasks.is_empty() {
            tasks.push(a.config.text("task_type")?);
        }
        if tasks.contains(&Some("SEQ_CLS")) {
            return Err(Error::config("task_type", "a classifier takes one Shadow adapter"));
        }
        let blocks = blocks(a.model);
        if c.target_modules.is_none() {
            if resolved.is_given("layers_to_transform") {
                let why = "PEFT leaves it without effect; name the blocks in target_modules";
                return Err(Error::config("layers_to_transform", why));
            }
            resolved.set("target_modules", every_block(a.model, &blocks)?);
        }
        let copied = resolved.texts("modules_to_save")?.unwrap_or_default();
        let targets = target::resolve(a.model, &resolved, &copied)?;
        check_neighbours(&blocks, &targets)?;
        let nodes = named_nodes(&a.model.root).into_iter().filter(|(path, _)| targets.contains(path));
        let places: Vec<Place> = nodes.map(|(path, node)| Place { id: node.id(), path }).collect();
        let copies = modules_to_save::places(a.model, &copied)?;

        // The network is of the model's type, as in Python, and what blocks have of a wider one.
        a.init.dtype = a.model.dtype;
        let folder = if c.is_mirror() { None } else { Some(pretrained::resolve(&c.shadow_model, a.folder)?) };
        if let Some(dir) = &folder {
            // So that it is found from wherever the adapter is saved.
            resolved.set("shadow_model", dir.display().to_string());
        }
        let backbone = Backbone::new(c, folder.as_deref(), a)?;
        a.init.dtype = compute_dtype(a.model.dtype);
        let width = backbone.width;
        let mut entries = Vec::with_capacity(places.len());
        for at in 0..places.len() {
            entries.push(Some(Entry::new(c, a.name, width, at + 1 == places.len(), a.init)?));
        }
        beside::attach(a, backbone);
        let id = a.id;
        attach_at(&mut a.model.root, &places, |i, node| {
            let entry = entries[i].take().ok_or_else(|| Error::Invalid(format!("{} stands twice", places[i].path)))?;
            ShadowBlock::attach(node, id, entry);
            Ok(())
        })?;
        modules_to_save::attach(a, &copies)?;
        Ok(Attachment::new(&resolved))
    }
}

/// The paths of the model's blocks.
fn blocks(model: &Model) -> Vec<String> {
    let number = |path: &str| {
        let rest = path.strip_prefix(model.keys.blocks)?.strip_prefix('.')?;
        rest.chars().all(|c| c.is_ascii_digit()).then(|| path.to_owned())
    };
    named_nodes(&model.root).into_iter().filter_map(|(path, _)| number(&path)).collect()
}

fn every_block(model: &Model, blocks: &[String]) -> Result<Vec<String>> {
    // PEFT looks for a list called `layers` or `h`.
    if model.keys.blocks.ends_with(".layers") || model.keys.blocks.ends_with(".h") {
        return Ok(blocks.to_vec());
    }
    let why = format!("missing: PEFT finds the blocks of decoders alone, and not of {}", model.keys.architecture);
    Err(Error::config("target_modules", why))
}

/// The state goes from block to block, so that none may lie between.
fn check_neighbours(blocks: &[String], targets: &[String]) -> Result<()> {
    if let Some(other) = targets.iter().find(|path| !blocks.contains(path)) {
        let example = blocks.first().map(String::as_str).unwrap_or_default();
        let why = format!("{other} is no block; SHADOW wraps blocks as wholes, such as {example:?}");
        return Err(Error::config("target_modules", why));
    }
    let mut inside = blocks.iter().skip_while(|path| !targets.contains(path)).take(targets.len());
    match inside.find(|path| !targets.contains(path)) {
        Some(gap) => {
            Err(Error::config("target_modules", format!("{gap} lies between wrapped blocks; they must be neighbours")))
        }
        None => Ok(()),
    }
}
