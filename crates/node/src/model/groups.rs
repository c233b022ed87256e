//! Parameters in groups for optimizers.

use super::handle::NativeModel;
use napi_derive::napi;
use swift_tuners_tuners::lifecycle::{GaLoreGroup, ParamGroup};

#[napi(object)]
pub struct NativeParamGroup {
    pub names: Vec<String>,
    pub lr: Option<f64>,
    pub weight_decay: f64,
}

#[napi(object)]
pub struct NativeGaLoreGroup {
    pub names: Vec<String>,
    pub projected: bool,
    pub weight_decay: f64,
}

#[napi]
impl NativeModel {
    #[napi]
    pub fn param_groups(&self, lr: f64, weight_decay: f64) -> napi::Result<Vec<NativeParamGroup>> {
        self.read(|m| {
            let one = |g: ParamGroup| NativeParamGroup { names: g.names, lr: g.lr, weight_decay: g.weight_decay };
            Ok(m.param_groups(lr, weight_decay)?.into_iter().map(one).collect())
        })
    }

    #[napi]
    pub fn galore_groups(
        &self,
        targets: Vec<String>,
        weight_decay: f64,
        each: bool,
    ) -> napi::Result<Vec<NativeGaLoreGroup>> {
        self.read(|m| {
            let one = |g: GaLoreGroup| NativeGaLoreGroup {
                names: g.names,
                projected: g.projected,
                weight_decay: g.weight_decay,
            };
            Ok(m.galore_groups(&targets, weight_decay, each).into_iter().map(one).collect())
        })
    }

    #[napi]
    pub fn report(&self) -> napi::Result<String> {
        self.read(|m| Ok(m.report()))
    }
}
