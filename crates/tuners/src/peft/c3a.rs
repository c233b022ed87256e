//! C3A: circulant blocks, each made of one vector.
//!
//! Chen et al. 2024 (arXiv 2407.19342); PEFT's `peft.tuners.c3a`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Patterns;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Site};
use crate::target;
use swift_tuners_nn::linalg::block_circulant;
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::{Error, Model, Param, Result, Tensor};

crate::config! {
    /// `C3AConfig`
    pub struct C3aConfig {
        standard: [
            peft, target_modules, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Size of a block, which divides the layers' inputs and outputs.
        block_size: usize = 256, in 1..;
        /// Sizes by patterns that match the ends of module names.
        block_size_pattern: Patterns<usize> = Patterns(Vec::new());
        /// How the vectors start: true is zero, false 'xavier_uniform'.
        init_weights: Start = Start::Xavier;
    }
}

crate::choices! {
    /// How the vectors start.
    pub enum Start {
        Zero = true, Random = false, Gaussian = "gaussian", Kaiming = "kaiming_uniform", Xavier = "xavier_uniform",
    }
}

/// `ΔW = C / in`, where C is made of circulant blocks.
#[derive(Clone)]
pub struct C3a {
    /// `[out / block, in / block, block]`
    kernel: Param,
}

impl LayerKind for C3a {
    const NAME: &'static str = "C3A";
    const CLASS: &'static str = "C3AConfig";
    const ABOUT: &'static str = "Circulant blocks, each made of one vector. Chen et al. 2024 (arXiv 2407.19342).";
    type Config = C3aConfig;
    type Adapter = Self;

    fn default_targets(model: &Model) -> &'static [&'static str] {
        if model.keys.model_type == "gpt2" {
            &["mlp.c_proj"]
        } else {
            model.keys.lora_targets
        }
    }

    fn new(c: &C3aConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        const FIELD: &str = "block_size_pattern";
        let sizes: Vec<(String, f64)> = c.block_size_pattern.0.iter().map(|(p, n)| (p.clone(), *n as f64)).collect();
        let block = target::pattern_value(&sizes, FIELD, &site.path)?.map_or(c.block_size, |b| b as usize);
        let (outputs, inputs) = (site.outputs, site.inputs);
        if block == 0 || !outputs.is_multiple_of(block) || !inputs.is_multiple_of(block) {
            let why = format!("{block} does not divide {} [{outputs}, {inputs}]", site.path);
            return Err(Error::config("block_size", why));
        }
        let shape = [outputs / block, inputs / block, block];
        let uniform = |init: &mut Init, bound: f64| init.uniform(&shape, -bound, bound);
        let kernel = match c.init_weights {
            Start::Zero => init.constant(&shape, 0.)?,
            Start::Gaussian => init.normal(&shape, 1.)?,
            Start::Kaiming => uniform(init, (1. / inputs as f64).sqrt())?,
            Start::Xavier | Start::Random => uniform(init, 3f64.sqrt() * (2. / (inputs + outputs) as f64).sqrt())?,
        };
        Ok(Self { kernel })
    }
}

impl LayerAdapter for C3a {
    const GROUPS: &'static [&'static str] = &["c3a_kernel"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::trained("c3a_kernel", &self.kernel)]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        block_circulant(&call.value(&self.kernel)?.affine(1. / call.site.inputs as f64, 0.)?).map(Some)
    }
}
