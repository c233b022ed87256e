//! What adapters do at the steps of a training run.

use super::handle::NativeModel;
use crate::state_dict::NativeStateDict;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;

#[napi]
impl NativeModel {
    /// Lets adapters act on what the optimizer's step of this number has done.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn after_step<'env>(&self, env: &'env Env, step: f64) -> napi::Result<Object<'env>> {
        self.edit(env, move |model| model.after_step(step as u64))
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
