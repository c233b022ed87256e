//! Tensors by name.

use crate::error::to_napi;
use crate::tensor::NativeTensor;
use napi_derive::napi;
use swift_tuners_nn::Array;

/// Tensors by name, filled one by one.
#[napi]
pub struct NativeStateDict(Vec<(String, Array)>);

#[napi]
impl NativeStateDict {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    #[napi]
    pub fn set(&mut self, name: String, value: &NativeTensor) -> napi::Result<()> {
        self.0.push((name, value.get().map_err(to_napi)?.into_data()));
        Ok(())
    }

    #[napi]
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(n, _)| n.clone()).collect()
    }

    /// In the order of the names.
    #[napi]
    pub fn tensors(&self) -> Vec<NativeTensor> {
        self.0.iter().map(|(_, a)| a.clone().into()).collect()
    }

    pub fn entries(&self) -> &[(String, Array)] {
        &self.0
    }

    pub fn of(entries: Vec<(String, Array)>) -> Self {
        Self(entries)
    }
}
