//! LoRAs that count more or less for a while: `peft.helpers.rescale_adapter_scale`.

use super::adapter::Lora;
use crate::layer::Layer;
use crate::lifecycle::TunedModel;
use swift_tuners_nn::module::for_each_node_mut;
use swift_tuners_nn::{Error, Result};

impl TunedModel {
    /// Multiplies the scalings of all LoRAs. Gives what they were, for [`TunedModel::restore_scalings`].
    ///
    /// # Errors
    /// When the model has no LoRA, or one is merged.
    pub fn rescale(&mut self, factor: f64) -> Result<Vec<f64>> {
        let mut former = Vec::new();
        let mut merged = false;
        self.each_scaling(&mut |scaling, is_merged| {
            former.push(*scaling);
            merged |= is_merged;
        });
        if former.is_empty() {
            return Err(Error::UnsupportedTuner("this model has no LoRA, whose scaling could be multiplied".into()));
        }
        if merged {
            return Err(Error::Invalid("unmerge before scalings are multiplied: merged weights hold them".into()));
        }
        self.each_scaling(&mut |scaling, _| *scaling *= factor);
        Ok(former)
    }

    /// Sets the scalings that [`TunedModel::rescale`] gave. Nothing changes where LoRAs came or went since then.
    pub fn restore_scalings(&mut self, former: &[f64]) -> Result<()> {
        let mut count = 0;
        self.each_scaling(&mut |_, _| count += 1);
        if count != former.len() {
            return Err(Error::Invalid("LoRAs came or went while their scalings were multiplied".into()));
        }
        let mut former = former.iter();
        self.each_scaling(&mut |scaling, _| *scaling = former.next().copied().unwrap_or(*scaling));
        Ok(())
    }

    fn each_scaling(&mut self, f: &mut dyn FnMut(&mut f64, bool)) {
        for_each_node_mut(&mut self.model.root, &mut |node| {
            let merged = node.has_merged();
            if let Some(layer) = node.tuner_mut::<Layer<Lora>>() {
                layer.each_mut(&mut |lora| f(&mut lora.scaling, merged));
            }
        });
    }
}
