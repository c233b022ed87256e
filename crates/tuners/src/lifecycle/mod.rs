//! The life cycle of a tuned model: SWIFT's `Swift` and `SwiftModel`, and PEFT's `PeftModel`, over one tree.

mod activation;
mod groups;
pub(crate) mod measure;
mod merge;
mod slots;
mod steps;
mod weighted;

pub use activation::{Offload, RowIds};
pub use groups::{GaLoreGroup, ParamGroup};
pub use measure::Measure;
pub use slots::{Format, Slot};
pub use swift_tuners_nn::combine::{Combination, SignMethod};
pub use weighted::WeightedOptions;

use crate::bias::Bias;
use crate::config::{check_adapter_name, Dialect, TunerConfig};
use crate::formats::LoadReport;
use crate::init::Init;
use crate::method::{Attach, Attachment, Traits};
use crate::pattern::FullMatch;
use crate::registry::{self, Unknown};
use indexmap::IndexMap;
use parking_lot::Mutex;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use swift_tuners_nn::module::{
    for_each_list_mut, for_each_node_mut, named_parameters, names_beside, own_parameters, Node,
};
use swift_tuners_nn::param::Place;
use swift_tuners_nn::{AdapterId, Array, Error, Model, Param, Result};

/// What a model has become through `prepareModel` or `fromPretrained`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Base,
    Swift,
    Peft,
}

impl Flavor {
    /// What Python's wrappers put before every parameter name.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Base => "",
            Self::Swift => "base_model.",
            Self::Peft => "base_model.model.",
        }
    }

    /// What a name of this wrapping may be inside of the tree, most likely first: the names of the base model are taken, too, and what
    /// stands beside the model has one component less before it.
    pub(crate) fn names_inside(self, name: &str) -> impl Iterator<Item = &str> {
        let without = [name.strip_prefix(self.prefix()), name.strip_prefix("base_model.")];
        without.into_iter().flatten().chain(std::iter::once(name))
    }
}

/// What Python calls the parameters of a tuned model, behind the prefix of its wrappers.
pub struct Naming {
    prefix: String,
    /// What stands beside the model and not in it, one component higher in PEFT.
    beside: HashSet<String>,
}

impl Naming {
    pub fn full(&self, path: &str) -> String {
        let first = path.split('.').next().unwrap_or(path);
        let prefix = if self.beside.contains(first) { higher(&self.prefix) } else { &self.prefix };
        format!("{prefix}{path}")
    }
}

/// A prefix with one component less.
fn higher(prefix: &str) -> &str {
    let inner = prefix.strip_suffix('.').unwrap_or(prefix);
    inner.rfind('.').map_or("", |dot| &prefix[..=dot])
}

/// An adapter of a model.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub id: AdapterId,
    pub config: TunerConfig,
    pub bias: Bias,
    /// What sets its kind apart.
    pub(crate) traits: Traits,
    /// [`Attachment::shared`]
    shared: Vec<String>,
    /// [`Attachment::unmergeable`]
    pub(crate) unmergeable: Option<&'static str>,
    /// [`Attachment::penalised`]
    pub(crate) penalised: bool,
    /// Whether it was attached or loaded for training.
    trainable: Arc<AtomicBool>,
}

/// Options of `prepare`.
#[derive(Clone, Debug, Default)]
pub struct PrepareOptions {
    /// Regular expressions of base parameters to train and save beside the tuners.
    pub extra_state_keys: Vec<String>,
    /// Freezes the new adapters.
    pub inference_mode: bool,
    pub seed: u64,
    /// The tokens of the texts that configurations start from.
    pub texts: HashMap<String, Vec<i64>>,
    /// Where the configurations were read from.
    pub folder: Option<PathBuf>,
}

