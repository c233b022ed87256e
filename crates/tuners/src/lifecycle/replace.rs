//! An adapter that comes to another one's place.

use super::tuned_model::{Before, TunedModel};
use std::sync::atomic::Ordering;
use swift_tuners_nn::{Error, Result};

impl TunedModel {
    /// Takes an adapter out and lets `attach` bring another one of its name, which is then active, trains, and stands in the order as
    /// the former did. A failure leaves the model as it was.
    pub(crate) fn replacing(&mut self, name: &str, attach: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let old = self.id(name)?;
        if self.is_merged(Some(&[old])) {
            return Err(Error::Invalid(format!("unmerge before you replace {name}, whose weights are merged")));
        }
        let active = self.active.lock().clone();
        let trains = self.own_params(name)?.iter().any(|own| own.param.requires_grad());
        let trainable = self.adapters[name].trainable.load(Ordering::Relaxed);
        self.transaction(&[name.to_owned()], |m| {
            m.displaced = Some(Before { root: m.model.root.clone(), adapters: m.adapters.clone() });
            m.remove_from_tree(&[old]);
            let at = m.adapters.shift_remove_full(name).map_or(0, |(at, ..)| at);
            attach(m)?;
            let new = m.id(name)?;
            m.adapters.move_index(m.adapters.len() - 1, at);
            let mut sets = active;
            sets.values_mut().flatten().filter(|id| **id == old).for_each(|id| *id = new);
            *m.active.lock() = sets;
            m.adapters[name].trainable.store(trainable, Ordering::Relaxed);
            m.set_own_trainable(name, trains)
        })
    }
}
