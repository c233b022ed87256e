//! Passes over a model.

use super::handle::NativeModel;
use crate::cancel::{flag, NativeCancelFlag};
use crate::error::guard;
use crate::inputs::NativeInputs;
use crate::job::job;
use crate::output::NativeOutput;
use crate::shared::Pass;
use crate::tensor::NativeTensor;
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

    /// Forward and backward in one job; the loss, with what adapters want added to it and multiplied by `scale` for the gradients
    /// only, comes back. A loss that is no number gives no gradients.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn forward_backward<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        scale: f64,
        thread: f64,
        active: Option<Vec<String>>,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let pass = guard(|| shared.pass(thread as u64, active, inputs, cancel.flag()))?;
        let inputs = Inputs { loss_only: true, ..inputs.get() };
        job(env, move || {
            let output = shared.forward(&pass, &inputs)?;
            let mut loss =
                output.loss.ok_or_else(|| Error::Argument("training needs labels or a target in each batch".into()))?;
            if let Some(penalty) = output.penalty {
                loss = loss.add(&penalty.to_dtype(loss.dtype())?)?;
            }
            let value = loss.to_scalar_f64()?;
            pass.cancel.check()?;
            if !value.is_finite() {
                return Ok(value);
            }
            loss.affine(scale, 0.)?.backward().map_err(|e| match shared.tree.read_recursive().is_merged(None) {
                true => {
                    Error::Invalid(format!("the adapters are merged, so that none of them runs: unmerge first ({e})"))
                }
                false => e,
            })?;
            Ok(value)
        })
    }

    /// `-log p` of each label by itself, `[batch, seq - 1]` for models that predict the next token.
    #[napi(ts_return_type = "Promise<NativeTensor>")]
    pub fn token_losses<'env>(
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
        let inputs = Inputs { token_losses: true, ..inputs.get() };
        job(env, move || {
            let losses = shared.forward(&pass, &inputs)?.token_losses;
            losses.map(NativeTensor::from).ok_or_else(|| Error::Argument("this model gives no token losses".into()))
        })
    }

    /// The most positions of a sequence, where there is a limit.
    #[napi(getter)]
    pub fn context_length(&self) -> napi::Result<Option<f64>> {
        self.read(|m| Ok(m.model.context_length()?.map(|n| n as f64)))
    }

    /// Over how many values a pass would take the mean that is its loss; null without labels or a target.
    #[napi]
    pub fn loss_items(
        &self,
        inputs: &NativeInputs,
        thread: f64,
        active: Option<Vec<String>>,
    ) -> napi::Result<Option<f64>> {
        guard(|| {
            let shared = self.get()?;
            let pass = shared.quiet_pass(thread as u64, active, inputs, CancelFlag::default())?;
            let tree = shared.tree.read_recursive();
            Ok(tree.model.loss_items(&pass.context(), &inputs.get())?.map(|count| count as f64))
        })
    }

    /// The loss without gradients.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn evaluate_loss<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        thread: f64,
        active: Option<Vec<String>>,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let pass = guard(|| shared.quiet_pass(thread as u64, active, inputs, cancel.flag()))?;
        let inputs = Inputs { loss_only: true, ..inputs.get() };
        job(env, move || {
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.read_recursive();
            let cx = Context { grad: false, ..pass.context() };
            let loss = tree.model.forward(&cx, &inputs).map_err(|e| tree.explain(e))?.loss;
            loss.ok_or_else(|| Error::Argument("evaluation needs labels or a target in each batch".into()))?
                .to_scalar_f64()
        })
    }
}