/// A model with its adapters.
pub struct TunedModel {
    pub model: Model,
    pub flavor: Flavor,
    adapters: IndexMap<String, Adapter>,
    /// The active adapters of each JavaScript thread; of all threads together under 0 when `unique_thread`.
    active: Mutex<HashMap<u64, Vec<AdapterId>>>,
    unique_thread: bool,
    extra_state_keys: Vec<String>,
    pub load_reports: Vec<LoadReport>,
    /// The base's parameters were switched off, which happens once.
    frozen: bool,
    next_id: u32,
    /// Holds what was offloaded to `meta`; removed with the model.
    offload_dir: Mutex<Option<PathBuf>>,
    /// Found again by a walk over the tree, which switching must not repeat; emptied by whatever changes the tree.
    own: Mutex<HashMap<AdapterId, Arc<Vec<OwnParam>>>>,
    /// [`Attach::replaced`], while a call may fail.
    replaced: Vec<(String, Vec<Node>)>,
    /// What data told of layers, for the adapters that come next.
    measured: measure::Measurements,
}

/// A parameter that belongs to one adapter alone.
#[derive(Clone)]
pub(crate) struct OwnParam {
    pub param: Param,
    /// Saved and loaded, but never trained.
    pub buffer: bool,
}

impl Drop for TunedModel {
    fn drop(&mut self) {
        if let Some(dir) = &*self.offload_dir.lock() {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

/// All that a failed call may have changed. Of the adapters that were there none changes in a call that can fail.
struct Snapshot {
    /// The base's and those of the adapters that the call may touch.
    params: Vec<(Param, Place, bool)>,
    adapters: usize,
    next_id: u32,
    active: HashMap<u64, Vec<AdapterId>>,
    flavor: Flavor,
    extra_state_keys: Vec<String>,
    reports: usize,
    frozen: bool,
    /// LLaMA-Pro changes it.
    config: Json,
}

impl TunedModel {
    /// `unique_thread` is SWIFT's `USE_UNIQUE_THREAD`: one active set for all threads (1), or one for each (0).
    pub fn new(model: Model, unique_thread: bool) -> Self {
        Self {
            model,
            flavor: Flavor::Base,
            adapters: IndexMap::new(),
            active: Mutex::default(),
            unique_thread,
            extra_state_keys: Vec::new(),
            load_reports: Vec::new(),
            frozen: false,
            next_id: 0,
            offload_dir: Mutex::default(),
            own: Mutex::default(),
            replaced: Vec::new(),
            measured: HashMap::new(),
        }
    }

    /// What the tree's names are in Python behind this prefix (mostly [`Flavor::prefix`]).
    pub fn naming(&self, prefix: &str) -> Naming {
        let peft = self.flavor == Flavor::Peft && prefix == Flavor::Peft.prefix();
        let beside = if peft { names_beside(&self.model.root) } else { HashSet::new() };
        // Python wraps a model once less for prompts.
        let once = peft && self.adapters.values().any(|a| a.traits.virtual_tokens);
        Naming { prefix: if once { higher(prefix) } else { prefix }.to_owned(), beside }
    }

    pub fn adapters(&self) -> &IndexMap<String, Adapter> {
        &self.adapters
    }

    pub fn extra_state_keys(&self) -> &[String] {
        &self.extra_state_keys
    }

    pub(crate) fn add_extra_state_keys(&mut self, keys: &[String]) {
        for key in keys {
            if !self.extra_state_keys.contains(key) {
                self.extra_state_keys.push(key.clone());
            }
        }
    }

    /// A parameter's value, also while it is offloaded.
    pub fn value(&self, param: &Param) -> Result<Array> {
        activation::value_anywhere(param)
    }

    pub fn is_unique_thread(&self) -> bool {
        self.unique_thread
    }

    pub(crate) fn id(&self, name: &str) -> Result<AdapterId> {
        self.adapters.get(name).map(|a| a.id).ok_or_else(|| self.unknown(name))
    }

    /// Changes what is known of an adapter whose tensors have changed.
    pub(crate) fn set_config(&mut self, name: &str, config: TunerConfig) {
        self.own.lock().clear();
        if let Some(adapter) = self.adapters.get_mut(name) {
            adapter.config = config;
        }
    }

    pub(crate) fn unknown(&self, name: &str) -> Error {
        Error::AdapterNotFound {
            name: swift_tuners_nn::error::printable(name, 80),
            known: self.adapters.keys().cloned().collect(),
        }
    }

    /// Runs a change that may fail half-way; a failure leaves the model as it was. `touched` are the adapters whose tensors it
    /// may change: what the others hold is not looked at, so that a call costs the same however many there are.
    pub(crate) fn transaction<T>(
        &mut self,
        touched: &[String],
        change: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let as_it_is = |p: &Param| (p.clone(), p.place(), p.requires_grad());
        let mut params: Vec<_> = own_parameters(&self.model.root).into_iter().map(|(_, p)| as_it_is(p)).collect();
        for name in touched {
            params.extend(self.slots(name)?.iter().map(|slot| as_it_is(&slot.param)));
        }
        let before = Snapshot {
            params,
            adapters: self.adapters.len(),
            next_id: self.next_id,
            active: self.active.lock().clone(),
            flavor: self.flavor,
            extra_state_keys: self.extra_state_keys.clone(),
            reports: self.load_reports.len(),
            frozen: self.frozen,
            config: self.model.config.clone(),
        };
        // A panic inside (a bug) must not leave half a change behind either: the boundary would catch it and go on.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change(self)));
        self.own.lock().clear();
        let replaced = std::mem::take(&mut self.replaced);
        if matches!(result, Ok(Ok(_))) {
            return result.expect("just matched");
        }
        // Every id that was given out since, also of an adapter whose attaching broke off in the middle.
        let new: Vec<AdapterId> = (before.next_id..self.next_id).map(AdapterId).collect();
        self.remove_from_tree(&new);
        for (path, items) in replaced.into_iter().rev() {
            self.put_back(&path, items);
        }
        for (param, place, requires_grad) in before.params {
            param.put_back(place);
            if param.requires_grad() != requires_grad {
                param.set_requires_grad(requires_grad);
            }
        }
        self.adapters.truncate(before.adapters);
        *self.active.lock() = before.active;
        self.flavor = before.flavor;
        self.extra_state_keys = before.extra_state_keys;
        self.load_reports.truncate(before.reports);
        self.frozen = before.frozen;
        self.model.config = before.config;
        match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn put_back(&mut self, path: &str, items: Vec<Node>) {
        let mut items = Some(items);
        for_each_list_mut(&mut self.model.root, &mut |found, list| {
            if let Some(items) = items.take_if(|_| found == path) {
                list.items = items;
                list.number_blocks();
            }
        });
    }

    pub(crate) fn remove_from_tree(&mut self, ids: &[AdapterId]) {
        self.own.lock().clear();
        for_each_node_mut(&mut self.model.root, &mut |node| {
            node.tuners.retain_mut(|t| !ids.iter().any(|&id| t.detach(id)));
        });
        for_each_list_mut(&mut self.model.root, &mut |_, list| {
            let before = list.items.len();
            list.items.retain(|n| !n.inserted_for().is_some_and(|id| ids.contains(&id)));
            if list.items.len() != before {
                list.number_blocks();
            }
        });
    }

    /// `Swift.prepare_model`: attaches named adapters, which are active and trainable at once.
    ///
    /// The base is frozen at the first call. A name that exists already is skipped and returned. Nothing changes when any
    /// of the configurations fails.
    pub fn prepare(
        &mut self,
        thread: u64,
        configs: &[(String, Json)],
        options: &PrepareOptions,
    ) -> Result<Vec<String>> {
        let parsed = configs
            .iter()
            .map(|(name, json)| {
                check_adapter_name(name)?;
                Ok((name.clone(), registry::parse(json, Unknown::Keep)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let extra = options
            .extra_state_keys
            .iter()
            .map(|k| FullMatch::new(k, "extra_state_keys"))
            .collect::<Result<Vec<_>>>()?;
        // The patterns look at adapters' parameters, too.
        let touched = if extra.is_empty() { Vec::new() } else { self.adapters.keys().cloned().collect() };
        self.transaction(&touched, |m| {
            // One after the other they draw from one generator.
            let mut init = Init::new(&m.model, options.seed);
            init.texts = options.texts.clone();
            let mut skipped = Vec::new();
            for (name, config) in parsed {
                if m.adapters.contains_key(&name) {
                    if config.dialect == Dialect::Peft {
                        return Err(Error::AdapterExists(name));
                    }
                    skipped.push(name);
                } else {
                    m.add(thread, &name, &config, options, &mut init)?;
                }
            }
            m.measured.clear();
            m.train_extra_states(&extra)?;
            m.extra_state_keys.extend(options.extra_state_keys.iter().cloned());
            Ok(skipped)
        })
    }

    fn train_extra_states(&self, patterns: &[FullMatch]) -> Result<()> {
        if patterns.is_empty() {
            return Ok(());
        }
        for (name, param) in named_parameters(&self.model.root) {
            for p in patterns {
                if p.matches(&name)? {
                    if let Some(packing) = param.packing() {
                        let message = format!("{name} is packed ({}) and cannot be trained", packing.name());
                        return Err(Error::config("extra_state_keys", message));
                    }
                    param.set_requires_grad(true);
                }
            }
        }
        Ok(())
    }

    /// Attaches one adapter inside a transaction.
    pub(crate) fn add(
        &mut self,
        thread: u64,
        name: &str,
        config: &TunerConfig,
        options: &PrepareOptions,
        init: &mut Init,
    ) -> Result<()> {
        self.attach(thread, name, config, options, init)?;
        self.slots(name)?.iter().filter(|slot| !slot.is_made()).try_for_each(|slot| slot.param.settle())
    }

    /// The same, with initial values that the caller sets or settles ([`Param::settle`]).
    pub(crate) fn attach(
        &mut self,
        thread: u64,
        name: &str,
        config: &TunerConfig,
        options: &PrepareOptions,
        init: &mut Init,
    ) -> Result<()> {
        check_adapter_name(name)?;
        let flavor = if config.dialect == Dialect::Swift { Flavor::Swift } else { Flavor::Peft };
        if self.flavor != Flavor::Base && self.flavor != flavor {
            return Err(Error::Invalid(
                "this model already has adapters of the other kind; SWIFT and PEFT configurations cannot be mixed"
                    .into(),
            ));
        }
        // Letter by letter: a folded copy of every name would make the thousandth adapter dearer than the first.
        if let Some(other) = self.adapters.keys().find(|k| folded(k).eq(folded(name))) {
            return Err(Error::config(
                "adapter name",
                format!("{name:?} and {other:?} differ in case only, which not every file system can tell apart"),
            ));
        }
        let method = registry::find(config.dialect, &config.kind)?;
        let id = AdapterId(self.next_id);
        self.next_id += 1;
        if method.traits.freezes && !self.frozen {
            for (_, p) in own_parameters(&self.model.root) {
                p.set_requires_grad(false);
            }
            self.frozen = true;
        }
        if let Some(other) = self.adapters.values().find(|a| a.traits.virtual_tokens != method.traits.virtual_tokens) {
            let why = format!(
                "{} does not go with {}, which the model has: one of them puts virtual tokens before the sequence",
                method.name, other.config.kind
            );
            return Err(Error::config("peft_type", why));
        }
        let others = self.adapters.values().map(|a| &a.config).collect();
        let folder = options.folder.as_deref();
        let (model, replaced, measured) = (&mut self.model, &mut self.replaced, &self.measured);
        let attachment =
            (method.attach)(&mut Attach { model, id, name, config, others, init, folder, replaced, measured })?;
        let first = self.adapters.is_empty();
        let Attachment { mut config, bias, shared, unmergeable, penalised } = attachment;
        // As resolved, and once: later adapters look at it.
        config.typed = (method.read)(&config)?;
        self.adapters.insert(
            name.to_owned(),
            Adapter {
                id,
                config,
                bias,
                traits: method.traits,
                shared,
                unmergeable,
                penalised,
                trainable: Arc::default(),
            },
        );
        self.flavor = flavor;
        match flavor {
            // PEFT activates the first adapter only.
            Flavor::Peft if !first => {}
            _ => self.edit_active(thread, |active| active.push(id)),
        }
        if options.inference_mode {
            self.set_trainable(name, false)?;
        } else if flavor == Flavor::Peft && !first {
            self.set_own_trainable(name, false)?;
        } else {
            self.set_trainable(name, true)?;
        }
        Ok(())
    }

    /// An adapter's own parameters, and the biases that it trains.
    pub fn set_trainable(&self, name: &str, on: bool) -> Result<()> {
        self.set_own_trainable(name, on)?;
        if let Some(adapter) = self.adapters.get(name) {
            adapter.trainable.store(on, Ordering::Relaxed);
        }
        // Finding them walks the tree; switching must not, where there are none.
        if self.adapters.get(name).is_some_and(|a| a.bias != Bias::None || !a.shared.is_empty()) {
            for slot in self.slots(name)?.iter().filter(|s| s.is_base_trained()) {
                slot.param.set_requires_grad(on);
            }
        }
        Ok(())
    }

    fn set_own_trainable(&self, name: &str, on: bool) -> Result<()> {
        for own in self.own_params(name)?.iter().filter(|own| !own.buffer) {
            own.param.set_requires_grad(on);
        }
        Ok(())
    }

    fn own_params(&self, name: &str) -> Result<Arc<Vec<OwnParam>>> {
        let id = self.id(name)?;
        if let Some(own) = self.own.lock().get(&id) {
            return Ok(own.clone());
        }
        let slots = self.slots(name)?.into_iter().filter(|s| s.is_own());
        let own = Arc::new(slots.map(|s| OwnParam { buffer: s.is_buffer(), param: s.param }).collect::<Vec<_>>());
        self.own.lock().insert(id, own.clone());
        Ok(own)
    }

    /// Removes an adapter for good (`PeftModel.delete_adapter`).
    pub fn delete(&mut self, name: &str) -> Result<()> {
        let id = self.id(name)?;
        if self.is_merged(Some(&[id])) {
            return Err(Error::Invalid("unmerge before you delete an adapter whose weights are merged".into()));
        }
        self.remove_from_tree(&[id]);
        self.adapters.shift_remove(name);
        for set in self.active.lock().values_mut() {
            set.retain(|&a| a != id);
            if set.is_empty() {
                set.extend(self.adapters.values().next().map(|a| a.id));
            }
        }
        Ok(())
    }

    /// `trainable params: 3,584 || all params: 159,808 || trainable%: 2.2427|| cuda memory: 0.00GiB.`
    ///
    /// SWIFT's text, letter by letter; tied parameters count once.
    pub fn report(&self) -> String {
        let (mut trainable, mut all) = (0, 0);
        for (_, p) in named_parameters(&self.model.root) {
            let n = p.numel();
            all += n;
            if p.requires_grad() {
                trainable += n;
            }
        }
        let percent = if all == 0 { 0. } else { 100. * trainable as f64 / all as f64 };
        format!(
            "trainable params: {} || all params: {} || trainable%: {percent:.4}|| cuda memory: 0.00GiB.",
            thousands(trainable),
            thousands(all)
        )
    }

    /// A parameter by its name in this wrapping, or by its name in the base model.
    pub fn parameter(&self, name: &str) -> Result<Param> {
        let found = self.flavor.names_inside(name).find_map(|n| self.model.parameter(n));
        found.ok_or_else(|| no_parameter(name))
    }
}

/// The letters of a name in lower case.
fn folded(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().flat_map(char::to_lowercase)
}

/// The error for a name that no parameter has.
pub(crate) fn no_parameter(name: &str) -> Error {
    Error::Argument(format!("no parameter is called {:?}", swift_tuners_nn::error::printable(name, 160)))
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
