//! `layer_replication`: a taller stack of the model's layers over shared weights, so that adapters tell the copies apart.
//!
//! PEFT's `replicate_layers`.

use super::PeftLoraConfig;
use crate::method::Attach;
use swift_tuners_nn::module::for_each_list_mut;
use swift_tuners_nn::{Error, Result};

const FIELD: &str = "layer_replication";

pub fn check(c: &PeftLoraConfig) -> Result<()> {
    let ranges = c.layer_replication.iter().flatten();
    match ranges.clone().find(|range| range.len() != 2 || range[0] > range[1]) {
        Some(range) => Err(Error::config(FIELD, format!("expected [first, last + 1], found {range:?}"))),
        None => Ok(()),
    }
}

/// Replaces the list of blocks. An adapter that comes to a model that is replicated in the same way finds it as it needs it.
pub fn replicate(c: &PeftLoraConfig, a: &mut Attach<'_>) -> Result<()> {
    let Some(ranges) = c.layer_replication.as_ref().filter(|ranges| !ranges.is_empty()) else { return Ok(()) };
    if !a.others.is_empty() {
        let same = |other: &&crate::TunerConfig| other.fields.get(FIELD) == a.config.fields.get(FIELD);
        return match a.others.iter().all(same) {
            true => Ok(()),
            false => Err(Error::config(FIELD, "the model has adapters that see its layers otherwise")),
        };
    }
    let keys = a.model.keys;
    if keys.blocks != "model.layers" && keys.model_type != "bert" {
        let why = format!("PEFT replicates the layers of Llama, BERT and their like, not of {}", keys.architecture);
        return Err(Error::config(FIELD, why));
    }
    let mut result = Err(Error::config(FIELD, format!("{} has no list of layers", keys.architecture)));
    let replaced = &mut *a.replaced;
    for_each_list_mut(&mut a.model.root, &mut |path, list| {
        if path != keys.blocks {
            return;
        }
        let count = list.items.len();
        if let Some(range) = ranges.iter().find(|range| range[1] > count) {
            result = Err(Error::config(FIELD, format!("{range:?} goes beyond the {count} layers")));
            return;
        }
        let items = ranges.iter().flat_map(|range| list.items[range[0]..range[1]].to_vec()).collect();
        replaced.push((path.to_owned(), std::mem::replace(&mut list.items, items)));
        list.number_blocks();
        result = Ok(list.items.len());
    });
    let layers = result?;
    if let Some(count) = a.model.config.get_mut("num_hidden_layers") {
        *count = layers.into();
    }
    Ok(())
}
