//! ReFT: interventions on the hidden states of chosen layers and positions.
//!
//! Wu et al. 2024 (arXiv 2404.03592); Python's `swift.tuners.reft` over `pyreft`.

mod intervention;
mod options;
mod pyreft;
mod rotation;

use crate::config::Dialect;
use crate::fields::{FieldType, OneOrMore};
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::target::{attach_at, KeyMapping, Place};
use intervention::{Intervention, Interventions, Parts};
use options::{InterventionArgs, Options};
use pyreft::read_pyreft;
use serde_json::Map;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::models::Keys;
use swift_tuners_nn::module::model_nodes;
use swift_tuners_nn::{Error, Result};

crate::words! {
    /// The formulas, with `R [dim, r]` orthonormal, `W`, `P` `[r, dim]`.
    pub enum Formula {
        /// `h + (act(h Wᵀ + b) − h R) Rᵀ`
        Loreft = "LoreftIntervention",
        /// `h + (act(h Wᵀ + b) − (h Pᵀ + p)) P`
        Noreft = "NoreftIntervention",
        /// `h + (c − h R) Rᵀ`
        Consreft = "ConsreftIntervention",
        /// `h + c Rᵀ`
        Lobireft = "LobireftIntervention",
        /// `h + act(h Wᵀ + b) Rᵀ`
        Direft = "DireftIntervention",
        /// `h + act(h Wᵀ + b) P`
        Nodireft = "NodireftIntervention",
    }
}

crate::config! {
    /// `ReftConfig`
    pub struct ReftConfig {
        standard: [];
        model_key_mapping: Option<KeyMapping> = None;
        /// SWIFT's name of the architecture; or give `layerKey`.
        model_type: Option<String> = None;
        /// The path of the list of layers.
        layer_key: Option<String> = None;
        /// Default all.
        layers: Option<OneOrMore<u64>> = None;
        r: usize = 4, in 1..;
        intervention_type: Formula = Formula::Loreft;
        /// `add_bias`, `act_fn`, `dropout`; as JSON text or as an object.
        args: InterventionArgs = InterventionArgs(Map::new());
    }
}

/// The kind of tuner.
pub struct Reft;

impl Kind for Reft {
    const NAME: &'static str = "reft";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "ReftConfig";
    const ABOUT: &'static str = "Interventions on hidden states. Wu et al. 2024 (arXiv 2404.03592).";
    const TRAITS: Traits = Traits { read_other: Some(read_pyreft), ..Traits::DEFAULT };
    type Config = ReftConfig;

    fn check(config: &ReftConfig) -> Result<()> {
        Options::new(config)?;
        list_path(config).map(|_| ())
    }

    fn attach(config: &ReftConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

impl Formula {
    fn projects(self) -> bool {
        matches!(self, Self::Noreft | Self::Nodireft)
    }

    fn constant(self) -> bool {
        matches!(self, Self::Consreft | Self::Lobireft)
    }
}

/// The list of layers that interventions go to.
fn list_path(c: &ReftConfig) -> Result<String> {
    if let Some(key) = &c.layer_key {
        return Ok(key.clone());
    }
    if let Some(key) = c.model_key_mapping.as_ref().and_then(|m| m.get("module_list")) {
        return Ok(key.to_owned());
    }
    let name = c.model_type.as_deref().unwrap_or("");
    match Keys::swift_architecture(name) {
        Some((blocks, _, _)) => Ok(blocks.to_owned()),
        None => Err(Error::config(
            "model_type",
            format!("{:?} is no architecture that SWIFT knows (llama, phi3, …); give layer_key", printable(name, 60)),
        )),
    }
}

fn attach(c: &ReftConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    if a.model.root.tuners.iter().any(|t| t.as_any().is::<Interventions>()) {
        return Err(Error::Invalid("ReFT: the model has interventions of another adapter already".into()));
    }
    let options = Options::new(c)?;
    let list = list_path(c)?;
    let layers = match &c.layers {
        None => Vec::new(),
        Some(OneOrMore::One(layer)) => vec![*layer],
        Some(OneOrMore::More(layers)) => layers.clone(),
    };
    let width = ["hidden_size", "n_embd", "d_model"].iter().find_map(|k| a.model.config.get(*k)?.as_u64());
    let Some(width) = width.map(|w| w as usize) else {
        return Err(Error::Invalid("ReFT: config.json has no hidden_size".into()));
    };
    if options.r >= width {
        return Err(Error::config("r", format!("{} must be below the hidden size {width}", options.r)));
    }
    let mut places = Vec::new();
    for (path, node) in model_nodes(&a.model.root) {
        let index = path.strip_prefix(&list).and_then(|p| p.strip_prefix('.')).and_then(|n| n.parse::<u64>().ok());
        if let Some(index) = index.filter(|i| layers.is_empty() || layers.contains(i)) {
            places.push((index, Place { id: node.id(), path }));
        }
    }
    if places.is_empty() {
        return Err(Error::target(format!("layers of {:?}", printable(&list, 80)), Vec::new()));
    }
    let mut parts = Vec::new();
    for (index, _) in &places {
        let component = list.replace('.', "_");
        parts.push((
            format!("comp_{component}[{index}]_output_unit_pos_nunit_1#0"),
            Parts::new(&options, width, a.init)?,
        ));
    }
    let holder = Interventions { id, parts: parts.clone() };
    a.model.root.tuners.push(Box::new(holder));
    let places: Vec<Place> = places.into_iter().map(|(_, p)| p).collect();
    attach_at(&mut a.model.root, &places, |i, node| {
        node.tuners.push(Box::new(Intervention {
            id,
            name: name.to_owned(),
            index: i,
            parts: parts[i].1.clone(),
            kind: options.kind,
            act: options.act,
            dropout: options.dropout,
        }));
        Ok(())
    })?;
    let mut config = a.config.clone();
    config.set("args", c.args.json());
    Ok(Attachment::new(&config))
}
