//! PSOFT: rotates the weight inside of its own principal subspace.
//!
//! Wu et al. 2025 (arXiv 2505.11235); PEFT's `peft.tuners.psoft`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use candle_core::Device;
use std::sync::{Arc, OnceLock};
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::linalg::{cayley, cayley_neumann, skew_from_upper, svd, svd_lowrank};
use swift_tuners_nn::module::{Part, Role, WeightKind};
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `PsoftConfig`
    pub struct PsoftConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Dimensions of the subspace.
        r: usize = 32, in 1..;
        /// The update is scaled by `psoftAlpha / r`.
        psoft_alpha: usize = 32, in 1..;
        psoft_dropout: Probability = Probability(0.);
        /// Where the singular values go: into B, or as roots into both.
        ab_svd_init: Split = Split::Psoft;
        /// The whole decomposition, or the principal part of it from a random start.
        psoft_svd: Decomposition = Decomposition::Full;
        /// Iterations of 'lowrank'.
        psoft_svd_lowrank_niter: usize = 10;
        /// Seed of 'lowrank'.
        random_seed: u64 = 0;
        /// Keeps the subspace's map a rotation; false trains all of it.
        psoft_orth: bool = true;
        /// Trains a scale of each dimension that comes out of the map.
        psoft_mag_b: bool = true;
        /// Trains a scale of each dimension that goes into it.
        psoft_mag_a: bool = true;
        /// Computes the rotation as a series of `numCayleyNeumannTerms`.
        use_cayley_neumann: bool = false;
        num_cayley_neumann_terms: i64 = 5;
        /// Bound of the series' argument, between 0 and 1.
        cayley_neumann_eps: Option<f64> = None;
        /// False starts with random maps, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

crate::words! {
    /// Where the singular values go.
    pub enum Split { Psoft = "psoft_init", Pissa = "pissa_init" }
}

crate::words! {
    /// How the weight is decomposed.
    pub enum Decomposition { Full = "full", Lowrank = "lowrank" }
}

/// `ΔW = s B (R - I) A`: `s B A` is the principal part of W, and R a rotation (between two scales).
///
/// A and B are in no checkpoint. Their signs are the decomposition's, which differ between libraries, and R depends on them.
#[derive(Clone)]
pub struct Psoft {
    /// What is above the rotation's diagonal `[r (r - 1) / 2]`, or the map `[r, r]`.
    weight: Param,
    /// `[r]`
    scale_b: Option<Param>,
    scale_a: Option<Param>,
    /// `[r, in]`
    a: Param,
    /// `[out, r]`
    b: Param,
    orth: bool,
    series: Option<(usize, Option<f64>)>,
    scaling: f64,
    dropout: f64,
}

/// A `[r, in]` and B `[out, r]` of a weight.
fn principal(c: &PsoftConfig, w: &Array, scaling: f64) -> Result<(Array, Array)> {
    let (u, s, vt) = match c.psoft_svd {
        Decomposition::Full => svd(w, c.r)?,
        Decomposition::Lowrank => svd_lowrank(w, c.r, c.psoft_svd_lowrank_niter, &mut Generator::new(c.random_seed))?,
    };
    let s = (s / scaling)?;
    Ok(match c.ab_svd_init {
        Split::Psoft => (vt, u.broadcast_mul(&s)?),
        Split::Pissa => {
            let root = s.sqrt()?;
            (vt.broadcast_mul(&root.unsqueeze(1)?)?, u.broadcast_mul(&root)?)
        }
    })
}

impl LayerKind for Psoft {
    const NAME: &'static str = "PSOFT";
    const CLASS: &'static str = "PsoftConfig";
    const ABOUT: &'static str =
        "A rotation of the weight inside of its own principal subspace. Wu et al. 2025 (arXiv 2505.11235).";
    type Config = PsoftConfig;
    type Adapter = Self;

    fn check(c: &PsoftConfig) -> Result<()> {
        if !c.use_cayley_neumann {
            return Ok(());
        }
        if c.num_cayley_neumann_terms <= 0 {
            let why = format!("expected a positive number, found {}", c.num_cayley_neumann_terms);
            return Err(Error::config("num_cayley_neumann_terms", why));
        }
        match c.cayley_neumann_eps {
            Some(eps) if eps <= 0. || eps >= 1. => {
                Err(Error::config("cayley_neumann_eps", format!("expected a number between 0 and 1, found {eps}")))
            }
            _ => Ok(()),
        }
    }

