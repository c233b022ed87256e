//! DEFT: takes a subspace out of the weight and puts an update of its own there.
//!
//! PEFT's `peft.tuners.deft` ("Decompositional Efficient Fine-Tuning for Text-to-Image Models", NeurIPS 2025).

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::{Active, LayerAdapter};
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use candle_core::DType;
use swift_tuners_nn::module::{Args, Next, Part};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{linalg, Array, Param, Result, Tensor};

crate::config! {
    /// `DeftConfig`
    pub struct DeftConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, layers_to_transform, layers_pattern, bias, modules_to_save,
        ];
        /// Dimensions of the subspace; at most the layer's outputs.
        r: usize = 8, in 1..;
        /// How the subspace's projection is made of the trained matrix.
        decomposition_method: Decomposition = Decomposition::Relu;
        /// Scale of a random start (`initWeights: false`).
        init_scale: f64 = 1.;
        /// The update is scaled by `alpha / r`; absent or 0: not scaled.
        alpha: Option<usize> = None;
        /// Only takes the subspace out, without an update.
        para: bool = false;
        /// Dropout of what the update gets.
        deft_dropout: Probability = Probability(0.);
        /// False starts with a random update, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

crate::words! {
    /// How a projection is made of the trained matrix.
    pub enum Decomposition {
        /// P, and on the weight's side its positive part.
        Relu = "relu",
        /// The orthonormal factor of P.
        Qr = "qr",
    }
}

/// `ΔW = Q (s R - Pᵀ W)`
#[derive(Clone)]
pub struct Deft {
    /// `[out, r]`
    p: Param,
    /// `[r, in]`
    r: Option<Param>,
    method: Decomposition,
    scaling: f64,
    dropout: f64,
}

impl Decomposition {
    /// Q and P, both `[out, r]`.
    fn project(self, p: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(match self {
            Self::Relu => (p.clone(), p.relu()?),
            Self::Qr => {
                // The factor with a positive diagonal, turned as LAPACK gives it.
                let (_, r) = linalg::qr(p.data())?;
                let diagonal: Vec<f64> = r
                    .to_dtype(DType::F64)?
                    .to_vec2()?
                    .iter()
                    .enumerate()
                    .map(|(i, r): (_, &Vec<f64>)| r[i].signum())
                    .collect();
                let signs = Array::new(diagonal, p.device())?.to_dtype(p.dtype())?;
                let q = linalg::gram_schmidt(p)?.mul(&signs.into())?;
                (q.clone(), q)
            }
        })
    }
}

impl LayerKind for Deft {
    const NAME: &'static str = "DEFT";
    const CLASS: &'static str = "DeftConfig";
    const ABOUT: &'static str =
        "Takes a subspace out of the weight and puts an update there (Decompositional Efficient Fine-Tuning, 2025).";
    type Config = DeftConfig;
    type Adapter = Self;

    fn new(c: &DeftConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "torch.nn.Linear or Conv1D")?;
        let (rank, method) = (c.r.min(site.outputs), c.decomposition_method);
        let scaling = c.alpha.filter(|a| *a > 0).map_or(1., |a| a as f64 / rank as f64);
        let p = init.normal(&[site.outputs, rank], 0.02)?;
        let shape = [rank, site.inputs];
        let r = match (c.para, c.init_weights) {
            (true, _) => None,
            (false, false) => Some(init.normal(&shape, 0.02 * c.init_scale)?),
            // What it takes out, so that nothing changes.
            (false, true) => {
                let (base, first) = (site.clone(), p.clone());
                Some(init.param(&shape, move |_| {
                    let w = base.matrix()?;
                    let p = Tensor::from(first.array()?.to_dtype(w.dtype())?);
                    let (_, right) = method.project(&p)?;
                    let r = right.data().t()?.contiguous()?.matmul(&w)?;
                    Ok((r / scaling)?.to_device(&candle_core::Device::Cpu)?)
                })?)
            }
        };
        Ok(Self { p, r, method, scaling, dropout: c.deft_dropout.0 })
    }
}

impl LayerAdapter for Deft {
    const GROUPS: &'static [&'static str] = &["deft_P", "deft_R", "deft_dropout"];

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::trained("deft_P", &self.p)];
        parts.extend(self.r.iter().map(|r| Part::trained("deft_R", r)));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (q, right) = self.method.project(&call.value(&self.p)?)?;
        let w = Tensor::from(call.weights.matrix()?.to_dtype(q.dtype())?);
        let mut inner = right.transpose(0, 1)?.contiguous()?.matmul(&w)?.neg()?;
        if let Some(r) = &self.r {
            inner = inner.add(&call.value(r)?.affine(self.scaling, 0.)?)?;
        }
        q.matmul(&inner).map(Some)
    }

    /// `y + (s x Rᵀ - (y - bias) P) Qᵀ`: the base's own output serves in place of the weight.
    fn fused(active: &[Active<'_, Self>], call: &Call<'_>, x: &Input, next: &Next<'_>) -> Result<Option<Tensor>> {
        let x = x.tensor()?;
        let y = next.run(call.cx, Args::one(x.clone()))?.into_tensor()?;
        let mut sum = y.to_dtype(active.first().map_or(y.dtype(), |a| a.adapter.p.dtype()))?;
        let base = match call.weights.bias() {
            Some(bias) => sum.sub(&bias.value(call.cx.grad)?.to_dtype(sum.dtype())?)?,
            None => sum.clone(),
        };
        for Active { adapter, .. } in active {
            let (q, right) = adapter.method.project(&call.value(&adapter.p)?)?;
            let mut inner = ops::linear(&base, &right.neg()?, None, WeightLayout::InOut)?;
            if let Some(r) = &adapter.r {
                let x = call.cx.dropout(x, adapter.dropout)?.to_dtype(q.dtype())?;
                let r = call.value(r)?.affine(adapter.scaling, 0.)?;
                inner = inner.add(&ops::linear(&x, &r, None, WeightLayout::OutIn)?)?;
            }
            sum = sum.add(&ops::linear(&inner, &q, None, WeightLayout::OutIn)?)?;
        }
        sum.to_dtype(y.dtype()).map(Some)
    }
}
