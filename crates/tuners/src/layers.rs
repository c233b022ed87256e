//! Attaching adapters to layers: which ones, and what PEFT does beside them.

use crate::bank::Bank;
use crate::bias::{bias_of, Bias};
use crate::config::{Dialect, TunerConfig};
use crate::fields::Fields;
use crate::init::Init;
use crate::layer::{Layer, LayerAdapter};
use crate::method::{Attach, Attachment, Combinations, Kind, Restored, Traits};
use crate::modules_to_save;
use crate::site::Site;
use crate::target::{self, attach_at, Place};
use candle_core::DType;
use serde_json::Value as Json;
use swift_tuners_nn::module::{named_nodes, Node};
use swift_tuners_nn::ops::compute_dtype;
use swift_tuners_nn::{AdapterId, Error, Model, Result};

/// A kind of tuner whose adapters sit on layers.
pub trait LayerKind: 'static {
    const NAME: &'static str;
    const DIALECT: Dialect = Dialect::Peft;
    const CLASS: &'static str;
    const ABOUT: &'static str;
    const TRAITS: Traits = Traits::LAYER;
    const COMBINATION: Option<Combinations> = None;
    const RESTORED: Option<Restored> = None;
    type Config: Fields + Clone;
    /// One adapter at one layer, mostly the type itself.
    type Adapter: LayerAdapter;

    /// What the fields do not allow together.
    fn check(_config: &Self::Config) -> Result<()> {
        Ok(())
    }

    /// What is done to the model before its layers are looked at.
    fn prepare(_config: &Self::Config, _attach: &mut Attach<'_>) -> Result<()> {
        Ok(())
    }

    /// Whether the configuration may name no layer at all, because it names other places.
    fn may_name_none(_config: &Self::Config) -> bool {
        false
    }

    /// Why an adapter of this configuration cannot be merged, if it cannot.
    fn unmergeable(_config: &Self::Config) -> Option<&'static str> {
        None
    }

    /// Whether adapters of this configuration want something added to the loss.
    fn penalised(_config: &Self::Config) -> bool {
        false
    }

    /// PEFT's default `target_modules` for this model.
    fn default_targets(model: &Model) -> &'static [&'static str] {
        model.keys.lora_targets
    }

    /// The configuration as this model needs it, before anything is attached; refuses what does not go with `others`.
    fn resolve(_config: &Self::Config, _attach: &Attach<'_>, _resolved: &mut TunerConfig) -> Result<()> {
        Ok(())
    }

    /// Adds paths to those that the configuration names.
    fn more_targets(_config: &Self::Config, _model: &Model, _found: &mut Vec<String>) {}

    /// The type of new parameters.
    fn dtype(_config: &Self::Config, model: &Model) -> DType {
        compute_dtype(model.dtype)
    }

    /// What all layers share, sized by all sites.
    fn bank(_config: &Self::Config, _sites: &[Site], _init: &mut Init) -> Result<Option<Bank>> {
        Ok(None)
    }

    /// The adapter of one layer. Draws as Python's constructor does. `resolved` is what [`LayerKind::resolve`] left.
    fn new(
        config: &Self::Config,
        site: &Site,
        bank: Option<&Bank>,
        init: &mut Init,
        resolved: &TunerConfig,
    ) -> Result<Self::Adapter>;

    /// What is left to do when all layers have theirs.
    fn finish(_config: &Self::Config, _attach: &mut Attach<'_>) -> Result<()> {
        Ok(())
    }
}

impl<K: LayerKind> Kind for K {
    const NAME: &'static str = K::NAME;
    const DIALECT: Dialect = K::DIALECT;
    const CLASS: &'static str = K::CLASS;
    const ABOUT: &'static str = K::ABOUT;
    const TRAITS: Traits = K::TRAITS;
    const COMBINATION: Option<Combinations> = K::COMBINATION;
    const RESTORED: Option<Restored> = K::RESTORED;
    type Config = K::Config;

    fn check(config: &K::Config) -> Result<()> {
        K::check(config)
    }

    fn attach(config: &K::Config, a: &mut Attach<'_>) -> Result<Attachment> {
        attach::<K>(config, a)
    }
}

