//! Tensors joined.

use super::handle::NativeTensor;
use crate::error::guard;
use napi_derive::napi;
use swift_tuners_nn::Tensor;

/// Joins tensors one by one: napi hands over no lists of class instances.
#[napi]
pub struct NativeTensorList(Vec<Tensor>);

#[napi]
impl NativeTensorList {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    #[napi]
    pub fn push(&mut self, t: &NativeTensor) -> napi::Result<()> {
        self.0.push(guard(|| t.get())?);
        Ok(())
    }

    #[napi]
    pub fn cat(&self, dim: i32) -> napi::Result<NativeTensor> {
        guard(|| Ok(Tensor::cat(&self.0.iter().collect::<Vec<_>>(), dim as isize)?.into()))
    }

    #[napi]
    pub fn stack(&self, dim: i32) -> napi::Result<NativeTensor> {
        guard(|| Ok(Tensor::stack(&self.0.iter().collect::<Vec<_>>(), dim as isize)?.into()))
    }
}
