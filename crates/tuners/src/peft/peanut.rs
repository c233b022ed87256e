//! PEANuT: a small network makes the update of the weight itself.
//!
//! Zhong et al. 2024 (arXiv 2410.01870); PEFT's `peft.tuners.peanut`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::ops::{self, Activation, LoraTerm};
use swift_tuners_nn::{Param, Result, Tensor};

crate::config! {
    /// `PeanutConfig`
    pub struct PeanutConfig {
        standard: [
            peft, target_modules, exclude_modules, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Width of the network.
        r: usize = 32, in 1..;
        /// Pairs of inner layers, the second of each with the first one's input added.
        depth: usize = 0, in ..=1024;
        /// Activation, by its name in transformers.
        act_fn: String = "relu".to_owned();
        /// Scale of the update.
        scaling: f64 = 1.;
        /// False starts with a random last layer, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `ΔW = s B f(W)`, where f maps each column of W to `r` numbers.
#[derive(Clone)]
pub struct Peanut {
    /// `[r, out]`
    a: Param,
    /// `[out, r]`
    b: Param,
    /// `[r, r]` each
    encoders: Vec<Param>,
    decoders: Vec<Param>,
    act: Activation,
    scaling: f64,
}

fn numbered<'a>(group: &'static str, layers: &'a [Param]) -> impl Iterator<Item = Part<'a>> {
    layers.iter().enumerate().map(move |(i, w)| Part::leaf(group, format!(".{i}.weight"), w))
}

impl LayerKind for Peanut {
    const NAME: &'static str = "PEANUT";
    const CLASS: &'static str = "PeanutConfig";
    const ABOUT: &'static str =
        "A small network that makes the update of the weight itself. Zhong et al. 2024 (arXiv 2410.01870).";
    type Config = PeanutConfig;
    type Adapter = Self;

    fn check(c: &PeanutConfig) -> Result<()> {
        Activation::parse(&c.act_fn, "act_fn").map(|_| ())
    }

    fn new(c: &PeanutConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let (r, outputs) = (c.r, site.outputs);
        // The constructors of all layers draw first.
        init.discard_uniforms(2 * r * outputs + 2 * c.depth * r * r)?;
        let a = init.kaiming(&[r, outputs])?;
        let mut inner = || (0..c.depth).map(|_| init.kaiming(&[r, r])).collect::<Result<Vec<_>>>();
        let (encoders, decoders) = (inner()?, inner()?);
        let b = if c.init_weights { init.constant(&[outputs, r], 0.)? } else { init.kaiming(&[outputs, r])? };
        Ok(Self { a, b, encoders, decoders, act: Activation::parse(&c.act_fn, "act_fn")?, scaling: c.scaling })
    }
}

impl Peanut {
    /// f(W) `[r, in]`.
    fn inner(&self, call: &Call<'_>) -> Result<Tensor> {
        let a = call.value(&self.a)?;
        let w = Tensor::from(call.weights.matrix()?.to_dtype(a.dtype())?);
        let mut h = self.act.forward(&a.matmul(&w)?)?;
        let mut kept = Vec::with_capacity(self.encoders.len());
        for encoder in &self.encoders {
            let next = self.act.forward(&call.value(encoder)?.matmul(&h)?)?;
            kept.push(std::mem::replace(&mut h, next));
        }
        for (decoder, before) in self.decoders.iter().zip(kept.iter().rev()) {
            h = self.act.forward(&call.value(decoder)?.matmul(&h)?)?.add(before)?;
        }
        Ok(h)
    }
}

impl LayerAdapter for Peanut {
    const GROUPS: &'static [&'static str] = &["peanut_A", "peanut_B", "peanut_encoders", "peanut_decoders"];

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::leaf("peanut_A", ".weight", &self.a), Part::leaf("peanut_B", ".weight", &self.b)];
        parts.extend(numbered("peanut_encoders", &self.encoders));
        parts.extend(numbered("peanut_decoders", &self.decoders));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        call.value(&self.b)?.matmul(&self.inner(call)?)?.affine(self.scaling, 0.).map(Some)
    }

    /// The update has rank `r`, so that it needs not be formed.
    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b) = (self.inner(call)?, call.value(&self.b)?);
        let x = x.tensor()?.to_dtype(b.dtype())?;
        ops::lora_linear(&x, None, &[LoraTerm::new(a, b, self.scaling)]).map(Some)
    }
}
