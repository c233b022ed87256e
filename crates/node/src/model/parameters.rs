//! Parameters by name.

use super::handle::NativeModel;
use crate::error::guard;
use crate::parameter::NativeParameter;
use crate::state_dict::NativeStateDict;
use crate::tensor::{device_name, dtype_name, NativeTensor};
use napi_derive::napi;
use swift_tuners_nn::module::{all_parameters, named_parameters, walk, Item};
use swift_tuners_nn::{Error, Param};
use swift_tuners_tuners::state::widened;

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
    /// Names here and below stand behind `prefix`.
    #[napi]
    pub fn named_modules(&self, prefix: String) -> napi::Result<Vec<String>> {
        self.read(|m| {
            let (naming, mut names) = (m.naming(&prefix), Vec::new());
            walk(&m.model.root, &mut |path, item| {
                if let Item::Module(_) = item {
                    names.push(naming.full(path));
                }
            });
            Ok(names)
        })
    }

    #[napi]
    pub fn named_parameters(&self, prefix: String) -> napi::Result<Vec<NativeParameterInfo>> {
        self.read(|m| {
            let naming = m.naming(&prefix);
            let info = |(name, p): (String, &Param)| NativeParameterInfo {
                name: naming.full(&name),
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
            let naming = m.naming(&prefix);
            let one = |(name, p): (String, &Param)| NativeParameter::of(naming.full(&name), p, &shared);
            Ok(trainable.map(one).collect())
        })
    }

    /// Copies of the values of the named parameters; of all and of the saved buffers, tied ones under each of their names, when
    /// none are named.
    #[napi]
    pub fn state_dict(&self, prefix: String, names: Option<Vec<String>>) -> napi::Result<NativeStateDict> {
        self.read(|m| {
            let state = m.state_dict(names.as_deref())?;
            if names.is_some() {
                return Ok(NativeStateDict::of(state));
            }
            let naming = m.naming(&prefix);
            Ok(NativeStateDict::of(state.into_iter().map(|(name, value)| (naming.full(&name), value)).collect()))
        })
    }

    #[napi]
    pub fn parameter(&self, name: String) -> napi::Result<NativeTensor> {
        self.read(|m| Ok(widened(m.value(&m.parameter(&name)?)?)?.copy()?.into()))
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
