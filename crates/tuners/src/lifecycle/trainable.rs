//! Which parameters train.

use super::adapter::OwnParam;
use super::tuned_model::TunedModel;
use crate::bias::Bias;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use swift_tuners_nn::module::named_parameters;
use swift_tuners_nn::Result;

impl TunedModel {
    /// An adapter's own parameters, and the biases that it trains.
    pub fn set_trainable(&self, name: &str, on: bool) -> Result<()> {
        self.set_own_trainable(name, on)?;
        if let Some(adapter) = self.adapters.get(name) {
            adapter.trainable.store(on, Ordering::Relaxed);
        }
        // Finding them walks the tree; switching must not, where there are none.
        if self.adapters.get(name).is_some_and(|a| a.bias != Bias::None || !a.shared.is_empty()) {
            for slot in self.slots(name)?.iter().filter(|s| s.is_base_trained()) {
                slot.param.set_requires_grad(on);
            }
        }
        Ok(())
    }

    /// The same for the adapters' own tensors alone, whether they are active or not (PEFT's `set_requires_grad`).
    pub fn set_adapters_require_grad(&self, names: &[String], on: bool) -> Result<()> {
        self.ids(names)?;
        names.iter().try_for_each(|name| self.set_own_trainable(name, on))
    }

    pub(super) fn set_own_trainable(&self, name: &str, on: bool) -> Result<()> {
        for own in self.own_params(name)?.iter().filter(|own| !own.buffer) {
            own.param.set_requires_grad(on);
        }
        Ok(())
    }

    pub(super) fn own_params(&self, name: &str) -> Result<Arc<Vec<OwnParam>>> {
        let id = self.id(name)?;
        if let Some(own) = self.own.lock().get(&id) {
            return Ok(own.clone());
        }
        let slots = self.slots(name)?.into_iter().filter(|s| s.is_own());
        let own = Arc::new(slots.map(|s| OwnParam { buffer: s.is_buffer(), param: s.param }).collect::<Vec<_>>());
        self.own.lock().insert(id, own.clone());
        Ok(own)
    }

    /// Elements of the parameters that train, and of all; tied parameters count once.
    pub fn count(&self) -> (usize, usize) {
        let named = named_parameters(&self.model.root);
        let trainable = named.iter().filter(|(_, p)| p.requires_grad()).map(|(_, p)| p.numel()).sum();
        (trainable, named.iter().map(|(_, p)| p.numel()).sum())
    }

    /// `trainable params: 3,584 || all params: 159,808 || trainable%: 2.2427|| cuda memory: 0.00GiB.`
    ///
    /// SWIFT's text, letter by letter.
    pub fn report(&self) -> String {
        let (trainable, all) = self.count();
        let percent = if all == 0 { 0. } else { 100. * trainable as f64 / all as f64 };
        format!(
            "trainable params: {} || all params: {} || trainable%: {percent:.4}|| cuda memory: 0.00GiB.",
            thousands(trainable),
            thousands(all)
        )
    }
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
