//! Super-Tuning: trains the largest (or smallest) entries of a weight; with a LoRA beside them it is called Supra.
//!
//! arXiv 2607.09287; PEFT's `peft.tuners.supertuning`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::{Fields as _, Probability};
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::Attach;
use crate::site::{Call, Input, Site};
use candle_core::{DType, Device};
use swift_tuners_nn::module::{Part, Role, WeightKind};
use swift_tuners_nn::ops::{self, sparse_linear, sparse_matrix, top_magnitudes, LoraTerm, Positions};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `SupertuningConfig`
    pub struct SupertuningConfig {
        standard: [peft, target_modules, modules_to_save];
        /// Share of a weight's entries that stay as they are.
        sparsity: Probability = Probability(0.99);
        /// True trains the entries of largest magnitude, false those of smallest.
        select_top: bool = true;
        /// Rank of the LoRA beside them (Supra).
        r: Option<usize> = None;
        /// The LoRA is scaled by `lora_alpha / r`. Default: `2 r`.
        lora_alpha: Option<f64> = None;
        lora_dropout: Probability = Probability(0.);
        /// False starts with random values throughout, so that the adapter acts at once.
        init_weights: bool = true;
        /// Whether checkpoints hold the entries' places; without them they are found again in the base, which must be the same.
        save_precomputed_indices: bool = true;
    }
}

/// `ΔW` has `values [n]` at its places, and `s B A` more.
#[derive(Clone)]
pub struct Supertuning {
    values: Param,
    /// Places `[n]` in the row-major weight, in the order of the values.
    indices: Param,
    saved: bool,
    lora: Option<Lora>,
}

/// `s B A`
#[derive(Clone)]
struct Lora {
    /// `[r, in]`
    a: Param,
    /// `[out, r]`
    b: Param,
    scaling: f64,
    dropout: f64,
}

impl LayerKind for Supertuning {
    const NAME: &'static str = "SUPERTUNING";
    const CLASS: &'static str = "SupertuningConfig";
    const ABOUT: &'static str =
        "The largest entries of the weights themselves, and a LoRA beside them. Super-Tuning and Supra (arXiv 2607.09287).";
    type Config = SupertuningConfig;
    type Adapter = Self;

    fn check(c: &SupertuningConfig) -> Result<()> {
        if c.r == Some(0) {
            return Err(Error::config("r", "expected at least 1"));
        }
        if c.r.is_none() && c.lora_alpha.is_some() {
            return Err(Error::config("lora_alpha", "needs r: without a rank there is no LoRA to scale"));
        }
        Ok(())
    }

    fn resolve(c: &SupertuningConfig, a: &Attach<'_>, resolved: &mut TunerConfig) -> Result<()> {
        for other in a.others.iter().filter(|o| o.kind == Self::NAME) {
            if SupertuningConfig::of(other)?.save_precomputed_indices != c.save_precomputed_indices {
                return Err(Error::config("save_precomputed_indices", "must be the same for all adapters of a model"));
            }
        }
        if let (Some(r), None) = (c.r, c.lora_alpha) {
            resolved.set("lora_alpha", 2 * r);
        }
        Ok(())
    }

    fn new(c: &SupertuningConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| matches!(k, WeightKind::Linear { transposed: false }), "torch.nn.Linear")?;
        let (inputs, outputs, zero) = (site.inputs, site.outputs, c.init_weights);
        let n = ((inputs * outputs) as f64 * (1. - c.sparsity.0)) as usize;
        if n == 0 {
            let why = format!("{} leaves no entry of {}, which has {}", c.sparsity.0, site.path, inputs * outputs);
            return Err(Error::config("sparsity", why));
        }
        let (of, top) = (site.clone(), c.select_top);
        let indices = Param::indices(&[n], DType::I32, &Device::Cpu, [inputs * outputs; 2], move || {
            let places = top_magnitudes(&of.matrix()?, n, top)?;
            Ok(Array::from_vec(places.into_iter().map(i64::from).collect::<Vec<_>>(), n, &Device::Cpu)?)
        });
        let values = if zero { init.constant(&[n], 0.)? } else { init.param(&[n], move |g| g.randn(&[n]))? };
        let mut lora = None;
        if let Some(r) = c.r {
            // What the constructors of both layers draw.
            init.discard(|g| g.linear(inputs, r, false))?;
            init.discard(|g| g.linear(r, outputs, false))?;
            let mut kaiming = |shape: [usize; 2]| init.param(&shape, move |g| g.kaiming_uniform(&shape, 5f64.sqrt()));
            let a = kaiming([r, inputs])?;
            let b = if zero { None } else { Some(kaiming([outputs, r])?) };
            let b = b.map_or_else(|| init.constant(&[outputs, r], 0.), Ok)?;
            let scaling = c.lora_alpha.unwrap_or(2. * r as f64) / r as f64;
            lora = Some(Lora { a, b, scaling, dropout: c.lora_dropout.0 });
        }
        Ok(Self { values, indices, saved: c.save_precomputed_indices, lora })
    }
}

impl Supertuning {
    fn places(&self, call: &Call<'_>) -> Result<Positions> {
        Positions::flat(&self.indices.array()?, call.site.outputs, call.site.inputs)
    }
}

impl LayerAdapter for Supertuning {
    const GROUPS: &'static [&'static str] = &[
        "supertuning_values",
        "supertuning_indices",
        "supertuning_lora_A",
        "supertuning_lora_B",
        "supertuning_lora_dropout",
    ];

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![
            Part::trained("supertuning_values", &self.values),
            Part::trained("supertuning_indices", &self.indices).role(Role::Buffer { saved: self.saved }),
        ];
        if let Some(lora) = &self.lora {
            parts.push(Part::leaf("supertuning_lora_A", ".weight", &lora.a));
            parts.push(Part::leaf("supertuning_lora_B", ".weight", &lora.b));
        }
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let delta = sparse_matrix(&call.value(&self.values)?, &self.places(call)?)?;
        let Some(lora) = &self.lora else { return Ok(Some(delta)) };
        delta.add(&call.value(&lora.b)?.matmul(&call.value(&lora.a)?)?.affine(lora.scaling, 0.)?).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let values = call.value(&self.values)?;
        let x = x.tensor()?.to_dtype(values.dtype())?;
        let y = sparse_linear(&x, &values, &self.places(call)?)?;
        let Some(lora) = &self.lora else { return Ok(Some(y)) };
        let term = LoraTerm::new(call.value(&lora.a)?, call.value(&lora.b)?, lora.scaling);
        y.add(&ops::lora_linear(&call.cx.dropout(&x, lora.dropout)?, None, &[term])?).map(Some)
    }
}