    fn new(c: &PsoftConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let (r, inputs, outputs) = (c.r, site.inputs, site.outputs);
        if r > inputs.min(outputs) {
            let why = format!("{r} is more than {} [{outputs}, {inputs}] has dimensions", site.path);
            return Err(Error::config("r", why));
        }
        let random = !c.init_weights;
        let weight = match (c.psoft_orth, random) {
            (true, false) => init.constant(&[r * (r - 1) / 2], 0.)?,
            (true, true) => init.normal(&[r * (r - 1) / 2], 0.1)?,
            (false, _) => init.param(&[r, r], move |g| {
                let eye = Array::eye(r, candle_core::DType::F32, &Device::Cpu)?;
                Ok(if random { (eye + (g.randn(&[r, r])? * 0.1)?)? } else { eye })
            })?,
        };
        let mut ones = |on: bool| on.then(|| init.constant(&[r], 1.)).transpose();
        let (scale_b, scale_a) = (ones(c.psoft_mag_b)?, ones(c.psoft_mag_a)?);
        let scaling = c.psoft_alpha as f64 / r as f64;
        // One decomposition for both.
        let found: Arc<OnceLock<(Array, Array)>> = Arc::default();
        let mut half = |shape: &[usize], second: bool| {
            let (found, base, c) = (found.clone(), site.clone(), c.clone());
            init.derived(shape, move || {
                if found.get().is_none() {
                    let _ = found.set(principal(&c, &base.matrix()?, scaling)?);
                }
                let both = found.get().ok_or_else(|| Error::Invalid("PSOFT has no principal part".into()))?;
                Ok(if second { both.1.clone() } else { both.0.clone() })
            })
        };
        let (a, b) = (half(&[r, inputs], false)?, half(&[outputs, r], true)?);
        let series = c.use_cayley_neumann.then_some((c.num_cayley_neumann_terms.max(0) as usize, c.cayley_neumann_eps));
        let dropout = c.psoft_dropout.0;
        Ok(Self { weight, scale_b, scale_a, a, b, orth: c.psoft_orth, series, scaling, dropout })
    }
}

impl Psoft {
    /// `(R - I) A` `[r, in]`.
    fn turned(&self, call: &Call<'_>) -> Result<Tensor> {
        let (w, a) = (call.value(&self.weight)?, call.value(&self.a)?);
        let r = a.dim(0);
        let mut map = if self.orth {
            let q = skew_from_upper(&w.unsqueeze(0)?, r)?.reshape((r, r))?;
            match self.series {
                None => cayley(&q.neg()?)?,
                Some((terms, eps)) => cayley_neumann(&bounded(q, eps)?, terms)?,
            }
        } else {
            w
        };
        if let Some(b) = &self.scale_b {
            map = map.mul(&call.value(b)?.unsqueeze(1)?)?;
        }
        if let Some(a) = &self.scale_a {
            map = map.mul(&call.value(a)?)?;
        }
        let eye = Array::eye(r, map.dtype(), map.device())?.into();
        map.sub(&eye)?.matmul(&a)
    }
}

/// `q`, scaled to the length `eps` where it is longer.
fn bounded(q: Tensor, eps: Option<f64>) -> Result<Tensor> {
    let Some(eps) = eps else { return Ok(q) };
    let length = q.sqr()?.sum(None, false)?.sqrt()?;
    let value = length.to_scalar_f64()?;
    if !value.is_finite() || value <= eps {
        return Ok(q);
    }
    q.affine(eps, 0.)?.div(&length.affine(1., 1e-12)?)
}

impl LayerAdapter for Psoft {
    const GROUPS: &'static [&'static str] = &["psoft_dropout", "psoft_R", "_psoft_A_cache", "_psoft_B_cache"];

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::leaf("psoft_R", ".weight", &self.weight)];
        parts.extend(self.scale_b.iter().map(|b| Part::leaf("psoft_R", ".vector_b", b)));
        parts.extend(self.scale_a.iter().map(|a| Part::leaf("psoft_R", ".vector_a", a)));
        let made = Role::Buffer { saved: false };
        parts.push(Part::trained("_psoft_A_cache", &self.a).role(made));
        parts.push(Part::trained("_psoft_B_cache", &self.b).role(made));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        call.value(&self.b)?.matmul(&self.turned(call)?)?.affine(self.scaling, 0.).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b) = (self.turned(call)?, call.value(&self.b)?);
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(b.dtype())?;
        ops::lora_linear(&x, None, &[LoraTerm::new(a, b, self.scaling)]).map(Some)
    }
}