/// Attaches an adapter to every layer that its configuration means, with the copies of `modules_to_save`.
pub fn attach<K: LayerKind>(config: &K::Config, a: &mut Attach<'_>) -> Result<Attachment> {
    let mut resolved = a.config.clone();
    let bias = bias_of(resolved.fields.get("bias").unwrap_or(&Json::Null))?;
    if bias != Bias::None && a.config.dialect == Dialect::Peft && !a.others.is_empty() {
        return Err(Error::config("bias", "PEFT supports one adapter with bias; use 'none' when there are several"));
    }
    K::prepare(config, a)?;
    save_heads(a.model, &mut resolved)?;
    let optional = K::may_name_none(config);
    resolve_targets(a.model, K::default_targets(a.model), optional, &mut resolved)?;
    K::resolve(config, a, &mut resolved)?;
    let copied = resolved.texts("modules_to_save")?.unwrap_or_default();
    let mut targets = if optional && resolved.get("target_modules").is_none() {
        Vec::new()
    } else {
        match target::resolve(a.model, &resolved, &copied) {
            Err(Error::Target { .. }) if optional => Vec::new(),
            found => found?,
        }
    };
    if matches!(resolved.get("target_modules"), Some(Json::String(s)) if s.eq_ignore_ascii_case("all-linear")) {
        resolved.set("target_modules", target::shortest(a.model, &targets));
    }
    K::more_targets(config, a.model, &mut targets);

    let mut places: Vec<Place> = Vec::new();
    let mut sites: Vec<Site> = Vec::new();
    let wanted: std::collections::HashSet<&String> = targets.iter().collect();
    for (path, node) in named_nodes(&a.model.root) {
        if wanted.contains(&path) {
            if node.has_merged() {
                return Err(Error::Invalid(format!("{path}: unmerge before another adapter is added")));
            }
            let measured = a.measured.get(&path).cloned().unwrap_or_default();
            let mut site = Site::of(node, &path)?.with(measured);
            site.first = node.tuner::<Layer<K::Adapter>>().is_none();
            sites.push(site);
            places.push(Place { id: node.id(), path });
        }
    }
    let copies = modules_to_save::places(a.model, &copied)?;
    a.init.dtype = K::dtype(config, a.model);
    let bank = K::bank(config, &sites, a.init)?;
    if let Some(bank) = &bank {
        bank.attach(a);
    }
    if resolved.fields.contains_key("fan_in_fan_out") {
        // Corrected as Python corrects it, also in the saved configuration.
        resolved.set("fan_in_fan_out", sites.iter().any(Site::is_transposed));
    }
    let mut made = Vec::with_capacity(sites.len());
    for site in &sites {
        made.push(Some(K::new(config, site, bank.as_ref(), a.init, &resolved)?));
    }
    let (id, name) = (a.id, a.name);
    attach_at(&mut a.model.root, &places, |i, node| {
        let adapter = made[i].take().ok_or_else(|| Error::Invalid(format!("{} stands twice", sites[i].path)))?;
        push::<K::Adapter>(node, &sites[i], id, name, adapter)
    })?;
    modules_to_save::attach(a, &copies)?;
    K::finish(config, a)?;
    let (unmergeable, penalised) = (K::unmergeable(config), K::penalised(config));
    Ok(Attachment { config: resolved, bias, shared: Vec::new(), unmergeable, penalised })
}

fn push<D: LayerAdapter>(node: &mut Node, site: &Site, id: AdapterId, name: &str, adapter: D) -> Result<()> {
    if node.tuner::<Layer<D>>().is_none() {
        node.tuners.push(Box::new(Layer::<D>::new(site.clone())));
    } else if D::BASE_NAME.is_none() {
        // Their tensors carry no adapter's name in memory.
        let why = format!("{} has an adapter of this kind already, and their tensors have the same names", site.path);
        return Err(Error::config("target_modules", why));
    }
    if let Some(layer) = node.tuner_mut::<Layer<D>>() {
        layer.push(id, name, adapter);
    }
    Ok(())
}

/// The head of a task trains with every adapter.
pub(crate) fn save_heads(model: &Model, config: &mut TunerConfig) -> Result<()> {
    let task = config.text("task_type")?;
    if config.dialect != Dialect::Peft || !matches!(task, Some("SEQ_CLS" | "TOKEN_CLS" | "QUESTION_ANS")) {
        return Ok(());
    }
    let mut saved = config.texts("modules_to_save")?.unwrap_or_default();
    for head in model.keys.head_names() {
        if !saved.iter().any(|s| s == head) {
            saved.push((*head).to_owned());
        }
    }
    if !saved.is_empty() {
        config.set("modules_to_save", saved);
    }
    Ok(())
}

/// Absent targets become the model type's own.
pub(crate) fn resolve_targets(
    model: &Model,
    defaults: &[&str],
    optional: bool,
    config: &mut TunerConfig,
) -> Result<()> {
    if config.get("target_modules").is_some() {
        return Ok(());
    }
    if defaults.is_empty() && !optional {
        let kind = model.keys.model_type;
        return Err(Error::config("target_modules", format!("missing: PEFT has no defaults for {kind}")));
    }
    if defaults == ["all-linear"] {
        config.set("target_modules", "all-linear");
        return Ok(());
    }
    let defaults: Vec<String> = defaults.iter().map(|&t| t.to_owned()).collect();
    config.set("target_modules", defaults);
    Ok(())
}
