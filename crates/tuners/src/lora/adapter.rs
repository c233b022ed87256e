//! LoRA at one layer: a low-rank update, with DoRA's magnitudes or a bias where they are asked for.

use super::init;
use super::{LoraFields, Start};
use crate::layer::{add_wide, Active, LayerAdapter};
use crate::site::{Call, Input, Site};
use swift_tuners_nn::combine::Combining;
use swift_tuners_nn::module::{Next, Part, PartName, Rate, WeightKind, Weights};
use swift_tuners_nn::ops::{self, Conv2dShape, LoraTerm, WeightLayout};
use swift_tuners_nn::{Array, Context, Error, Param, Result, Tensor};

/// `ΔW = s B A`; with magnitudes m `W' = m / ‖W + s B A‖ (W + s B A)`, the norm of each output being a constant for the gradient
/// (section 4.3 of arXiv 2402.09353).
#[derive(Clone)]
pub struct Lora {
    /// `[r, in]`; embeddings `[r, vocabulary]`, convolutions `[r, in, height, width]`
    pub a: Param,
    /// `[out, r]`; convolutions `[out, r / groups, 1, 1]`
    pub b: Param,
    /// Bias of B (`lora_bias`), `[out]`.
    pub b_bias: Option<Param>,
    /// DoRA's magnitudes, `[out]`; convolutions `[1, out, 1, 1]`.
    pub magnitude: Option<Param>,
    pub scaling: f64,
    pub dropout: f64,
    embedding: bool,
}

impl Lora {
    /// The adapter of one layer; PiSSA and OLoRA replace the layer's weight by what is left of it.
    pub fn new(c: &LoraFields, site: &Site, init: &mut crate::init::Init) -> Result<Self> {
        let (r, scaling) = c.rank_and_scaling(&site.path)?;
        if c.lora_bias && !site.bias {
            return Err(Error::config("lora_bias", format!("{} has no bias to merge it into", site.path)));
        }
        if let Some(conv) = site.convolution() {
            if !matches!(c.init_lora_weights, Start::Default | Start::Random) {
                let why = format!("{} is a convolution: use true or false", site.path);
                return Err(Error::config("init_lora_weights", why));
            }
            if r % conv.groups != 0 {
                let why = format!("{r} is no multiple of the {} groups of {}", conv.groups, site.path);
                return Err(Error::config("r", why));
            }
            if c.use_dora && conv.groups > 1 {
                let why = format!("does not go with {}, a convolution in groups", site.path);
                return Err(Error::config("use_dora", why));
            }
        }
        let embedding = site.kind == WeightKind::Embedding;
        let (a, b, b_bias) = init::matrices(c, site, r, scaling, init)?;
        let mut lora = Self { a, b, b_bias, magnitude: None, scaling, dropout: c.lora_dropout.0, embedding };
        if c.use_dora {
            lora.magnitude = Some(lora.first_magnitude(site, init.dtype)?);
        }
        Ok(lora)
    }

    /// The norms that the layer has now, so that DoRA starts as the layer it tunes.
    fn first_magnitude(&self, site: &Site, dtype: candle_core::DType) -> Result<Param> {
        let shape = if site.convolution().is_some() { vec![1, site.outputs, 1, 1] } else { vec![site.outputs] };
        let (of, site_, lora) = (shape.clone(), site.clone(), self.clone());
        Ok(Param::pending(&shape, dtype, &site.device, true, move || {
            let norms = lora.norms(&site_.matrix()?)?;
            Ok(norms.reshape(of.as_slice())?)
        }))
    }

    /// A and B as matrices of this weight's type.
    fn factors(&self, w: &Array) -> Result<(Array, Array)> {
        let wide = |p: &Param| -> Result<Array> { Ok(p.array()?.to_dtype(w.dtype())?.flatten_from(1)?) };
        Ok((wide(&self.a)?, wide(&self.b)?))
    }

    /// Whether B has fewer inputs than A outputs: each group of outputs reads its own rows of A.
    fn groups(&self) -> usize {
        self.a.shape()[0] / self.b.shape()[1].max(1)
    }

    /// `w + s B A`. Fails on a convolution in groups, whose weight has no place for what A reads of other groups.
    fn updated(&self, w: &Array) -> Result<Array> {
        if self.groups() > 1 {
            return Err(Error::Invalid("LoRA on a convolution in groups cannot be merged".into()));
        }
        let (a, b) = self.factors(w)?;
        ops::add_product(w, &b, &a, self.scaling)
    }

