//! SWIFT's merged linear: LoRA on some of the equal blocks of output rows of one projection (a fused q, k, v).

use super::fields::SwiftLoraConfig;
use crate::bank::Bank;
use crate::config::{Dialect, TunerConfig};
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use candle_core::DType;
use swift_tuners_nn::module::{Part, PartName, Rate, WeightKind};
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Array, Error, Model, Param, Result, Tensor};

/// With g blocks enabled: `a [r g, in]`, `b [g · out / blocks, r]`; the k-th enabled block gets `s B_k A_k`.
#[derive(Clone)]
pub struct MergedLinear {
    a: Param,
    b: Param,
    enabled: Vec<bool>,
    r: usize,
    block: usize,
    scaling: f64,
    dropout: f64,
}

/// The kind of tuner that has them.
pub struct SwiftMergedLinear;

impl LayerKind for SwiftMergedLinear {
    const NAME: &'static str = "LORA";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "LoRAConfig";
    const ABOUT: &'static str = super::ABOUT;
    type Config = SwiftLoraConfig;
    type Adapter = MergedLinear;

    fn dtype(config: &SwiftLoraConfig, model: &Model) -> DType {
        config.lora.dtype(Dialect::Swift, model.dtype)
    }

    fn new(
        c: &SwiftLoraConfig,
        site: &Site,
        _: Option<&Bank>,
        init: &mut Init,
        _: &TunerConfig,
    ) -> Result<MergedLinear> {
        if site.kind != (WeightKind::Linear { transposed: false }) {
            return Err(Error::config("use_merged_linear", format!("{} is no torch.nn.Linear", site.path)));
        }
        let (r, scaling) = c.lora.rank_and_scaling(&site.path)?;
        let enabled = c.blocks().unwrap_or_default();
        let (out, inp) = (site.outputs, site.inputs);
        if enabled.is_empty() || out % enabled.len() != 0 {
            let why = format!("{}: {} blocks do not divide {out} outputs", site.path, enabled.len());
            return Err(Error::config("enable_lora", why));
        }
        let block = out / enabled.len();
        let groups = enabled.iter().filter(|&&e| e).count();
        let size = r * groups;
        // In Python it is a `nn.Linear`, which draws a weight when it is made and again when it is reset.
        init.discard_dense(inp, out, false)?;
        init.discard_dense(inp, out, false)?;
        let a = init.param(&[size, inp], move |g| g.kaiming_uniform(&[size, inp], 5f64.sqrt()))?;
        let b = init.constant(&[block * groups, r], 0.)?;
        Ok(MergedLinear { a, b, enabled, r, block, scaling, dropout: c.lora.lora_dropout.0 })
    }
}

impl MergedLinear {
    /// What `f` makes of each enabled block's A and B, and `off` of the others, one below the other.
    fn blocks<T>(
        &self,
        mut f: impl FnMut(usize, usize) -> Result<T>,
        mut off: impl FnMut() -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut k = 0;
        let mut one = |&on: &bool| {
            if !on {
                return off();
            }
            k += 1;
            f((k - 1) * self.r, (k - 1) * self.block)
        };
        self.enabled.iter().map(&mut one).collect()
    }
}

impl LayerAdapter for MergedLinear {
    const GROUPS: &'static [&'static str] = &["lora_A", "lora_B"];
    const BASE_NAME: Option<&'static str> = None;

    fn parts(&self) -> Vec<Part<'_>> {
        let part = |group, param| Part::of(PartName::Nameless { group }, param);
        vec![part("lora_A", &self.a), part("lora_B", &self.b).rate(Rate::Up)]
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b) = (call.value(&self.a)?, call.value(&self.b)?);
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(a.dtype())?;
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.block;
        }
        let parts: Vec<Tensor> = self.blocks(
            |at, rows| {
                let (a, b) = (a.narrow(0, at, self.r)?.contiguous()?, b.narrow(0, rows, self.block)?.contiguous()?);
                ops::lora_linear(&x, None, &[LoraTerm::new(a, b, self.scaling)])
            },
            || Ok(Array::zeros(shape.as_slice(), a.dtype(), a.device())?.into()),
        )?;
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), -1).map(Some)
    }

    fn merged_weight(&self, _: &Call<'_>, w: Array) -> Result<Array> {
        let (a, b) = (self.a.array()?.to_dtype(w.dtype())?, self.b.array()?.to_dtype(w.dtype())?);
        let parts: Vec<Array> = self.blocks(
            |at, rows| {
                let (a, b) = (a.narrow(0, at, self.r)?, b.narrow(0, rows, self.block)?);
                Ok((b.matmul(&a)? * self.scaling)?)
            },
            || Ok(Array::zeros((self.block, a.dims()[1]), w.dtype(), a.device())?),
        )?;
        Ok((w + Array::cat(&parts, 0)?)?)
    }
}
