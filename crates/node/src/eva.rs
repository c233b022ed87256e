//! EVA's initialisation, a batch per call.

use crate::cancel::NativeCancelFlag;
use crate::error::guard;
use crate::inputs::NativeInputs;
use crate::job::job;
use crate::model::NativeModel;
use crate::shared::Shared;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::Error;
use swift_tuners_tuners::lora::Eva;

#[napi]
pub struct NativeEva {
    shared: Arc<Shared>,
    adapter: String,
    inner: Arc<Mutex<Option<Eva>>>,
}

#[napi]
impl NativeEva {
    #[napi(constructor)]
    pub fn new(model: &NativeModel, adapter: String) -> napi::Result<Self> {
        guard(|| Ok(Self { shared: model.get()?, adapter, inner: Arc::default() }))
    }

    /// Takes a batch in; the first one, which is looked at before, comes again. True when that was enough.
    #[napi(ts_return_type = "Promise<boolean>")]
    pub fn step<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let (inner, shared, adapter) = (self.inner.clone(), self.shared.clone(), self.adapter.clone());
        let (inputs, cancel) = (inputs.get(), cancel.flag());
        job(env, move || {
            let mut tree = shared.tree.write();
            let mut eva = inner.lock();
            match &mut *eva {
                Some(eva) => eva.step(&mut tree, &inputs, &cancel),
                None => {
                    *eva = Some(Eva::new(&mut tree, &adapter, &inputs, &cancel)?);
                    Ok(false)
                }
            }
        })
    }

    /// Puts the components into the adapter.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn finish<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (inner, shared) = (self.inner.clone(), self.shared.clone());
        job(env, move || {
            let eva = inner.lock().take().ok_or_else(|| Error::Invalid("EVA has seen no batch".into()))?;
            eva.finish(&mut shared.tree.write())
        })
    }
}