    /// `‖w + s B A‖` per output, `[out]`.
    fn norms(&self, w: &Array) -> Result<Array> {
        let (a, b) = self.factors(w)?;
        ops::updated_row_norms(w, &a, &b, self.scaling)
    }

    /// `m / ‖W + s B A‖`, shaped as m.
    fn factor(&self, cx: &Context, magnitude: &Param, weights: &Weights<'_>) -> Result<Tensor> {
        let norms = self.norms(&weights.matrix()?)?;
        let m = magnitude.value(cx.grad)?;
        let norms: Tensor = norms.to_dtype(m.dtype())?.reshape(m.dims())?.into();
        m.div(&norms)
    }

    fn term(&self, cx: &Context) -> Result<LoraTerm> {
        Ok(LoraTerm::new(self.a.value(cx.grad)?, self.b.value(cx.grad)?, self.scaling))
    }

    fn drops(&self, cx: &Context) -> bool {
        cx.training && self.dropout > 0.
    }

    /// `B(A(x)) + b` without the scaling, for what dropout has left of x.
    fn low_rank(&self, call: &Call<'_>, x: &Input) -> Result<Tensor> {
        let cx = call.cx;
        match (x, call.site.convolution()) {
            (Input::Ids(ids), _) => {
                let rows = self.a.value(cx.grad)?.transpose(0, 1)?.contiguous()?;
                let inner = ops::embedding(&rows, &ids.data, &ids.shape)?;
                let y = ops::linear(&inner, &self.b.value(cx.grad)?, None, WeightLayout::OutIn)?;
                match call.weights {
                    // The layer multiplies its own rows, too (Gemma).
                    Weights::Embedding { scale, .. } if scale != 1. => y.affine(scale, 0.),
                    _ => Ok(y),
                }
            }
            (Input::Tensor(x), Some(shape)) => {
                let inner = ops::conv2d(x, &self.a.value(cx.grad)?, None, Conv2dShape { groups: 1, ..shape })?;
                let bias = self.b_bias.as_ref().map(|b| b.value(cx.grad)).transpose()?;
                let outer = Conv2dShape { groups: self.groups(), ..Conv2dShape::default() };
                ops::conv2d(&inner, &self.b.value(cx.grad)?, bias.as_ref(), outer)
            }
            (Input::Tensor(x), None) => {
                let term = LoraTerm { scaling: 1., ..self.term(cx)? };
                let y = ops::lora_linear(x, None, &[term])?;
                match &self.b_bias {
                    Some(b) => y.add(&b.value(cx.grad)?),
                    None => Ok(y),
                }
            }
        }
    }

    /// What the base layer gives without its bias: over the dropped input where something was dropped.
    fn without_bias(&self, call: &Call<'_>, dropped: &Input, y: &Tensor) -> Result<Tensor> {
        let cx = call.cx;
        match (dropped, call.site.convolution(), call.weights) {
            (Input::Tensor(x), None, Weights::Linear { weight, layout, .. }) if self.drops(cx) => {
                ops::linear(x, &weight.value(cx.grad)?.to_dtype(x.dtype())?, None, layout)
            }
            (Input::Tensor(x), Some(shape), weights) if self.drops(cx) => {
                ops::conv2d(x, &weights.weight().value(cx.grad)?.to_dtype(x.dtype())?, None, shape)
            }
            (_, _, weights) => match weights.bias() {
                Some(bias) => y.sub(&call.per_channel(&bias.value(cx.grad)?)?),
                None => Ok(y.clone()),
            },
        }
    }

    /// A single DoRA over a plain layer: `m / ‖W + s B A‖ · x (W + s B A)ᵀ + bias`, the product in one kernel.
    fn lone_dora(&self, call: &Call<'_>, x: &Tensor) -> Result<Option<Tensor>> {
        let cx = call.cx;
        let (Some(magnitude), Weights::Linear { weight, bias, layout }) = (&self.magnitude, call.weights) else {
            return Ok(None);
        };
        let same = [self.a.dtype(), weight.dtype(), magnitude.dtype()].iter().all(|d| *d == x.dtype());
        if self.drops(cx) || !same {
            return Ok(None);
        }
        let factor = self.factor(cx, magnitude, &call.weights)?;
        let y = ops::lora_linear(x, Some((&weight.weight(cx.grad)?, None, layout)), &[self.term(cx)?])?.mul(&factor)?;
        Ok(Some(match bias {
            Some(b) => y.add(&b.value(cx.grad)?)?,
            None => y,
        }))
    }
}

