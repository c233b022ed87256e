//! Parameters by name.

use super::handle::NativeModel;
use crate::error::guard;
use crate::parameter::NativeParameter;
use crate::state_dict::NativeStateDict;
use crate::tensor::{device_name, dtype_name, NativeTensor};
use napi_derive::napi;
use swift_tuners_nn::module::{all_parameters, named_parameters, walk, Item};
use swift_tuners_nn::{Error, Param};

#[napi(object)]
pub struct NativeParameterInfo {
    pub name: String,
    pub shape: Vec<u32>,
    pub dtype: String,
    pub device: String,
    pub requires_grad: bool,
    pub numel: f64,
    pub quantization: Option<String>,
}

#[napi]
impl NativeModel {
    #[napi]
    pub fn named_modules(&self) -> napi::Result<Vec<String>> {
        self.read(|m| {
            let mut names = Vec::new();
            walk(&m.model.root, &mut |path, item| {
                if let Item::Module(_) = item {
                    names.push(path.to_owned());
                }
            });
            Ok(names)
        })
    }

    #[napi]
    pub fn named_parameters(&self) -> napi::Result<Vec<NativeParameterInfo>> {
        self.read(|m| {
            let info = |(name, p): (String, &Param)| NativeParameterInfo {
                name,
                shape: p.shape().iter().map(|&d| d as u32).collect(),
                dtype: dtype_name(p.dtype()).into(),
                device: if p.is_offloaded() { "meta".into() } else { device_name(&p.device()) },
                requires_grad: p.requires_grad(),
                numel: p.numel() as f64,
                quantization: p.packing().map(|q| q.name().into()),
            };
            Ok(named_parameters(&m.model.root).into_iter().map(info).collect())
        })
    }

    /// The parameters that require gradients, by reference and called as here behind `prefix`.
    #[napi]
    pub fn trainable(&self, prefix: String) -> napi::Result<Vec<NativeParameter>> {
        let shared = guard(|| self.get())?;
        self.read(|m| {
            let trainable = named_parameters(&m.model.root).into_iter().filter(|(_, p)| p.requires_grad());
            let one = |(name, p): (String, &Param)| NativeParameter::of(format!("{prefix}{name}"), p, &shared);
            Ok(trainable.map(one).collect())
        })
    }

    /// Copies of the values of the named parameters; of all, tied ones under each of their names, when none are named.
    #[napi]
    pub fn state_dict(&self, names: Option<Vec<String>>) -> napi::Result<NativeStateDict> {
        self.read(|m| Ok(NativeStateDict::of(m.state_dict(names.as_deref())?)))
    }

    #[napi]
    pub fn parameter(&self, name: String) -> napi::Result<NativeTensor> {
        self.read(|m| Ok(m.value(&m.parameter(&name)?)?.copy()?.into()))
    }

    #[napi]
    pub fn gradient(&self, name: String) -> napi::Result<Option<NativeTensor>> {
        self.read(|m| Ok(m.parameter(&name)?.grad().map(Into::into)))
    }

    #[napi]
    pub fn set_requires_grad(&self, name: String, on: bool) -> napi::Result<()> {
        self.read(|m| {
            let param = m.parameter(&name)?;
            match param.packing() {
                Some(packing) if on => {
                    Err(Error::Invalid(format!("{name} is packed ({}) and cannot be trained", packing.name())))
                }
                _ => {
                    param.set_requires_grad(on);
                    Ok(())
                }
            }
        })
    }

    #[napi]
    pub fn zero_grad(&self) -> napi::Result<()> {
        self.read(|m| {
            all_parameters(&m.model.root).into_iter().for_each(|(_, p)| p.set_grad(None));
            Ok(())
        })
    }

    /// Copies values in by name, all or none; returns the names that no parameter has.
    #[napi]
    pub fn load_state_dict(&self, state: &NativeStateDict, strict: bool) -> napi::Result<Vec<String>> {
        guard(|| {
            let shared = self.get()?;
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.write();
            tree.load_state_dict(state.entries(), strict)
        })
    }
}
