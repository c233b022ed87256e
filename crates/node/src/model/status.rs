//! What stands on which layer.

use super::handle::NativeModel;
use crate::error::guard;
use crate::tensor::device_name;
use napi_derive::napi;
use swift_tuners_tuners::lifecycle;

#[napi(object)]
pub struct NativeAdapterStatus {
    pub name: String,
    /// Nothing where some of its parameters train and others do not.
    pub requires_grad: Option<bool>,
    pub devices: Vec<String>,
}

#[napi(object)]
pub struct NativeLayerStatus {
    pub name: String,
    pub module_type: String,
    pub merged: Vec<String>,
    pub adapters: Vec<NativeAdapterStatus>,
    pub quantization: Option<String>,
}

#[napi(object)]
pub struct NativeCount {
    pub trainable: f64,
    pub all: f64,
}

#[napi]
impl NativeModel {
    #[napi]
    pub fn layer_status(&self) -> napi::Result<Vec<NativeLayerStatus>> {
        let adapter = |a: lifecycle::AdapterStatus| NativeAdapterStatus {
            name: a.name,
            requires_grad: a.requires_grad,
            devices: a.devices.iter().map(device_name).collect(),
        };
        let layer = |s: lifecycle::LayerStatus| NativeLayerStatus {
            name: s.name,
            module_type: s.module_type,
            merged: s.merged,
            adapters: s.adapters.into_iter().map(adapter).collect(),
            quantization: s.packing.map(|p| p.name().to_owned()),
        };
        self.read(|m| Ok(m.layer_status()?.into_iter().map(layer).collect()))
    }

    /// What the base model was asked for by.
    #[napi(setter)]
    pub fn set_name_or_path(&self, name: String) -> napi::Result<()> {
        guard(|| {
            if let Some(mut tree) = self.get()?.tree.try_write() {
                tree.model.name = Some(name);
            }
            Ok(())
        })
    }

    #[napi(getter)]
    pub fn name_or_path(&self) -> napi::Result<Option<String>> {
        self.read(|m| Ok(m.model.name.clone()))
    }

    /// The class of the base model, as `architectures` of config.json names it.
    #[napi(getter)]
    pub fn architecture(&self) -> napi::Result<String> {
        self.read(|m| Ok(m.model.keys.architecture.to_owned()))
    }

    /// Parameters that train, and all, tied ones once; in elements, of packed ones too.
    #[napi]
    pub fn count_parameters(&self) -> napi::Result<NativeCount> {
        self.read(|m| {
            let (trainable, all) = m.count();
            Ok(NativeCount { trainable: trainable as f64, all: all as f64 })
        })
    }
}
