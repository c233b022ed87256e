//! A handle on a model, and what is asked of the model as a whole.

use crate::error::guard;
use crate::job::job;
use crate::shared::Shared;
use crate::tensor::device_name;
use napi::bindgen_prelude::{Object, ObjectFinalize, ToNapiValue};
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use swift_tuners_nn::{Error, Model, Packing, Param, Result};
use swift_tuners_tuners::{Flavor, TunedModel};

/// `Model`, `SwiftModel` and `PeftModel` share this native half.
#[napi(custom_finalize)]
pub struct NativeModel {
    shared: Mutex<Option<Arc<Shared>>>,
    /// Tensors of the files that the architecture has no place for.
    surplus: Vec<String>,
}

/// Bytes that a model's parameters hold in main memory, roughly.
fn held(model: &Model) -> usize {
    let bits = |p: &Param| match p.packing() {
        Some(Packing::Q8_0) => 9,
        Some(_) => 5,
        None => 8 * p.dtype().size_in_bytes(),
    };
    let here = model.parameters().into_iter().filter(|(_, p)| p.device().is_cpu());
    here.map(|(_, p)| p.numel() * bits(p) / 8).sum()
}

impl ObjectFinalize for NativeModel {
    fn finalize(self, env: Env) -> napi::Result<()> {
        self.let_go(env)
    }
}

impl NativeModel {
    pub(super) fn new(model: TunedModel, seed: u64, surplus: Vec<String>) -> Self {
        Self::of(Arc::new(Shared::new(model, seed)), surplus)
    }

    fn of(shared: Arc<Shared>, surplus: Vec<String>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared: Mutex::new(Some(shared)), surplus }
    }

    /// Gives the model up; with its last handle the garbage collector is told that its memory is free.
    fn let_go(&self, env: Env) -> napi::Result<()> {
        let Some(shared) = self.shared.lock().take() else { return Ok(()) };
        if shared.handles.fetch_sub(1, Ordering::Relaxed) == 1 {
            let bytes = shared.reported.swap(0, Ordering::Relaxed);
            if bytes != 0 {
                env.adjust_external_memory(-bytes)?;
            }
        }
        Ok(())
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
    pub fn dispose(&self, env: Env) -> napi::Result<()> {
        self.let_go(env)
    }

    /// Tells the garbage collector how much memory the model's weights hold, so that models that nobody has any more are collected
    /// before there are many of them.
    #[napi]
    pub fn report_memory(&self, env: Env) -> napi::Result<()> {
        let Ok(shared) = self.get() else { return Ok(()) };
        if shared.reported.load(Ordering::Relaxed) == 0 {
            let bytes = held(&shared.tree.read_recursive().model) as i64;
            shared.reported.store(bytes, Ordering::Relaxed);
            env.adjust_external_memory(bytes)?;
        }
        Ok(())
    }

    #[napi]
    pub fn share(&self) -> napi::Result<String> {
        guard(|| Ok(self.get()?.publish()))
    }

    #[napi(factory)]
    pub fn from_handle(token: String) -> napi::Result<Self> {
        guard(|| Ok(Self::of(Shared::find(&token)?, Vec::new())))
    }

    /// Another handle on the same model.
    #[napi]
    pub fn alias(&self) -> napi::Result<NativeModel> {
        guard(|| Ok(Self::of(self.get()?, Vec::new())))
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