impl LayerAdapter for Lora {
    const GROUPS: &'static [&'static str] =
        &["lora_dropout", "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"];
    const FUSED_ROWS: bool = true;

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = if self.embedding {
            let part = |group, param| Part::trained(group, param).rate(Rate::Embedding);
            vec![part("lora_embedding_A", &self.a), part("lora_embedding_B", &self.b)]
        } else {
            vec![Part::leaf("lora_A", ".weight", &self.a), Part::leaf("lora_B", ".weight", &self.b).rate(Rate::Up)]
        };
        parts.extend(self.b_bias.iter().map(|b| Part::leaf("lora_B", ".bias", b).rate(Rate::Up)));
        parts.extend(self.magnitude.iter().map(|m| {
            let name = PartName::Grouped { group: "lora_magnitude_vector", leaf: ".weight".into(), saved: "".into() };
            Part::of(name, m)
        }));
        parts
    }

    fn apply(&self, call: &Call<'_>, x: &Input, y: Tensor) -> Result<Tensor> {
        let cx = call.cx;
        let dropped = match x {
            Input::Tensor(x) => Input::Tensor(cx.dropout(x, self.dropout)?.to_dtype(self.a.dtype())?),
            Input::Ids(ids) => Input::Ids(ids.clone()),
        };
        let delta = self.low_rank(call, &dropped)?.affine(self.scaling, 0.)?;
        let Some(magnitude) = &self.magnitude else { return add_wide(&y, &delta) };
        let factor = self.factor(cx, magnitude, &call.weights)?;
        let plain = self.without_bias(call, &dropped, &y)?.to_dtype(factor.dtype())?;
        add_wide(&y, &factor.affine(1., -1.)?.mul(&plain)?.add(&factor.mul(&delta)?)?)
    }

    fn merged_weight(&self, _: &Call<'_>, w: Array) -> Result<Array> {
        let sum = self.updated(&w)?;
        let Some(magnitude) = &self.magnitude else { return Ok(sum) };
        let norms = sum.sqr()?.sum(1)?.sqrt()?;
        let factor = (magnitude.array()?.flatten_all()?.to_dtype(sum.dtype())? / norms)?;
        Ok(sum.broadcast_mul(&factor.unsqueeze(1)?)?)
    }

    fn merged_bias(&self, _: &Call<'_>, _: &dyn Fn() -> Result<Array>, bias: Option<&Array>) -> Result<Option<Array>> {
        let (Some(own), Some(bias)) = (&self.b_bias, bias) else { return Ok(None) };
        Ok(Some((bias + (own.array()?.to_dtype(bias.dtype())? * self.scaling)?)?))
    }

    fn combined(of: &[(&Self, f64)], how: &mut Combining) -> Result<Option<Vec<Array>>> {
        super::combine::factors(of, how)
    }

    /// Plain adapters of a plain layer go through one kernel, each over its own rows where rows differ.
    fn fused(active: &[Active<'_, Self>], call: &Call<'_>, x: &Input, next: &Next<'_>) -> Result<Option<Tensor>> {
        let cx = call.cx;
        let (Input::Tensor(x), Weights::Linear { weight, bias, layout }, Some(_)) = (x, call.weights, next.bare(cx))
        else {
            return Ok(None);
        };
        let plain = |a: &Lora| a.magnitude.is_none() && a.b_bias.is_none() && !a.drops(cx) && a.a.dtype() == x.dtype();
        if !active.iter().all(|a| plain(a.adapter)) {
            return match active {
                [lone] if cx.rows.is_none() => lone.adapter.lone_dora(call, x),
                _ => Ok(None),
            };
        }
        let mut terms = active.iter().map(|a| a.adapter.term(cx)).collect::<Result<Vec<_>>>()?;
        let batch = x.dims().first().copied().unwrap_or(0);
        if let Some(runs) = cx.row_runs(batch)? {
            // A row of the batch is as many of the product's rows.
            let width = x.data().elem_count() / (batch * x.last_dim()).max(1);
            for (term, Active { id, .. }) in terms.iter_mut().zip(active) {
                let own = runs.iter().filter(|run| run.adapter == Some(*id));
                term.rows = Some(own.map(|run| run.rows.start * width..run.rows.end * width).collect());
            }
        }
        let (w, bias) = (weight.weight(cx.grad)?, bias.map(|b| b.value(cx.grad)).transpose()?);
        ops::lora_linear(x, Some((&w, bias.as_ref(), layout)), &terms).map(Some)
    }
}
