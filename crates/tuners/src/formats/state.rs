//! An adapter's tensors as PEFT's `get_peft_model_state_dict` and `set_peft_model_state_dict` give and take them.

use super::found::Found;
use super::load::FromPretrainedOptions;
use crate::config::Dialect;
use crate::lifecycle::{Format, TunedModel};
use std::path::PathBuf;
use swift_tuners_nn::checkpoint::Tensors;
use swift_tuners_nn::{Array, Result};

impl TunedModel {
    /// What a file of this adapter would hold, by its keys there.
    pub fn adapter_state(&self, name: &str) -> Result<Vec<(String, Array)>> {
        let format = if self.id_dialect(name)? == Dialect::Swift { Format::Swift } else { Format::Peft };
        self.tensors(name, format)
    }

    /// Takes such tensors. Those that are missing or surplus are in the report; a failure leaves the model as it was.
    pub fn set_adapter_state(&mut self, name: &str, tensors: Tensors) -> Result<()> {
        self.id_dialect(name)?;
        let found = Found {
            saved: name.to_owned(),
            name: name.to_owned(),
            config: self.adapters()[name].config.clone(),
            config_path: PathBuf::new(),
            file: PathBuf::from("state dict"),
            tensors,
            warnings: Vec::new(),
        };
        self.transaction(&[name.to_owned()], |m| m.apply(0, &found, &FromPretrainedOptions::default()))
    }

    fn id_dialect(&self, name: &str) -> Result<Dialect> {
        self.id(name)?;
        Ok(self.adapters()[name].config.dialect)
    }
}
