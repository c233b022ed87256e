//! Res-Tuning: a bypass network beside the frozen model, fed by what its modules take in and give out.
//!
//! Jiang et al. 2023 (arXiv 2310.19859); Python's `swift.tuners.restuning`.

mod bypass;
mod scaling;
mod spec;
mod target;

use crate::blocks::Probe;
use crate::config::Dialect;
use crate::fields::{OneOrMore, Required, Sizes};
use crate::method::{Attach, Attachment, Kind};
use crate::target::{attach_at, Place, SwiftPattern, SwiftRule};
use bypass::{At, Block, ResTuner};
use serde_json::Value as Json;
use spec::{upsample_channels, Blocks, BypassBlocks};
use std::sync::Arc;
use swift_tuners_nn::module::{model_nodes, Own, Position};
use swift_tuners_nn::{Model, Result};
use target::{Holder, Target};

crate::words! {
    /// What of a module is taken.
    pub enum Hook { Input = "input", Output = "output" }
}

crate::config! {
    /// `ResTuningConfig`
    pub struct ResTuningConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        /// Channels of the stems: one for all, or one for each.
        dims: Required<Sizes>;
        /// Where the bypass starts; default the first stem's input.
        root_modules: Option<SwiftPattern> = None;
        root_modules_hook: Hook = Hook::Input;
        /// A regular expression, or exact paths in the order of the bypass.
        stem_modules: Required<SwiftRule>;
        stem_modules_hook: Hook = Hook::Output;
        target_modules: Required<SwiftPattern>;
        target_modules_hook: Hook = Hook::Input;
        target_hidden_pos: Option<Position> = Some(Position::Index(0));
        /// One for all blocks, or one for each.
        tuner_cfg: Option<BypassBlocks> = None;
        use_upsample: bool = false;
        upsample_out_channels: Option<OneOrMore<Option<usize>>> = None;
        zero_init_last: bool = false;
        use_bypass: bool = true;
    }
}

/// The kind of tuner.
pub struct ResTuning;

impl Kind for ResTuning {
    const NAME: &'static str = "RESTUNING";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "ResTuningConfig";
    const ABOUT: &'static str = "A bypass network beside the frozen model. Jiang et al. 2023 (arXiv 2310.19859).";
    type Config = ResTuningConfig;

    fn check(config: &ResTuningConfig) -> Result<()> {
        Blocks::new(config).map(|_| ())
    }

    fn attach(config: &ResTuningConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

/// The stems: a pattern in the model's order, or exact paths in the list's.
fn stems(model: &Model, rule: &SwiftRule) -> Result<Vec<Place>> {
    const FIELD: &str = "stem_modules";
    match rule {
        SwiftRule::Pattern(_) => rule.places(model, FIELD),
        SwiftRule::Endings(paths) => {
            let nodes = model_nodes(&model.root);
            let find = |path: &String| {
                let found = nodes.iter().find(|(p, _)| p == path);
                let place = found.map(|(path, node)| Place { id: node.id(), path: path.clone() });
                place.ok_or_else(|| rule.nothing_found(model, FIELD))
            };
            if paths.is_empty() {
                return Err(rule.nothing_found(model, FIELD));
            }
            paths.iter().map(find).collect()
        }
    }
}

/// The place among a pass's taps where the bypass starts; stem i is at `i + 1`.
const START: usize = 0;

fn attach(c: &ResTuningConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    let stems = stems(a.model, &c.stem_modules.0)?;
    let targets = c.target_modules.0.places(a.model, "target_modules")?;
    // Without a root the bypass starts from what the first stem takes in.
    let (start, start_output) = match &c.root_modules {
        Some(rule) => {
            let first = rule.places(a.model, "root_modules")?.swap_remove(0);
            (first, c.root_modules_hook == Hook::Output)
        }
        None => (stems[0].clone(), false),
    };
    let blocks = Blocks::new(c)?;
    let mut built = Vec::new();
    for i in 0..stems.len() {
        let place = At { dim: c.dims.0.at("dims", i)?, index: i, zero: c.zero_init_last && i + 1 == stems.len() };
        let channels = upsample_channels(c, i);
        let (lateral, vertical, aux) = blocks.specs(i, stems.len())?;
        built.push(Block {
            lateral: ResTuner::new(&lateral, &place, channels, a.init)?,
            vertical: ResTuner::new(&vertical, &place, channels, a.init)?,
            aux: aux.map(|spec| ResTuner::new(&spec, &place, channels, a.init)).transpose()?,
        });
    }
    let mut params = Vec::new();
    for (i, block) in built.iter().enumerate() {
        let tuners =
            [("lateral", Some(&block.lateral)), ("vertical", Some(&block.vertical)), ("aux", block.aux.as_ref())];
        for (side, tuner) in tuners {
            let named = tuner.map(ResTuner::params).unwrap_or_default().into_iter();
            params.extend(named.map(|(n, p)| (format!("bypass_blocks.{i}.{side}_tuner.tuner.{n}"), p)));
        }
    }
    let bypass: Arc<Vec<Block>> = Arc::new(built);
    let own = |params| Own { adapter: id, before: "restuning_", name: name.to_owned(), params };
    a.model.root.tuners.push(Box::new(Holder { own: own(params) }));

    let stem_output = c.stem_modules_hook == Hook::Output;
    let mut probes = vec![(start, START, start_output)];
    probes.extend(stems.into_iter().enumerate().map(|(i, place)| (place, i + 1, stem_output)));
    for (place, at, output) in probes {
        attach_at(&mut a.model.root, &[place], |_, node| {
            node.tuners.push(Box::new(Probe { own: own(Vec::new()), at, output }));
            Ok(())
        })?;
    }
    let position = c.target_hidden_pos.clone().unwrap_or(Position::Index(0));
    let target_output = c.target_modules_hook == Hook::Output;
    attach_at(&mut a.model.root, &targets, |_, node| {
        let (bypass, position) = (bypass.clone(), position.clone());
        node.tuners.push(Box::new(Target { own: own(Vec::new()), bypass, position, output: target_output }));
        Ok(())
    })?;
    Ok(Attachment::new(a.config))
}
