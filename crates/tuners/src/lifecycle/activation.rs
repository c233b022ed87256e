//! Which adapters run, and where the others wait.

use super::adapter::OwnParam;
use super::{Flavor, TunedModel};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use swift_tuners_nn::checkpoint::safetensors;
use swift_tuners_nn::module::model_nodes;
use swift_tuners_nn::{AdapterId, Array, Error, Param, Result};

/// For each row of a batch its adapter; `None` is the untuned model.
pub type RowIds = Arc<Vec<Option<AdapterId>>>;

/// What PEFT calls the untuned model among the adapters of a batch.
const BASE: &str = "__base__";

/// Where a deactivated adapter's tensors go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    Cpu,
    /// To a temporary file; the memory is given back.
    Meta,
}

impl Offload {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "meta" => Ok(Self::Meta),
            other => Err(Error::config(
                "offload",
                format!("expected cpu or meta, found {:?}", swift_tuners_nn::error::printable(other, 40)),
            )),
        }
    }
}

impl TunedModel {
    /// A parameter's value, also while it is offloaded.
    pub fn value(&self, param: &Param) -> Result<Array> {
        value_anywhere(param)
    }

    fn thread_key(&self, thread: u64) -> u64 {
        if self.unique_thread {
            0
        } else {
            thread
        }
    }

    pub(super) fn edit_active(&self, thread: u64, edit: impl FnOnce(&mut Vec<AdapterId>)) {
        let mut all = self.active.lock();
        let active = all.entry(self.thread_key(thread)).or_default();
        edit(active);
        self.show_inserted_blocks(active);
    }

    /// Inserted blocks are in their list, and in every name behind them, while their adapter is active.
    fn show_inserted_blocks(&self, active: &[AdapterId]) {
        // Looking for blocks walks the tree; switching must not, where there are none.
        if self.adapters.values().any(|a| a.traits.inserts_blocks) {
            for (_, node) in model_nodes(&self.model.root) {
                if let Some(adapter) = node.inserted_for() {
                    node.set_hidden(!active.contains(&adapter));
                }
            }
        }
    }

    /// The ids that a pass on this thread runs with.
    pub fn active_ids(&self, thread: u64) -> Arc<Vec<AdapterId>> {
        Arc::new(self.active.lock().get(&self.thread_key(thread)).cloned().unwrap_or_default())
    }

    /// The ids of named adapters; unknown names are an error.
    pub fn ids(&self, names: &[String]) -> Result<Arc<Vec<AdapterId>>> {
        Ok(Arc::new(names.iter().map(|n| self.id(n)).collect::<Result<_>>()?))
    }

    /// Fails when one of these is no adapter of the model any more.
    pub fn check_present(&self, ids: &[AdapterId]) -> Result<()> {
        let here = |id: &AdapterId| self.adapters.values().any(|a| a.id == *id);
        if ids.iter().all(here) {
            return Ok(());
        }
        Err(Error::Invalid("an adapter that this generation began with was removed or replaced".into()))
    }

    /// One adapter for each row of a batch, by name; `__base__` is the untuned model (PEFT's `adapter_names`). Also gives each
    /// id once.
    pub fn row_ids(&self, names: &[String]) -> Result<(RowIds, Arc<Vec<AdapterId>>)> {
        let mut rows = Vec::with_capacity(names.len());
        let mut all: Vec<AdapterId> = Vec::new();
        for name in names {
            if name == BASE && !self.adapters.contains_key(name) {
                rows.push(None);
                continue;
            }
            let id = self.id(name)?;
            let adapter = &self.adapters[name];
            if !adapter.traits.by_rows {
                return Err(Error::UnsupportedTuner(format!(
                    "adapterNames: {name} is of the type {}, which runs on whole batches only",
                    adapter.config.kind
                )));
            }
            if !all.contains(&id) {
                all.push(id);
            }
            rows.push(Some(id));
        }
        Ok((Arc::new(rows), Arc::new(all)))
    }

    /// Names of the active adapters in the order of their activation.
    pub fn active_names(&self, thread: u64) -> Vec<String> {
        let active = self.active_ids(thread);
        let name = |id: &AdapterId| self.adapters.iter().find(|(_, a)| a.id == *id).map(|(n, _)| n.clone());
        active.iter().filter_map(name).collect()
    }

    /// Makes exactly these adapters active. Names that do not exist are skipped and returned, as SWIFT logs them.
    ///
    /// With `offload` the others' tensors leave the device.
    pub fn set_active(&self, thread: u64, names: &[String], offload: Option<Offload>) -> Result<Vec<String>> {
        self.check_offload(offload)?;
        let (known, unknown): (Vec<&String>, Vec<&String>) = names.iter().partition(|n| self.adapters.contains_key(*n));
        let ids: Vec<AdapterId> = known.iter().map(|n| self.adapters[*n].id).collect();
        for name in &known {
            self.bring_back(name)?;
        }
        let others: Vec<String> =
            self.adapters.iter().filter(|(_, a)| !ids.contains(&a.id)).map(|(n, _)| n.clone()).collect();
        if let Some(offload) = offload {
            for name in &others {
                self.offload(name, offload)?;
            }
        }
        let unknown = unknown.into_iter().cloned().collect();
        self.edit_active(thread, |active| *active = ids);
        self.train_active_copies(thread)?;
        Ok(unknown)
    }

