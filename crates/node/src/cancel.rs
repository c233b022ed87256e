//! An `AbortSignal`'s native half.

use napi_derive::napi;
use swift_tuners_nn::CancelFlag;

#[napi]
pub struct NativeCancelFlag(CancelFlag);

#[napi]
impl NativeCancelFlag {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(CancelFlag::default())
    }

    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }

    pub fn flag(&self) -> CancelFlag {
        self.0.clone()
    }
}

pub fn flag(cancel: Option<&NativeCancelFlag>) -> CancelFlag {
    cancel.map(|c| c.flag()).unwrap_or_default()
}
