//! GLoRA: scales and shifts of weight and bias, each in one of several forms.
//!
//! Chavan et al. 2023 (arXiv 2306.07967); PEFT's `peft.tuners.glora`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::{Active, LayerAdapter};
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use candle_core::DType;
use swift_tuners_nn::linalg::hadamard_update;
use swift_tuners_nn::module::{Next, Part, Role, WeightKind};
use swift_tuners_nn::ops::{self, LoraTerm, WeightLayout};
use swift_tuners_nn::{Array, Param, Result, Tensor};

crate::config! {
    /// `GloraConfig`
    pub struct GloraConfig {
        standard: [peft, target_modules, bias, modules_to_save];
        /// Rank of what has the form 'lora'.
        r: usize = 8, in 1..;
        /// Form of the weight's scale A and shift B.
        config_a_b as "config_A_B": Form = Form::Lora;
        /// Form of C, which the weight maps to a shift of the bias.
        config_c as "config_C": FormC = FormC::Lora;
        /// Form of the bias's scale D and shift E.
        config_d_e as "config_D_E": FormDE = FormDE::Constant;
        /// False starts with random values, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

crate::words! {
    /// A matrix of rank r, a number per output, one number, or nothing.
    pub enum Form { Lora = "lora", Vector = "vector", Constant = "constant", None = "none" }
}

crate::words! {
    /// A product of rank r, a number per input, or nothing.
    pub enum FormC { Lora = "lora", Vector = "vector", None = "none" }
}

crate::words! {
    /// A number per output, one number, or nothing.
    pub enum FormDE { Vector = "vector", Constant = "constant", None = "none" }
}

/// `W' = W + W ∘ A + B`, `b' = b + b ∘ D + E + W C`
#[derive(Clone)]
pub struct Glora {
    a: Path,
    b: Path,
    c: Path,
    d: Path,
    e: Path,
}

#[derive(Clone)]
enum Path {
    /// `Xd Xu`
    Lora(Param, Param),
    /// A number per row, or one.
    Values(Param),
    /// Zeros, which Python keeps and saves.
    Empty(Param),
}

impl Path {
    fn lora(init: &mut Init, (rows, columns): (usize, usize), r: usize, zero: bool) -> Result<Self> {
        let up = init.kaiming(&[r, columns])?;
        Ok(Self::Lora(if zero { init.constant(&[rows, r], 0.)? } else { init.kaiming(&[rows, r])? }, up))
    }

    /// `shape` is that of Python's, `like` the one that its spread is taken from.
    fn vector(init: &mut Init, shape: &[usize], like: [usize; 2], zero: bool) -> Result<Self> {
        let draw = move |g: &mut swift_tuners_nn::init::torch::Generator| g.kaiming_uniform(&like, 5f64.sqrt());
        Ok(Self::Values(if zero { init.constant(shape, 0.)? } else { init.param(shape, draw)? }))
    }

    fn constant(init: &mut Init, zero: bool) -> Result<Self> {
        Ok(Self::Values(if zero { init.constant(&[1], 0.)? } else { init.normal(&[1], 0.02)? }))
    }

    fn empty(init: &Init, shape: &[usize]) -> Result<Self> {
        // One zero, seen from all places.
        let zero = Array::zeros(1, init.dtype, &init.device)?.broadcast_as(shape)?;
        Ok(Self::Empty(Param::new(zero, false)))
    }

    fn parts(&self, group: &'static str) -> Vec<Part<'_>> {
        match self {
            Self::Lora(down, up) => vec![Part::leaf(group, ".Xd", down), Part::leaf(group, ".Xu", up)],
            Self::Values(x) => vec![Part::leaf(group, ".X", x)],
            Self::Empty(zeros) => vec![Part::leaf(group, ".zeros", zeros).role(Role::Buffer { saved: true })],
        }
    }

    /// A column `[rows, 1]` or `[1, 1]`, of C all of it.
    fn column(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        match self {
            Self::Lora(down, up) => call.value(down)?.matmul(&call.value(up)?).map(Some),
            Self::Values(x) => {
                let x = call.value(x)?;
                x.reshape((x.data().elem_count(), 1)).map(Some)
            }
            Self::Empty(_) => Ok(None),
        }
    }
}

impl LayerKind for Glora {
    const NAME: &'static str = "GLORA";
    const CLASS: &'static str = "GloraConfig";
    const ABOUT: &'static str =
        "Scales and shifts of weight and bias, each in one of several forms. Chavan et al. 2023 (arXiv 2306.07967).";
    type Config = GloraConfig;
    type Adapter = Self;

    fn new(c: &GloraConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let (out, inp, zero) = (site.outputs, site.inputs, c.init_weights);
        let mut of_weight = || match c.config_a_b {
            Form::Lora => Path::lora(init, (out, inp), c.r, zero),
            Form::Vector => Path::vector(init, &[out, 1], [out, 1], zero),
            Form::Constant => Path::constant(init, zero),
            Form::None => Path::empty(init, &[out, inp]),
        };
        let (a, b) = (of_weight()?, of_weight()?);
        let through = match c.config_c {
            FormC::Lora if site.bias => Path::lora(init, (inp, 1), c.r, zero)?,
            FormC::Vector if site.bias => Path::vector(init, &[inp, 1], [inp, 1], zero)?,
            _ => Path::empty(init, &[inp, 1])?,
        };
        let mut of_bias = || match c.config_d_e {
            FormDE::Vector if site.bias => Path::vector(init, &[out], [1, out], zero),
            FormDE::Constant if site.bias => Path::constant(init, zero),
            _ => Path::empty(init, &[out]),
        };
        let (d, e) = (of_bias()?, of_bias()?);
        Ok(Self { a, b, c: through, d, e })
    }
}

impl Glora {
    /// `W (A + shift)`, formed, in the adapter's type.
    fn scaled(&self, call: &Call<'_>, w: Array, shift: f64) -> Result<Option<Tensor>> {
        Ok(match &self.a {
            Path::Lora(down, up) => {
                let (down, up) = (call.value(down)?, call.value(up)?);
                Some(hadamard_update(&w.to_dtype(down.dtype())?, &down, &up, shift)?)
            }
            other => match other.column(call)? {
                Some(a) => Some(Tensor::from(w.to_dtype(a.dtype())?).mul(&a.affine(1., shift)?)?),
                None => None,
            },
        })
    }

    /// `b ∘ D + E + W C` `[out]` of the layer's own weight and bias.
    fn shift(&self, call: &Call<'_>, w: &Array) -> Result<Option<Tensor>> {
        let Some(bias) = call.weights.bias() else { return Ok(None) };
        let flat = |x: Tensor| -> Result<Tensor> { x.reshape(x.data().elem_count()) };
        let mut sum: Option<Tensor> = None;
        let mut add = |x: Tensor| -> Result<()> {
            sum = Some(match sum.take() {
                Some(sum) => sum.add(&x)?,
                None => x,
            });
            Ok(())
        };
        if let Some(d) = self.d.column(call)? {
            let d = flat(d)?;
            add(bias.value(call.cx.grad)?.to_dtype(d.dtype())?.mul(&d)?)?;
        }
        if let Some(e) = self.e.column(call)? {
            add(flat(e)?.broadcast_to(&[call.site.outputs])?.contiguous()?)?;
        }
        if let Some(c) = self.c.column(call)? {
            let w = Tensor::from(w.to_dtype(c.dtype())?);
            add(flat(ops::linear(&c.transpose(0, 1)?.contiguous()?, &w, None, WeightLayout::OutIn)?)?)?;
        }
        Ok(sum)
    }

    /// `x Bᵀ` for `x [.., in]`: what has one number per output needs the sum of a row alone.
    fn shifted(&self, call: &Call<'_>, x: &Tensor) -> Result<Option<Tensor>> {
        Ok(match &self.b {
            Path::Lora(down, up) => {
                let term = LoraTerm::new(call.value(up)?, call.value(down)?, 1.);
                Some(ops::lora_linear(x, None, &[term])?)
            }
            Path::Values(b) => {
                let b = call.value(b)?;
                let b = b.reshape(b.data().elem_count())?.broadcast_to(&[call.site.outputs])?.contiguous()?;
                Some(x.sum(Some(&[-1]), true)?.mul(&b)?)
            }
            Path::Empty(_) => None,
        })
    }

    fn dtype(&self) -> DType {
        match &self.a {
            Path::Lora(x, _) | Path::Values(x) | Path::Empty(x) => x.dtype(),
        }
    }
}

impl LayerAdapter for Glora {
    const GROUPS: &'static [&'static str] = &["glora_A", "glora_B", "glora_C", "glora_D", "glora_E"];

    fn parts(&self) -> Vec<Part<'_>> {
        let paths = [&self.a, &self.b, &self.c, &self.d, &self.e];
        Self::GROUPS.iter().zip(paths).flat_map(|(group, path)| path.parts(group)).collect()
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let scaled = self.scaled(call, call.weights.matrix()?, 0.)?;
        let (out, inp) = (call.site.outputs, call.site.inputs);
        let shift = match self.b.column(call)? {
            Some(b) => Some(b.broadcast_to(&[out, inp])?.contiguous()?),
            None => None,
        };
        match (scaled, shift) {
            (Some(a), Some(b)) => a.add(&b).map(Some),
            (a, b) => Ok(a.or(b)),
        }
    }

    fn apply(&self, call: &Call<'_>, x: &Input, y: Tensor) -> Result<Tensor> {
        let (x, w) = (x.tensor()?.to_dtype(self.dtype())?, call.weights.matrix()?);
        let mut sum = y.to_dtype(self.dtype())?;
        if let Some(scaled) = self.scaled(call, w.clone(), 0.)? {
            sum = sum.add(&ops::linear(&x, &scaled, None, WeightLayout::OutIn)?)?;
        }
        for more in [self.shifted(call, &x)?, self.shift(call, &w)?].iter().flatten() {
            sum = sum.add(more)?;
        }
        sum.to_dtype(y.dtype())
    }

    /// One adapter on a plain layer: `x (W ∘ (1 + A))ᵀ + x Bᵀ + b'`, one product in place of two.
    fn fused(active: &[Active<'_, Self>], call: &Call<'_>, x: &Input, next: &Next<'_>) -> Result<Option<Tensor>> {
        let ([Active { adapter, .. }], true) = (active, next.bare(call.cx).is_some()) else { return Ok(None) };
        let (x, w) = (x.tensor()?, call.weights.matrix()?);
        let Some(scaled) = adapter.scaled(call, w.clone(), 1.)? else { return Ok(None) };
        let wide = x.to_dtype(scaled.dtype())?;
        let bias = call.weights.bias().map(|b| b.value(call.cx.grad)?.to_dtype(scaled.dtype())).transpose()?;
        let bias = match (bias, adapter.shift(call, &w)?) {
            (Some(bias), Some(shift)) => Some(bias.add(&shift)?),
            (bias, _) => bias,
        };
        let y = ops::linear(&wide, &scaled, bias.as_ref(), WeightLayout::OutIn)?;
        let y = match adapter.shifted(call, &wide)? {
            Some(more) => y.add(&more)?,
            None => y,
        };
        y.to_dtype(x.dtype()).map(Some)
    }

    fn merged_bias(
        &self,
        call: &Call<'_>,
        _: &dyn Fn() -> Result<Array>,
        bias: Option<&Array>,
    ) -> Result<Option<Array>> {
        let (Some(bias), Some(shift)) = (bias, self.shift(call, &call.weights.matrix()?)?) else { return Ok(None) };
        Ok(Some((bias + shift.into_data().to_dtype(bias.dtype())?)?))
    }
}
