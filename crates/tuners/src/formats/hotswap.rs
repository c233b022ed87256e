//! `peft.utils.hotswap.hotswap_adapter`.

use super::found::{read_directory, NameSelection};
use super::load::{directory, FromPretrainedOptions};
use crate::config::{Dialect, TunerConfig};
use crate::lifecycle::{Flavor, TunedModel};
use std::path::Path;
use swift_tuners_nn::{Error, Result};

impl TunedModel {
    /// Puts the adapter of a directory in the place of one that the model has, under its name: of any rank, with any targets, of any
    /// type. Python's takes the same type, and targets among those that are there.
    ///
    /// The directory is read and checked before the model is touched; a failure leaves it as it was.
    pub fn hotswap(&mut self, thread: u64, name: &str, dir: &Path, options: &FromPretrainedOptions) -> Result<()> {
        self.id(name)?;
        directory(dir)?;
        let one = NameSelection::Named(vec![("default".into(), name.to_owned())]);
        let (found, _) = read_directory(dir, &one)?;
        if found.iter().any(|f| f.config.dialect == Dialect::Swift) || self.flavor == Flavor::Swift {
            return Err(Error::Invalid(
                "only PEFT's adapters are swapped; SWIFT's are loaded under another name".into(),
            ));
        }
        let replicates = |c: &TunerConfig| c.get("layer_replication").is_some_and(|v| !v.is_null());
        if found.iter().any(|f| replicates(&f.config))
            || self.adapters().get(name).is_some_and(|a| replicates(&a.config))
        {
            let why = "layers stay replicated, so that another adapter does not fit; load it into a fresh model";
            return Err(Error::config("layer_replication", why));
        }
        self.replacing(name, |m| found.iter().try_for_each(|f| m.apply(thread, f, options)))
    }
}
