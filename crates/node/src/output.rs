//! What a pass gives.

use crate::tensor::NativeTensor;
use napi_derive::napi;
use swift_tuners_nn::Output;

/// Tensors of a pass.
#[napi]
pub struct NativeOutput(Output);

impl From<Output> for NativeOutput {
    fn from(output: Output) -> Self {
        Self(output)
    }
}

#[napi]
impl NativeOutput {
    #[napi(getter)]
    pub fn logits(&self) -> Option<NativeTensor> {
        self.0.logits.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn start_logits(&self) -> Option<NativeTensor> {
        self.0.start_logits.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn end_logits(&self) -> Option<NativeTensor> {
        self.0.end_logits.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn last_hidden_state(&self) -> Option<NativeTensor> {
        self.0.last_hidden_state.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn sample(&self) -> Option<NativeTensor> {
        self.0.sample.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn loss(&self) -> Option<NativeTensor> {
        self.0.loss.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn penalty(&self) -> Option<NativeTensor> {
        self.0.penalty.clone().map(Into::into)
    }
}
