//! How adapters come to a model, and go.

use super::adapter::Adapter;
use super::flavor::Flavor;
use super::tuned_model::TunedModel;
use crate::config::{check_adapter_name, Dialect, TunerConfig};
use crate::init::Init;
use crate::method::{Attach, Attachment};
use crate::pattern::FullMatch;
use crate::registry::{self, Unknown};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use swift_tuners_nn::module::{named_parameters, own_parameters};
use swift_tuners_nn::{AdapterId, Error, Result};

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

/// The version of PEFT whose files are written.
const PEFT_VERSION: &str = "0.21.2";

impl TunedModel {
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
                m.free_name(&name)?;
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
        self.check_name(name, None)?;
        let flavor = if config.dialect == Dialect::Swift { Flavor::Swift } else { Flavor::Peft };
        if self.flavor != Flavor::Base && self.flavor != flavor {
            let (own, other) = if flavor == Flavor::Swift { ("SWIFT", "PEFT") } else { ("PEFT", "SWIFT") };
            return Err(Error::Invalid(format!(
                "{} is a configuration of {own}'s, and this model has adapters of {other}'s, before or in the same call; the two do not go together (LoRAConfig is SWIFT's, LoraConfig is PEFT's)",
                registry::find(config.dialect, &config.kind)?.class
            )));
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
        if flavor == Flavor::Peft {
            self.sign(&mut config);
        }
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

    /// What PEFT notes of the model and of itself, where nothing is noted yet: `AutoPeftModel` finds the base by it.
    fn sign(&self, config: &mut TunerConfig) {
        if let (None, Some(name)) = (config.get("base_model_name_or_path"), &self.model.name) {
            config.set("base_model_name_or_path", name.clone());
        }
        if config.get("peft_version").is_none() {
            config.set("peft_version", PEFT_VERSION);
        }
    }

    /// Fails where no new adapter can be called so; `instead` is one that gives its name up.
    pub(super) fn check_name(&self, name: &str, instead: Option<&str>) -> Result<()> {
        check_adapter_name(name)?;
        if self.adapters.contains_key(name) {
            return Err(Error::AdapterExists(name.to_owned()));
        }
        // Letter by letter: a folded copy of every name would make the thousandth adapter dearer than the first.
        let mut others = self.adapters.keys().filter(|k| Some(k.as_str()) != instead);
        if let Some(other) = others.find(|k| folded(k).eq(folded(name))) {
            return Err(Error::config(
                "adapter name",
                format!("{name:?} and {other:?} differ in case only, which not every file system can tell apart"),
            ));
        }
        Ok(())
    }

    /// Removes an adapter for good (`PeftModel.delete_adapter`).
    pub fn delete(&mut self, name: &str) -> Result<()> {
        let id = self.id(name)?;
        if self.is_merged(Some(&[id])) {
            return Err(Error::Invalid("unmerge before you delete an adapter whose weights are merged".into()));
        }
        self.remove_from_tree(&[id]);
        self.adapters.shift_remove(name);
        self.load_reports.retain(|report| report.adapter != name);
        for set in self.active.lock().values_mut() {
            set.retain(|&a| a != id);
            if set.is_empty() {
                set.extend(self.adapters.values().next().map(|a| a.id));
            }
        }
        Ok(())
    }
}

/// The letters of a name in lower case.
fn folded(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().flat_map(char::to_lowercase)
}
