//! Passes over a model.

use super::handle::NativeModel;
use crate::cancel::{flag, NativeCancelFlag};
use crate::error::guard;
use crate::inputs::NativeInputs;
use crate::job::job;
use crate::output::NativeOutput;
use crate::shared::Pass;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use swift_tuners_nn::{CancelFlag, Context, Error, Inputs};

#[napi]
impl NativeModel {
    #[napi(ts_return_type = "Promise<NativeOutput>")]
    pub fn forward<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        thread: f64,
        active: Option<Vec<String>>,
        grad: bool,
        cancel: Option<&NativeCancelFlag>,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let pass = Pass { grad, ..guard(|| shared.pass(thread as u64, active, inputs, flag(cancel)))? };
        let inputs = inputs.get();
        job(env, move || Ok(NativeOutput::from(shared.forward(&pass, &inputs)?)))
    }

    #[napi]
    pub fn forward_sync(
        &self,
        inputs: &NativeInputs,
        thread: f64,
        active: Option<Vec<String>>,
        grad: bool,
    ) -> napi::Result<NativeOutput> {
        guard(|| {
            let shared = self.get()?;
            let pass = Pass { grad, ..shared.pass(thread as u64, active, inputs, CancelFlag::default())? };
            Ok(shared.forward(&pass, &inputs.get())?.into())
        })
    }

    /// Forward and backward in one job; the loss, multiplied by `scale` for the gradients only, comes back.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn forward_backward<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        scale: f64,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let pass = guard(|| shared.pass(thread as u64, None, inputs, cancel.flag()))?;
        let inputs = Inputs { loss_only: true, ..inputs.get() };
        job(env, move || {
            let output = shared.forward(&pass, &inputs)?;
            let loss =
                output.loss.ok_or_else(|| Error::Argument("training needs labels or a target in each batch".into()))?;
            let value = loss.to_scalar_f64()?;
            pass.cancel.check()?;
            loss.affine(scale, 0.)?.backward()?;
            Ok(value)
        })
    }

    /// The loss without gradients.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn evaluate_loss<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let pass = guard(|| {
            let mut pass = shared.pass(thread as u64, None, inputs, cancel.flag())?;
            pass.training = false;
            Ok(pass)
        })?;
        let inputs = Inputs { loss_only: true, ..inputs.get() };
        job(env, move || {
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.read_recursive();
            let cx = Context { grad: false, ..pass.context() };
            let loss = tree.model.forward(&cx, &inputs)?.loss;
            loss.ok_or_else(|| Error::Argument("evaluation needs labels or a target in each batch".into()))?
                .to_scalar_f64()
        })
    }
}
