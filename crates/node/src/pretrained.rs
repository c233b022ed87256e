//! Loading adapters: the options, and what became of every tensor.

use napi_derive::napi;
use swift_tuners_nn::{Error, Result};
use swift_tuners_tuners::formats::{FromPretrainedOptions, LoadReport, NameSelection};

#[napi(object)]
pub struct NativeFromPretrainedOptions {
    /// Pairs of saved and new name; absent: all.
    pub names: Option<Vec<Vec<String>>>,
    pub inference_mode: bool,
    pub strict: bool,
    pub seed: f64,
}

impl NativeFromPretrainedOptions {
    pub fn into_core(self) -> Result<FromPretrainedOptions> {
        let pair = |p: Vec<String>| {
            <[String; 2]>::try_from(p).map_err(|_| Error::Argument("adapterName: expected pairs of names".into()))
        };
        let names = match self.names {
            None => NameSelection::All,
            Some(pairs) => NameSelection::Named(
                pairs.into_iter().map(|p| pair(p).map(|[saved, new]| (saved, new))).collect::<Result<_>>()?,
            ),
        };
        let (inference_mode, strict, seed) = (self.inference_mode, self.strict, self.seed as u64);
        Ok(FromPretrainedOptions { names, inference_mode, strict, seed })
    }
}

#[napi(object)]
pub struct NativeLoadReport {
    pub adapter: String,
    pub file: String,
    pub loaded: Vec<String>,
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
}

impl From<&LoadReport> for NativeLoadReport {
    fn from(r: &LoadReport) -> Self {
        Self {
            adapter: r.adapter.clone(),
            file: r.file.clone(),
            loaded: r.loaded.clone(),
            missing: r.missing.clone(),
            unexpected: r.unexpected.clone(),
            warnings: r.warnings.clone(),
            notes: r.notes.clone(),
        }
    }
}
