//! A model has one training run at a time.

use crate::error::guard;
use crate::model::NativeModel;
use crate::shared::Shared;
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use swift_tuners_nn::Error;

/// Holds a model for a training run, in whatever thread others reach for it, until it is ended or collected.
#[napi]
pub struct NativeTrainingRun {
    shared: Mutex<Option<Arc<Shared>>>,
}

#[napi]
impl NativeTrainingRun {
    /// Fails with ERR_INVALID_STATE while another run has the model.
    #[napi(constructor)]
    pub fn new(model: &NativeModel) -> napi::Result<Self> {
        guard(|| {
            let shared = model.get()?;
            if shared.running.swap(true, Ordering::AcqRel) {
                let why = "this model is being trained by another run, and two would take each other's gradients; end the other \
                           first: leave its loop, or call its return()";
                return Err(Error::Invalid(why.into()));
            }
            Ok(Self { shared: Mutex::new(Some(shared)) })
        })
    }

    #[napi]
    pub fn end(&self) {
        if let Some(shared) = self.shared.lock().take() {
            shared.running.store(false, Ordering::Release);
        }
    }
}

impl Drop for NativeTrainingRun {
    fn drop(&mut self) {
        self.end();
    }
}
