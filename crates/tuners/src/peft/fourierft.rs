//! FourierFT: learns some entries of an update's spectrum.
//!
//! Gao et al. 2024 (arXiv 2405.03003); PEFT's `peft.tuners.fourierft`.

use super::locations::random_locations;
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Patterns;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::pattern::FullMatch;
use crate::site::{Call, Site};
use swift_tuners_nn::module::{Part, Role};
use swift_tuners_nn::ops::{inverse_fourier, Positions};
use swift_tuners_nn::{Model, Param, Result, Tensor};

crate::config! {
    /// `FourierFTConfig`
    pub struct FourierFtConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Number of entries of the spectrum that train in each layer.
        n_frequency: usize = 1000, in 1..;
        /// The transform is scaled by it.
        scaling: f64 = 150.;
        /// Seed of the entries' places, which checkpoints do not hold.
        random_loc_seed: i64 = 777;
        /// Numbers of entries by patterns that match the ends of module names.
        n_frequency_pattern: Patterns<usize> = Patterns(Vec::new());
        /// True starts with zeros, so that the adapter begins as nothing.
        init_weights: bool = false;
    }
}

/// `ΔW = s · Re(ifft2(S))`, S zero but for the spectrum `[n]` at its places.
#[derive(Clone)]
pub struct FourierFt {
    spectrum: Param,
    /// Rows and columns `[2, n]`.
    places: Param,
    scaling: f64,
}

/// PEFT's table for what transforms whole weights.
pub fn transform_targets(model: &Model) -> &'static [&'static str] {
    if model.keys.model_type == "gpt2" {
        return &["mlp.c_proj"];
    }
    model.keys.lora_targets
}

impl LayerKind for FourierFt {
    const NAME: &'static str = "FOURIERFT";
    const CLASS: &'static str = "FourierFTConfig";
    const ABOUT: &'static str = "Some entries of an update's Fourier spectrum. Gao et al. 2024 (arXiv 2405.03003).";
    type Config = FourierFtConfig;
    type Adapter = Self;

    fn default_targets(model: &Model) -> &'static [&'static str] {
        transform_targets(model)
    }

    fn new(c: &FourierFtConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "linear layer")?;
        let mut n = c.n_frequency;
        for (pattern, value) in &c.n_frequency_pattern.0 {
            // Python puts no parentheses around an alternative, and looks for the beginning of the name.
            let rule = FullMatch::new(&format!(r"(?:.*\.{pattern}$)[\s\S]*"), "n_frequency_pattern")?;
            if rule.matches(&site.path)? {
                n = *value;
                break;
            }
        }
        let places = random_locations(site, n, c.random_loc_seed)?;
        let zero = c.init_weights;
        let spectrum = init.param(&[n], move |g| {
            let drawn = g.randn(&[n])?;
            Ok(if zero { drawn.zeros_like()? } else { drawn })
        })?;
        Ok(Self { spectrum, places, scaling: c.scaling })
    }
}

impl LayerAdapter for FourierFt {
    const GROUPS: &'static [&'static str] = &["fourierft_spectrum"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![
            Part::trained("fourierft_spectrum", &self.spectrum),
            Part::trained("indices", &self.places).role(Role::Buffer { saved: false }),
        ]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let at = Positions::pairs(&self.places.array()?, call.site.outputs, call.site.inputs)?;
        inverse_fourier(&call.value(&self.spectrum)?.affine(self.scaling, 0.)?, &at).map(Some)
    }
}
