//! WaveFT: learns some coefficients of an update's wavelet transform.
//!
//! Bilican et al. 2025 (arXiv 2505.12532); PEFT's `peft.tuners.waveft`.

use super::fourierft::transform_targets;
use super::locations::random_locations;
use super::wavelets::{low_pass, FAMILIES};
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Patterns;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Site};
use crate::target;
use candle_core::Device;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{Part, Role};
use swift_tuners_nn::ops::{inverse_wavelet, sparse_matrix, Positions, Window};
use swift_tuners_nn::{Array, Error, Model, Param, Result, Tensor};

crate::config! {
    /// `WaveFTConfig`
    pub struct WaveFtConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Number of coefficients that train in each layer.
        n_frequency: usize = 2592, in 1..;
        /// The transform is scaled by it.
        scaling: f64 = 25.;
        /// `db1` to `db10`, `sym2` to `sym10` or `coif1` to `coif4`.
        wavelet_family: String = "db1".into();
        /// False takes the coefficients as entries of the update itself.
        use_idwt: bool = true;
        /// Seed of the coefficients' places, which checkpoints do not hold.
        random_loc_seed: i64 = 777;
        /// Numbers of coefficients by patterns that match the ends of module names.
        n_frequency_pattern: Patterns<f64> = Patterns(Vec::new());
        /// Shares out as many coefficients as all layers have together by the sizes of their weights.
        proportional_parameters: bool = false;
        /// False starts with random coefficients, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `ΔW = s · idwt2(S)`, or `s · S`; S is zero but for the spectrum `[n]` at its places.
#[derive(Clone)]
pub struct WaveFt {
    spectrum: Param,
    /// Rows and columns `[2, n]` of the weight.
    places: Param,
    scaling: f64,
    /// Of reconstruction; nothing where there is no transform.
    low_pass: Option<&'static [f64]>,
}

/// Whether PEFT knows how much larger than the weight a family's coefficients are.
fn is_known(family: &str) -> bool {
    let number = |kind: &str| family.strip_prefix(kind).filter(|n| !n.starts_with('0')).and_then(|n| n.parse().ok());
    let within = |kind: &str, first: u8, last: u8| number(kind).is_some_and(|n| (first..=last).contains(&n));
    within("db", 1, 38) || within("sym", 2, 20) || within("coif", 1, 17)
}

impl LayerKind for WaveFt {
    const NAME: &'static str = "WAVEFT";
    const CLASS: &'static str = "WaveFTConfig";
    const ABOUT: &'static str =
        "Some coefficients of an update's wavelet transform. Bilican et al. 2025 (arXiv 2505.12532).";
    type Config = WaveFtConfig;
    type Adapter = Self;

    fn check(c: &WaveFtConfig) -> Result<()> {
        let family = c.wavelet_family.as_str();
        if low_pass(family).is_some() || is_known(family) && !c.use_idwt {
            return Ok(());
        }
        let known: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
        let why = format!("{:?} is none of {}", printable(family, 40), known.join(", "));
        Err(Error::config("wavelet_family", why))
    }

    fn default_targets(model: &Model) -> &'static [&'static str] {
        transform_targets(model)
    }

    fn bank(_: &WaveFtConfig, sites: &[Site], _: &mut Init) -> Result<Option<Bank>> {
        Ok(Some(Bank::of(sites)))
    }

    fn new(c: &WaveFtConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "linear layer")?;
        let n = if let (true, Some(bank)) = (c.proportional_parameters, bank) {
            let share = (site.inputs * site.outputs) as f64 / bank.total as f64;
            (share * (c.n_frequency * bank.layers.len()) as f64).round_ties_even().max(1.) as usize
        } else {
            let own = target::pattern_value(&c.n_frequency_pattern.0, "n_frequency_pattern", &site.path)?;
            own.map_or(c.n_frequency, |n| n as usize)
        };
        let places = random_locations(site, n, c.random_loc_seed)?;
        let spectrum = if c.init_weights {
            init.constant(&[n], 0.)?
        } else {
            init.param(&[n], move |g| Ok((g.randn(&[n])? * 0.01)?))?
        };
        let low_pass = low_pass(&c.wavelet_family).filter(|_| c.use_idwt);
        Ok(Self { spectrum, places, scaling: c.scaling, low_pass })
    }
}

impl LayerAdapter for WaveFt {
    const GROUPS: &'static [&'static str] = &["waveft_spectrum"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![
            Part::trained("waveft_spectrum", &self.spectrum),
            Part::trained("waveft_indices", &self.places).role(Role::Buffer { saved: false }),
        ]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (rows, columns) = (call.site.outputs, call.site.inputs);
        let spectrum = call.value(&self.spectrum)?.affine(self.scaling, 0.)?;
        let places = self.places.array()?;
        let Some(low) = self.low_pass else {
            return sparse_matrix(&spectrum, &Positions::pairs(&places, rows, columns)?).map(Some);
        };
        // The coefficients are as many more as the filter cuts off, in even numbers, with the weight's places in the middle.
        let padded = |size: usize| (size + low.len() - 2).next_multiple_of(2);
        let offsets = [rows, columns].map(|size| ((padded(size) - size) / 2) as i64);
        let offsets = Array::from_slice(&offsets, (2, 1), &Device::Cpu)?;
        let at = Positions::pairs(&places.broadcast_add(&offsets)?, padded(rows), padded(columns))?;
        inverse_wavelet(&spectrum, &at, low, Window { rows, columns }).map(Some)
    }
}
