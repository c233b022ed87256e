//! SHiRA: trains some entries of a weight.
//!
//! Bhardwaj et al. 2024 (arXiv 2406.13175); PEFT's `peft.tuners.shira`.

use super::locations::check_count;
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use candle_core::{DType, Device};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::module::{Part, Role, WeightKind};
use swift_tuners_nn::ops::{sparse_linear, sparse_matrix, Positions};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `ShiraConfig`
    pub struct ShiraConfig {
        standard: [peft, target_modules, fan_in_fan_out, modules_to_save];
        /// `r (in + out)` entries train, as many as a LoRA of this rank has.
        r: usize = 32, in 1..;
        /// `random`; the places of others come from checkpoints alone.
        mask_type: String = "random".into();
        /// Seed of the entries' places. Default: PyTorch's own.
        random_seed: Option<i64> = None;
        /// False starts with random values, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// What `torch.Generator()` starts with.
const DEFAULT_SEED: u64 = 67_280_421_310_721;

/// `ΔW` is zero but for `shira_weight [n]` at its places.
#[derive(Clone)]
pub struct Shira {
    weight: Param,
    /// Rows and columns `[2, n]`.
    indices: Param,
}

impl LayerKind for Shira {
    const NAME: &'static str = "SHIRA";
    const CLASS: &'static str = "ShiraConfig";
    const ABOUT: &'static str = "Some entries of the weights themselves. Bhardwaj et al. 2024 (arXiv 2406.13175).";
    type Config = ShiraConfig;
    type Adapter = Self;

    fn new(c: &ShiraConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| matches!(k, WeightKind::Linear { transposed: false }), "torch.nn.Linear")?;
        let (outputs, inputs) = (site.outputs, site.inputs);
        let n = c.r * (outputs + inputs);
        check_count("r", site, n)?;
        let weight = if c.init_weights { init.constant(&[n], 0.)? } else { init.param(&[n], move |g| g.randn(&[n]))? };
        let seed = c.random_seed.map_or(DEFAULT_SEED, |seed| seed as u64);
        let mask = c.mask_type.clone();
        let indices = Param::indices(&[2, n], DType::I32, &Device::Cpu, [outputs, inputs], move || {
            if mask != "random" {
                let why = format!("{:?}: new adapters have 'random' places only", printable(&mask, 40));
                return Err(Error::config("mask_type", why));
            }
            let mut places = Generator::new(seed).randperm_first(outputs * inputs, n)?;
            places.sort_unstable();
            let rows = places.iter().map(|&p| i64::from(p) / inputs as i64);
            let columns = places.iter().map(|&p| i64::from(p) % inputs as i64);
            Ok(Array::from_vec(rows.chain(columns).collect::<Vec<_>>(), (2, n), &Device::Cpu)?)
        });
        Ok(Self { weight, indices })
    }
}

impl Shira {
    fn places(&self, call: &Call<'_>) -> Result<Positions> {
        Positions::pairs(&self.indices.array()?, call.site.outputs, call.site.inputs)
    }
}

impl LayerAdapter for Shira {
    // The indices are an attribute in Python: in files, but not in the state of the model.
    const GROUPS: &'static [&'static str] = &["shira_weight"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![
            Part::trained("shira_weight", &self.weight),
            Part::trained("shira_indices", &self.indices).role(Role::Buffer { saved: true }),
        ]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        sparse_matrix(&call.value(&self.weight)?, &self.places(call)?).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let weight = call.value(&self.weight)?;
        sparse_linear(&x.tensor()?.to_dtype(weight.dtype())?, &weight, &self.places(call)?).map(Some)
    }
}
