//! What adapters do at the steps of a training run.

use super::handle::NativeModel;
use crate::error::guard;
use crate::job::job;
use crate::state_dict::NativeStateDict;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;

#[napi]
impl NativeModel {
    /// Lets adapters act on what the optimizer's step of this number has done.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn after_step<'env>(&self, env: &'env Env, step: f64) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        job(env, move || {
            // Most have nothing to do, and need not wait for passes of others.
            if shared.tree.read_recursive().has_steps() {
                shared.tree.write().after_step(step as u64)?;
            }
            Ok(())
        })
    }

    /// What adapters remember from step to step beside parameters.
    #[napi]
    pub fn step_state(&self) -> napi::Result<NativeStateDict> {
        self.read(|model| Ok(NativeStateDict::of(model.step_state())))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn load_step_state<'env>(&self, env: &'env Env, state: &NativeStateDict) -> napi::Result<Object<'env>> {
        let state = state.entries().iter().cloned().collect();
        self.edit(env, move |model| model.load_step_state(&state))
    }
}
