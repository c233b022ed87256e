//! A handle on a model, and what is asked of the model as a whole.

use crate::error::guard;
use crate::job::job;
use crate::shared::Shared;
use crate::tensor::device_name;
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use swift_tuners_nn::{Error, Result};
use swift_tuners_tuners::{Flavor, TunedModel};

/// `Model`, `SwiftModel` and `PeftModel` share this native half.
#[napi]
pub struct NativeModel {
    shared: Mutex<Option<Arc<Shared>>>,
    /// Tensors of the files that the architecture has no place for.
    surplus: Vec<String>,
}

impl NativeModel {
    pub(super) fn new(model: TunedModel, seed: u64, surplus: Vec<String>) -> Self {
        Self { shared: Mutex::new(Some(Arc::new(Shared::new(model, seed)))), surplus }
    }

    pub fn get(&self) -> Result<Arc<Shared>> {
        self.shared.lock().clone().ok_or(Error::Disposed("model"))
    }

    pub(crate) fn read<T>(&self, f: impl FnOnce(&TunedModel) -> Result<T>) -> napi::Result<T> {
        guard(|| f(&self.get()?.tree.read_recursive()))
    }

    /// Work that changes the tree, on a thread of its own.
    pub(super) fn edit<'env, T>(
        &self,
        env: &'env Env,
        f: impl FnOnce(&mut TunedModel) -> Result<T> + Send + 'static,
    ) -> napi::Result<Object<'env>>
    where
        T: ToNapiValue + Send + 'static,
    {
        let shared = guard(|| self.get())?;
        job(env, move || {
            // Waits for running passes, so that none sees a half-changed tree.
            let mut tree = shared.tree.write();
            f(&mut tree)
        })
    }
}

#[napi]
impl NativeModel {
    #[napi]
    pub fn dispose(&self) {
        *self.shared.lock() = None;
    }

    #[napi]
    pub fn share(&self) -> napi::Result<String> {
        guard(|| Ok(self.get()?.publish()))
    }

    #[napi(factory)]
    pub fn from_handle(token: String) -> napi::Result<Self> {
        guard(|| Ok(Self { shared: Mutex::new(Some(Shared::find(&token)?)), surplus: Vec::new() }))
    }

    /// Another handle on the same model.
    #[napi]
    pub fn alias(&self) -> napi::Result<NativeModel> {
        guard(|| Ok(Self { shared: Mutex::new(Some(self.get()?)), surplus: Vec::new() }))
    }

    /// Tensors of the loaded files that the architecture has no place for.
    #[napi(getter)]
    pub fn surplus(&self) -> Vec<String> {
        self.surplus.clone()
    }

    #[napi(getter)]
    pub fn flavor(&self) -> napi::Result<&'static str> {
        self.read(|m| {
            Ok(match m.flavor {
                Flavor::Base => "base",
                Flavor::Swift => "swift",
                Flavor::Peft => "peft",
            })
        })
    }

    #[napi(getter)]
    pub fn config(&self) -> napi::Result<String> {
        self.read(|m| Ok(m.model.config.to_string()))
    }

    #[napi(getter)]
    pub fn device(&self) -> napi::Result<String> {
        self.read(|m| Ok(device_name(&m.model.device)))
    }

    #[napi(getter)]
    pub fn training(&self) -> napi::Result<bool> {
        guard(|| Ok(self.get()?.training.load(Ordering::Relaxed)))
    }

    #[napi]
    pub fn train(&self, mode: bool) -> napi::Result<()> {
        guard(|| {
            self.get()?.training.store(mode, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Whether blocks run again for the backward pass, in training, so that their inner results need no memory.
    #[napi]
    pub fn set_checkpointing(&self, on: bool) -> napi::Result<()> {
        guard(|| {
            self.get()?.checkpointing.store(on, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Seed and position of the random numbers that training passes draw.
    #[napi]
    pub fn set_seed(&self, seed: f64, drawn: f64) -> napi::Result<()> {
        guard(|| {
            let shared = self.get()?;
            shared.seed.store(seed as u64, Ordering::Relaxed);
            shared.drawn.store(drawn as u64, Ordering::Relaxed);
            Ok(())
        })
    }

    #[napi(getter)]
    pub fn drawn(&self) -> napi::Result<f64> {
        guard(|| Ok(self.get()?.drawn.load(Ordering::Relaxed) as f64))
    }
}