    /// Adds an adapter to the active ones; its tensors come back if they were offloaded.
    pub fn activate(&self, thread: u64, name: &str) -> Result<()> {
        let id = self.id(name)?;
        self.bring_back(name)?;
        self.edit_active(thread, |active| {
            if !active.contains(&id) {
                active.push(id);
            }
        });
        self.train_active_copies(thread)
    }

    pub fn deactivate(&self, thread: u64, name: &str, offload: Option<Offload>) -> Result<()> {
        let id = self.id(name)?;
        self.check_offload(offload)?;
        if let Some(offload) = offload {
            self.offload(name, offload)?;
        }
        self.edit_active(thread, |active| active.retain(|&a| a != id));
        self.train_active_copies(thread)
    }

    /// Of `modules_to_save` only the active adapters' copies train, as in SWIFT; LoRA matrices stay as they are.
    fn train_active_copies(&self, thread: u64) -> Result<()> {
        let active = self.active_ids(thread);
        for (name, adapter) in &self.adapters {
            // Finding an adapter's tensors walks the whole tree; switching must not, where there is nothing to find.
            if adapter.config.get("modules_to_save").is_none() {
                continue;
            }
            let on = adapter.trainable.load(Ordering::Relaxed) && active.contains(&adapter.id);
            for slot in self.slots(name)?.iter().filter(|s| s.is_saved_copy()) {
                slot.param.set_requires_grad(on);
            }
        }
        Ok(())
    }

    /// `PeftModel.set_adapter`: these are active and trainable, the others neither.
    /// `inference`: the active ones do not train either.
    pub fn set_adapter(&self, thread: u64, names: &[String], inference: bool) -> Result<()> {
        if self.flavor != Flavor::Peft {
            return Err(Error::Invalid("setAdapter belongs to a PeftModel".into()));
        }
        let ids = self.ids(names)?;
        for name in self.adapters.keys().filter(|n| !names.contains(n)) {
            self.set_own_trainable(name, false)?;
        }
        for name in names {
            self.set_trainable(name, !inference)?;
        }
        self.edit_active(thread, |active| *active = ids.to_vec());
        Ok(())
    }

    fn check_offload(&self, offload: Option<Offload>) -> Result<()> {
        if offload.is_some() && !self.unique_thread {
            return Err(Error::Invalid(
                "offloading needs USE_UNIQUE_THREAD=1: other threads may run this adapter".into(),
            ));
        }
        Ok(())
    }

    fn offload(&self, name: &str, to: Offload) -> Result<()> {
        let own = self.own_params(name)?;
        let params = || own.iter().map(|own| &own.param);
        if to == Offload::Cpu {
            for p in params().filter(|p| !p.is_offloaded()) {
                p.replace(p.array()?.to_device(&candle_core::Device::Cpu)?);
            }
            return Ok(());
        }
        let waiting: Vec<&Param> = params().filter(|p| !p.is_offloaded()).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let dir = self.offload_folder()?;
        let file = dir.join(format!("{}-{}.safetensors", self.adapters[name].id.0, unique()));
        let tensors: Vec<(String, Array)> =
            waiting.iter().enumerate().map(|(i, p)| Ok((i.to_string(), p.array()?))).collect::<Result<_>>()?;
        safetensors::write(&file, &tensors, &Default::default())?;
        for (i, p) in waiting.into_iter().enumerate() {
            p.offload(file.with_extension(format!("safetensors#{i}")));
        }
        Ok(())
    }

    fn offload_folder(&self) -> Result<PathBuf> {
        let mut folder = self.offload_dir.lock();
        if let Some(dir) = &*folder {
            return Ok(dir.clone());
        }
        let dir = std::env::temp_dir().join(format!("swift-tuners-offload-{}-{}", std::process::id(), unique()));
        std::fs::create_dir(&dir).map_err(|e| Error::io(&dir, e))?;
        *folder = Some(dir.clone());
        Ok(dir)
    }

    fn bring_back(&self, name: &str) -> Result<()> {
        if self.offload_dir.lock().is_none() && self.model.device.is_cpu() {
            return Ok(()); // nothing has left memory, and `cpu` is where everything is
        }
        let mut files = std::collections::HashSet::new();
        let device = self.model.device.clone();
        for OwnParam { param: p, .. } in self.own_params(name)?.iter() {
            if let Some(place) = p.offload_file() {
                let (file, value) = offloaded_value(&place)?;
                p.replace(value.to_dtype(p.dtype())?.to_device(&device)?);
                files.insert(file);
            } else if !p.device().same_device(&device) {
                p.replace(p.array()?.to_device(&device)?);
            }
        }
        files.iter().for_each(|f| drop(std::fs::remove_file(f)));
        Ok(())
    }
}

/// A parameter's value, wherever it is.
pub fn value_anywhere(p: &Param) -> Result<Array> {
    match p.offload_file() {
        // Narrow integers widen in a file's tensors.
        Some(place) => Ok(offloaded_value(&place)?.1.to_dtype(p.dtype())?),
        None => p.array(),
    }
}

fn offloaded_value(place: &std::path::Path) -> Result<(PathBuf, Array)> {
    let text = place.to_string_lossy();
    let (file, index) =
        text.rsplit_once('#').ok_or_else(|| Error::Invalid("an offloaded value has no place".into()))?;
    let file = PathBuf::from(file);
    let value = safetensors::SafeTensors::open(&file)?.read(index)?;
    Ok((file, value))
}

fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
