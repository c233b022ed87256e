//! Random places of a weight that a seed stands for.

use crate::site::Site;
use candle_core::{DType, Device};
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::{Array, Error, Param, Result};

/// `n` different places of the weight as rows and columns `[2, n]`, in the order of a permutation that the seed gives.
pub fn random_locations(site: &Site, n: usize, seed: i64) -> Result<Param> {
    let (outputs, inputs) = (site.outputs, site.inputs);
    check_count("n_frequency", site, n)?;
    Ok(Param::indices(&[2, n], DType::I64, &Device::Cpu, [outputs, inputs], move || {
        let places = Generator::new(seed as u64).randperm_first(outputs * inputs, n)?;
        let rows = places.iter().map(|&p| i64::from(p) / inputs as i64);
        let columns = places.iter().map(|&p| i64::from(p) % inputs as i64);
        Ok(Array::from_vec(rows.chain(columns).collect::<Vec<_>>(), (2, n), &Device::Cpu)?)
    }))
}

/// Fails where a weight has fewer entries than are to be chosen, or none is.
pub fn check_count(field: &str, site: &Site, n: usize) -> Result<()> {
    let all = site.outputs * site.inputs;
    if (1..=all).contains(&n) {
        return Ok(());
    }
    Err(Error::config(field, format!("{n} places of {}, whose weight has {all}", site.path)))
}
