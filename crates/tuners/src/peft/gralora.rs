//! GraLoRA: low-rank updates of blocks of the weight.
//!
//! Jung et al. 2025 (arXiv 2505.20355); PEFT's `peft.tuners.gralora`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::linalg::grouped_product;
use swift_tuners_nn::module::Part;
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `GraloraConfig`
    pub struct GraloraConfig {
        standard: [
            peft, target_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Rank of a column of blocks; a block has a `graloraK`th of it.
        r: usize = 32, in 1..;
        /// Rank of an update of the whole weight beside the blocks'.
        hybrid_r: usize = 0;
        /// The update is scaled by `alpha / (r + hybridR)`.
        alpha: usize = 64;
        gralora_dropout: Probability = Probability(0.);
        /// Blocks on a side.
        gralora_k: usize = 2, in 1..;
        /// False starts with random matrices throughout, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// Of the blocks (q, n) of ΔWᵀ, n a column of inputs and q of outputs, each is `A[n][:, slice q] B[q][slice n, :]`.
#[derive(Clone)]
pub struct Gralora {
    /// `[k, in / k, r]`
    a: Param,
    /// `[k, r, out / k]`
    b: Param,
    /// `[hybrid_r, in]` and `[out, hybrid_r]`
    general: Option<(Param, Param)>,
    scaling: f64,
    dropout: f64,
}

impl LayerKind for Gralora {
    const NAME: &'static str = "GRALORA";
    const CLASS: &'static str = "GraloraConfig";
    const ABOUT: &'static str = "Low-rank updates of blocks of the weight. Jung et al. 2025 (arXiv 2505.20355).";
    type Config = GraloraConfig;
    type Adapter = Self;

    fn check(c: &GraloraConfig) -> Result<()> {
        if !c.r.is_multiple_of(c.gralora_k) {
            return Err(Error::config("r", format!("{} is no multiple of gralora_k ({})", c.r, c.gralora_k)));
        }
        Ok(())
    }

    fn new(c: &GraloraConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "torch.nn.Linear or Conv1D")?;
        let (k, r, inputs, outputs) = (c.gralora_k, c.r, site.inputs, site.outputs);
        if !inputs.is_multiple_of(k) || !outputs.is_multiple_of(k) {
            let why = format!("{k} does not divide {} [{outputs}, {inputs}]", site.path);
            return Err(Error::config("gralora_k", why));
        }
        // Drawn block by block, A and B in turn, each transposed.
        let random = !c.init_weights;
        let (ka, kb) = ([r, inputs / k], [outputs / k, r]);
        let draw = move |g: &mut Generator| -> Result<(Array, Option<Array>)> {
            let (mut a, mut b) = (Vec::with_capacity(k), Vec::with_capacity(k));
            for _ in 0..k {
                a.push(g.kaiming_uniform(&ka, 5f64.sqrt())?);
                if random {
                    b.push(g.kaiming_uniform(&kb, 5f64.sqrt())?);
                }
            }
            let stacked = |x: &[Array]| Ok::<_, Error>(Array::stack(x, 0)?.transpose(1, 2)?.contiguous()?);
            Ok((stacked(&a)?, if random { Some(stacked(&b)?) } else { None }))
        };
        let others: Arc<Mutex<Option<Array>>> = Arc::default();
        let kept = others.clone();
        let a = init.param(&[k, inputs / k, r], move |g| {
            let (a, b) = draw(g)?;
            *kept.lock() = b;
            Ok(a)
        })?;
        let shape_b = [k, r, outputs / k];
        let b = if random {
            init.param(&shape_b, move |g| match others.lock().take() {
                Some(b) => Ok(b),
                None => draw(g).map(|(a, b)| b.unwrap_or(a)),
            })?
        } else {
            init.constant(&shape_b, 0.)?
        };
        let general = if c.hybrid_r > 0 {
            let h = c.hybrid_r;
            // Two layers draw in their constructors, and are drawn anew.
            init.discard_dense(inputs, h, false)?;
            init.discard_dense(h, outputs, false)?;
            let a = init.kaiming(&[h, inputs])?;
            Some((a, if random { init.kaiming(&[outputs, h])? } else { init.constant(&[outputs, h], 0.)? }))
        } else {
            None
        };
        Ok(Self { a, b, general, scaling: c.alpha as f64 / (r + c.hybrid_r) as f64, dropout: c.gralora_dropout.0 })
    }
}

impl Gralora {
    /// What the blocks make of `x [.., in]`.
    fn blocks(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor> {
        let (a, b) = (call.value(&self.a)?, call.value(&self.b)?);
        let (k, r) = (a.dim(0), a.dim(2));
        let rows = x.data().elem_count() / x.last_dim().max(1);
        // What a column of inputs has for a row of outputs goes there.
        let h = grouped_product(x, &a)?.affine(self.scaling, 0.)?.reshape((rows, k, k, r / k))?;
        let h = h.transpose(1, 2)?.contiguous()?.reshape((rows, k * r))?;
        let mut shape = x.dims().to_vec();
        shape.pop();
        shape.push(call.site.outputs);
        grouped_product(&h, &b)?.reshape(shape)
    }

    /// What the update of the whole weight makes of `x [.., in]`.
    fn whole(&self, call: &Call<'_>, x: &Tensor) -> Result<Option<Tensor>> {
        let Some((a, b)) = &self.general else { return Ok(None) };
        ops::lora_linear(x, None, &[LoraTerm::new(call.value(a)?, call.value(b)?, self.scaling)]).map(Some)
    }
}

impl LayerAdapter for Gralora {
    const GROUPS: &'static [&'static str] =
        &["gralora_dropout", "gralora_A", "gralora_B", "gralora_A_general", "gralora_B_general"];

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::trained("gralora_A", &self.a), Part::trained("gralora_B", &self.b)];
        if let Some((a, b)) = &self.general {
            parts
                .extend([Part::leaf("gralora_A_general", ".weight", a), Part::leaf("gralora_B_general", ".weight", b)]);
        }
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let unit = Array::eye(call.site.inputs, call.value(&self.a)?.dtype(), &call.site.device)?.into();
        let blocks = self.blocks(call, &unit)?;
        let sum = self.whole(call, &unit)?.map_or_else(|| Ok(blocks.clone()), |whole| blocks.add(&whole))?;
        sum.transpose(0, 1)?.contiguous().map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        // Each of both drops inputs of its own.
        let dropped = || call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(self.a.dtype());
        let blocks = self.blocks(call, &dropped()?)?;
        match self.whole(call, &dropped()?)? {
            Some(whole) => blocks.add(&whole).map(Some),
            None => Ok(Some(blocks)),
        }
    }
}
