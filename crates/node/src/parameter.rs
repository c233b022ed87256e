//! Parameters by reference.

use crate::error::guard;
use crate::shared::Shared;
use crate::tensor::NativeTensor;
use napi_derive::napi;
use std::sync::Arc;
use swift_tuners_nn::{Error, Param};

/// A trainable parameter by reference: a model's, or one that JavaScript made for a head of its own.
#[napi]
pub struct NativeParameter {
    name: String,
    param: Param,
    shared: Option<Arc<Shared>>,
}

#[napi]
impl NativeParameter {
    /// A parameter that belongs to no model, with a copy of `value`.
    #[napi(constructor)]
    pub fn new(name: String, value: &NativeTensor) -> napi::Result<Self> {
        guard(|| {
            let value = value.get()?.into_data();
            if !value.dtype().is_float() {
                return Err(Error::Argument(format!("parameter {name}: {:?} values cannot be trained", value.dtype())));
            }
            Ok(Self { name, param: Param::new(value.copy()?, true), shared: None })
        })
    }

    /// A model's, whose passes an optimizer's step must exclude.
    pub fn of(name: String, param: &Param, shared: &Arc<Shared>) -> Self {
        Self { name, param: param.clone(), shared: Some(shared.clone()) }
    }

    pub fn named(&self) -> (String, Param) {
        (self.name.clone(), self.param.clone())
    }

    /// The model that it belongs to.
    pub fn model(&self) -> Option<&Arc<Shared>> {
        self.shared.as_ref()
    }

    #[napi(getter)]
    pub fn name(&self) -> String {
        self.name.clone()
    }

    #[napi(getter)]
    pub fn shape(&self) -> Vec<u32> {
        self.param.shape().iter().map(|&d| d as u32).collect()
    }

    /// The value as an input of differentiable operations.
    #[napi(getter)]
    pub fn value(&self) -> napi::Result<NativeTensor> {
        guard(|| Ok(self.param.value(true)?.into()))
    }

    #[napi(getter)]
    pub fn grad(&self) -> Option<NativeTensor> {
        self.param.grad().map(Into::into)
    }

    #[napi]
    pub fn zero_grad(&self) {
        self.param.set_grad(None);
    }
}
