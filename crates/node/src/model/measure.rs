//! What data tells of layers before adapters are made.

use super::handle::NativeModel;
use crate::cancel::NativeCancelFlag;
use crate::error::guard;
use crate::inputs::NativeInputs;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use swift_tuners_nn::Error;
use swift_tuners_tuners::lifecycle::Measure;
use swift_tuners_tuners::registry::{parse, Unknown};

#[napi]
impl NativeModel {
    /// Adds what one batch tells of the layers that a configuration (JSON) means: `gradient` or `covariance`.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn measure<'env>(
        &self,
        env: &'env Env,
        kind: String,
        config: String,
        inputs: &NativeInputs,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let (measure, config) = guard(|| {
            let json = serde_json::from_str(&config).map_err(|e| Error::Argument(e.to_string()))?;
            Ok((Measure::parse(&kind)?, parse(&json, Unknown::Keep)?))
        })?;
        let (inputs, cancel) = (inputs.get(), cancel.flag());
        self.edit(env, move |m| m.measure(measure, &config, &inputs, &cancel))
    }
}
