//! The LoRA family at one place: all adapters of a linear layer or an embedding.

use super::{init, Init, LoraConfig};
use crate::config::check_adapter_name;
use candle_core::DType;
use swift_tuners_nn::combine::Combining;
use swift_tuners_nn::module::{
    Args, Next, Node, Part, PartName, Rate, Rows, Tuner, Value, Visitor, WeightKind, Weights,
};
use swift_tuners_nn::ops::{self, Conv2dShape, LoraTerm, WeightLayout};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Param, Result, Tensor};

/// One adapter's matrices at one place.
#[derive(Clone)]
pub struct LoraAdapter {
    pub id: AdapterId,
    pub name: String,
    /// `[r, in]`; embeddings `[r, vocab]`, convolutions `[r, in, height, width]`
    pub a: Param,
    /// `[out, r]`; convolutions `[out, r, 1, 1]`
    pub b: Param,
    /// Bias of B (`lora_bias`), `[out]`.
    pub b_bias: Option<Param>,
    /// DoRA's magnitudes, `[out]`; convolutions `[1, out, 1, 1]`. Liu et al. 2024 (arXiv 2402.09353).
    pub magnitude: Option<Param>,
    pub scaling: f64,
    pub dropout: f64,
}

/// All LoRA adapters of one linear layer or embedding; their deltas add up over the frozen weight.
///
/// `y = base(x) + Σ s · B(A(dropout(x)))`.
#[derive(Clone)]
pub struct LoraLayer {
    pub adapters: Vec<LoraAdapter>,
    /// Theirs, in the same order.
    ids: Vec<AdapterId>,
    kind: WeightKind,
}

impl LoraLayer {
    /// Adds an adapter to the node, wrapping it when it is the first. Returns whether the weight lies `[in, out]`.
    #[allow(clippy::too_many_arguments)]
    pub fn attach(
        node: &mut Node,
        path: &str,
        id: AdapterId,
        name: &str,
        config: &LoraConfig,
        r: usize,
        scaling: f64,
        dtype: Option<DType>,
        seed: u64,
    ) -> Result<bool> {
        check_adapter_name(name)?;
        if node.has_merged() {
            return Err(Error::Invalid(format!("{path}: unmerge before another adapter is added")));
        }
        let Some(weights) = node.module().weights() else {
            return Err(Error::config(
                "target_modules",
                format!("{path} is no linear layer, convolution or embedding"),
            ));
        };
        let kind = weights.kind();
        let (weight, base_bias) = (weights.weight().clone(), weights.bias().is_some());
        if config.lora_bias && !base_bias {
            return Err(Error::config("lora_bias", format!("{path} has no bias to merge it into")));
        }
        if let WeightKind::Conv2d(shape) = kind {
            if shape.groups != 1 {
                return Err(Error::config("target_modules", format!("{path} is a convolution in groups")));
            }
            if !matches!(config.init, Init::Default | Init::Random) {
                return Err(Error::config("init_lora_weights", format!("{path} is a convolution: use true or false")));
            }
        }
        let (shape, device) = (weight.shape(), weight.device());
        let dtype = dtype.unwrap_or(weight.dtype());
        let (out, inp) = kind.sizes(&shape);
        let factors = match (kind, shape.as_slice()) {
            (WeightKind::Conv2d(_), &[_, channels, height, width]) => {
                (vec![r, channels, height, width], vec![out, r, 1, 1])
            }
            _ => (vec![r, inp], vec![out, r]),
        };
        let fresh = init::Fresh { init: config.init, embedding: kind == WeightKind::Embedding, r, inp, out, seed };
        let (a, b, start) = if fresh.needs_weight() {
            let stored = weight.array()?;
            let start = init::dense(config.init, &kind.matrix(&stored)?, r, scaling, seed)?;
            if let Some(base) = &start.base {
                let base = kind.weight(base, stored.dims())?;
                weight.replace(base.to_dtype(stored.dtype())?.to_device(&device)?);
            }
            let param = |x: &Array, shape: &[usize]| -> Result<Param> {
                Ok(Param::new(x.to_dtype(dtype)?.to_device(&device)?.reshape(shape)?, true))
            };
            (param(&start.a, &factors.0)?, param(&start.b, &factors.1)?, Some(start))
        } else {
            let (shape_a, shape_b) = factors.clone();
            (
                Param::pending(&factors.0, dtype, &device, true, move || Ok(fresh.a()?.reshape(shape_a.as_slice())?)),
                Param::pending(&factors.1, dtype, &device, true, move || Ok(fresh.b()?.reshape(shape_b.as_slice())?)),
                None,
            )
        };
        let magnitude = config.dora.then(|| {
            let shape = if matches!(kind, WeightKind::Conv2d(_)) { vec![1, out, 1, 1] } else { vec![out] };
            let (weight, shape_m) = (weight.clone(), shape.clone());
            Param::pending(&shape, dtype, &device, true, move || {
                let w = kind.matrix(&weight.array()?)?;
                let (a, b) = match &start {
                    Some(start) => (start.a.clone(), start.b.clone()),
                    None => (fresh.a()?, fresh.b()?),
                };
                let like = |x: Array| x.to_device(w.device())?.to_dtype(w.dtype());
                Ok(ops::updated_row_norms(&w, &like(a)?, &like(b)?, scaling)?.reshape(shape_m.as_slice())?)
            })
        });
        let b_bias = if config.lora_bias { Some(Param::new(Array::zeros(out, dtype, &device)?, true)) } else { None };
        let adapter =
            LoraAdapter { id, name: name.to_owned(), a, b, b_bias, magnitude, scaling, dropout: config.dropout };
        match node.tuner_mut::<Self>() {
            Some(layer) => {
                layer.adapters.push(adapter);
                layer.ids.push(id);
            }
            None => node.tuners.push(Box::new(Self { adapters: vec![adapter], ids: vec![id], kind })),
        }
        Ok(kind == WeightKind::Linear { transposed: true })
    }

    pub fn is_embedding(&self) -> bool {
        self.kind == WeightKind::Embedding
    }

    pub fn adapter(&self, id: AdapterId) -> Option<&LoraAdapter> {
        self.ids.binary_search(&id).ok().map(|at| &self.adapters[at])
    }

    fn active<'a>(&'a self, cx: &'a Context) -> impl Iterator<Item = &'a LoraAdapter> {
        cx.active.iter().filter_map(|&id| self.adapter(id))
    }

    fn linear(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let x = args.tensor(0, "input")?.clone();
        let plain = |a: &LoraAdapter| {
            a.magnitude.is_none() && a.b_bias.is_none() && !(cx.training && a.dropout > 0.) && a.a.dtype() == x.dtype()
        };
        if self.active(cx).all(plain) {
            if let Some(Weights::Linear { weight, bias, layout }) = next.bare(cx).and_then(|m| m.weights()) {
                let mut terms = self.active(cx).map(|a| a.term(cx)).collect::<Result<Vec<_>>>()?;
                let batch = x.dims().first().copied().unwrap_or(0);
                if let Some(runs) = cx.row_runs(batch)? {
                    // A row of the batch is as many of the product's rows.
                    let width = x.data().elem_count() / (batch * x.last_dim()).max(1);
                    for (term, adapter) in terms.iter_mut().zip(self.active(cx)) {
                        let own = runs.iter().filter(|run| run.adapter == Some(adapter.id));
                        term.rows = Some(own.map(|run| run.rows.start * width..run.rows.end * width).collect());
                    }
                }
                let (w, bias) = (weight.weight(cx.grad)?, bias.map(|b| b.value(cx.grad)).transpose()?);
                return Ok(ops::lora_linear(&x, Some((&w, bias.as_ref(), layout)), &terms)?.into());
            }
        }
        if cx.rows.is_some() {
            return cx.by_rows(&args, |cx, args| self.around(cx, args, next));
        }
        if let Some(y) = self.lone_dora(cx, &x, next)? {
            return Ok(y.into());
        }
        let base = match next.module().weights() {
            Some(Weights::Linear { weight, bias, layout }) => Some((weight.clone(), bias.cloned(), layout)),
            _ => None,
        };
        let mut y = next.run(cx, args)?.into_tensor()?;
        let dtype = y.dtype();
        for adapter in self.active(cx) {
            let dropped = cx.dropout(&x, adapter.dropout)?.to_dtype(adapter.a.dtype())?;
            let term = LoraTerm { scaling: 1., ..adapter.term(cx)? };
            let lora = ops::lora_linear(&dropped, None, &[term])?;
            match (&adapter.magnitude, &base) {
                (Some(magnitude), Some((weight, bias, layout))) => {
                    let factor = adapter.dora_factor(cx, magnitude, weight, self.kind)?;
                    let plain = if cx.training && adapter.dropout > 0. {
                        // With dropout the base product is taken over the dropped input, too.
                        let w = weight.value(cx.grad)?.to_dtype(dropped.dtype())?;
                        ops::linear(&dropped, &w, None, *layout)?
                    } else {
                        match bias {
                            Some(b) => y.sub(&b.value(cx.grad)?)?,
                            None => y.clone(),
                        }
                        .to_dtype(factor.dtype())?
                    };
                    let delta =
                        factor.affine(1., -1.)?.mul(&plain)?.add(&factor.mul(&lora.affine(adapter.scaling, 0.)?)?)?;
                    y = y.to_dtype(delta.dtype())?.add(&delta)?;
                }
                _ => {
                    let mut delta = lora;
                    if let Some(b) = &adapter.b_bias {
                        delta = delta.add(&b.value(cx.grad)?)?;
                    }
                    let delta = delta.affine(adapter.scaling, 0.)?;
                    let wide = wider(y.dtype(), delta.dtype());
                    y = y.to_dtype(wide)?.add(&delta.to_dtype(wide)?)?;
                }
            }
        }
        Ok(y.to_dtype(dtype)?.into())
    }

    /// A single DoRA over a plain layer: `m / ‖W + s B A‖ · x (W + s B A)ᵀ + bias`, the product in one kernel.
    fn lone_dora(&self, cx: &Context, x: &Tensor, next: Next<'_>) -> Result<Option<Tensor>> {
        let mut active = self.active(cx);
        let (Some(adapter), None) = (active.next(), active.next()) else { return Ok(None) };
        let simple = !(cx.training && adapter.dropout > 0.) && adapter.a.dtype() == x.dtype();
        let (Some(magnitude), true) = (&adapter.magnitude, simple) else { return Ok(None) };
        let Some(Weights::Linear { weight, bias, layout }) = next.bare(cx).and_then(|m| m.weights()) else {
            return Ok(None);
        };
        if weight.dtype() != x.dtype() || magnitude.dtype() != x.dtype() {
            return Ok(None);
        }
        let factor = adapter.dora_factor(cx, magnitude, weight, self.kind)?;
        let y =
            ops::lora_linear(x, Some((&weight.weight(cx.grad)?, None, layout)), &[adapter.term(cx)?])?.mul(&factor)?;
        Ok(Some(match bias {
            Some(b) => y.add(&b.value(cx.grad)?)?,
            None => y,
        }))
    }

    fn convolve(&self, cx: &Context, args: Args, next: Next<'_>, shape: Conv2dShape) -> Result<Value> {
        let x = args.tensor(0, "input")?.clone();
        let base = match next.module().weights() {
            Some(Weights::Conv2d { weight, bias, .. }) => Some((weight.clone(), bias.cloned())),
            _ => None,
        };
        let mut y = next.run(cx, args)?.into_tensor()?;
        let dtype = y.dtype();
        for adapter in self.active(cx) {
            let (a, b) = (adapter.a.value(cx.grad)?, adapter.b.value(cx.grad)?);
            let dropped = cx.dropout(&x, adapter.dropout)?.to_dtype(a.dtype())?;
            let bias = adapter.b_bias.as_ref().map(|b| b.value(cx.grad)).transpose()?;
            let inner = ops::conv2d(&dropped, &a, None, shape)?;
            let lora = ops::conv2d(&inner, &b, bias.as_ref(), Conv2dShape::default())?.affine(adapter.scaling, 0.)?;
            let delta = match (&adapter.magnitude, &base) {
                (Some(magnitude), Some((weight, bias))) => {
                    let factor = adapter.dora_factor(cx, magnitude, weight, self.kind)?;
                    let plain = match (cx.training && adapter.dropout > 0., bias) {
                        // With dropout the base is convolved with the dropped input, too.
                        (true, _) => {
                            let w = weight.value(cx.grad)?.to_dtype(dropped.dtype())?;
                            ops::conv2d(&dropped, &w, None, shape)?
                        }
                        (false, Some(b)) => y.sub(&b.value(cx.grad)?.reshape((1, b.numel(), 1, 1))?)?,
                        (false, None) => y.clone(),
                    };
                    factor.affine(1., -1.)?.mul(&plain.to_dtype(factor.dtype())?)?.add(&factor.mul(&lora)?)?
                }
                _ => lora,
            };
            let wide = wider(y.dtype(), delta.dtype());
            y = y.to_dtype(wide)?.add(&delta.to_dtype(wide)?)?;
        }
        Ok(y.to_dtype(dtype)?.into())
    }

    fn look_up(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let Value::Ints(ids) = args.get(0, "input").clone() else {
            return Err(Error::Argument("an embedding takes integer ids".into()));
        };
        let (weight, embed_scale) = match next.module().weights() {
            Some(Weights::Embedding { weight, scale }) => (weight.clone(), scale),
            _ => return Err(Error::Argument("embedding LoRA sits on something else".into())),
        };
        let mut y = next.run(cx, args)?.into_tensor()?;
        let dtype = y.dtype();
        for adapter in self.active(cx) {
            let rows =
                ops::embedding(&adapter.a.value(cx.grad)?.transpose(0, 1)?.contiguous()?, &ids.data, &ids.shape)?;
            let delta = ops::linear(&rows, &adapter.b.value(cx.grad)?, None, WeightLayout::OutIn)?;
            let mut delta = delta.affine(adapter.scaling * embed_scale, 0.)?;
            let wide = wider(y.dtype(), delta.dtype());
            y = y.to_dtype(wide)?;
            if let Some(magnitude) = &adapter.magnitude {
                let factor = adapter.dora_factor(cx, magnitude, &weight, self.kind)?;
                y = y.mul(&factor)?;
                delta = delta.mul(&factor)?;
            }
            y = y.add(&delta.to_dtype(wide)?)?;
        }
        Ok(y.to_dtype(dtype)?.into())
    }
}

impl LoraAdapter {
    fn term(&self, cx: &Context) -> Result<LoraTerm> {
        Ok(LoraTerm::new(self.a.value(cx.grad)?, self.b.value(cx.grad)?, self.scaling))
    }

    /// `m / ‖W + s B A‖` per output. The norm is a constant for the gradient (section 4.3 of the paper).
    fn dora_factor(&self, cx: &Context, magnitude: &Param, weight: &Param, kind: WeightKind) -> Result<Tensor> {
        let w = kind.matrix(&weight.array()?)?;
        let (a, b) = (self.a.array()?.to_dtype(w.dtype())?, self.b.array()?.to_dtype(w.dtype())?);
        let norms = ops::updated_row_norms(&w, &a.flatten_from(1)?, &b.flatten_from(1)?, self.scaling)?;
        let m = magnitude.value(cx.grad)?;
        let norms: Tensor = norms.to_dtype(m.dtype())?.reshape(m.dims())?.into();
        m.div(&norms)
    }
}

fn wider(a: DType, b: DType) -> DType {
    if a == b {
        a
    } else if a == DType::F64 || b == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}

fn row_norms(x: &Array) -> Result<Array> {
    Ok(x.sqr()?.sum(1)?.sqrt()?)
}

impl Tuner for LoraLayer {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        match self.kind {
            WeightKind::Embedding => self.look_up(cx, args, next),
            WeightKind::Linear { .. } => self.linear(cx, args, next),
            WeightKind::Conv2d(shape) => self.convolve(cx, args, next, shape),
        }
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    fn rows(&self, _: &Context) -> Result<Rows> {
        Ok(if matches!(self.kind, WeightKind::Linear { .. }) { Rows::Together } else { Rows::Apart })
    }

    fn parts(&self, id: AdapterId) -> Vec<Part<'_>> {
        let Some(a) = self.adapter(id) else { return Vec::new() };
        let mut parts = if self.is_embedding() {
            let part = |group, param| Part::trained(group, param).rate(Rate::Embedding);
            vec![part("lora_embedding_A", &a.a), part("lora_embedding_B", &a.b)]
        } else {
            vec![Part::leaf("lora_A", ".weight", &a.a), Part::leaf("lora_B", ".weight", &a.b).rate(Rate::Up)]
        };
        parts.extend(a.b_bias.iter().map(|b| Part::leaf("lora_B", ".bias", b).rate(Rate::Up)));
        parts.extend(a.magnitude.iter().map(|m| {
            let name = PartName::Grouped { group: "lora_magnitude_vector", leaf: ".weight", saved: "" };
            Part { name, ..Part::trained("", m) }
        }));
        parts
    }

    fn merges(&self) -> bool {
        true
    }

    fn merged_weight(&self, id: AdapterId, _: &Weights<'_>, w: Array) -> Result<Array> {
        let Some(adapter) = self.adapter(id) else { return Ok(w) };
        let wide = |p: &Param| -> Result<Array> { Ok(p.array()?.to_dtype(w.dtype())?.flatten_from(1)?) };
        let sum = ops::add_product(&w, &wide(&adapter.b)?, &wide(&adapter.a)?, adapter.scaling)?;
        let Some(magnitude) = &adapter.magnitude else { return Ok(sum) };
        let factor = (magnitude.array()?.flatten_all()?.to_dtype(sum.dtype())? / row_norms(&sum)?)?;
        Ok(sum.broadcast_mul(&factor.unsqueeze(1)?)?)
    }

    fn merged_bias(
        &self,
        id: AdapterId,
        _: &Weights<'_>,
        _: &dyn Fn() -> Result<Array>,
        bias: Option<&Array>,
    ) -> Result<Option<Array>> {
        let (Some(adapter), Some(bias)) = (self.adapter(id), bias) else { return Ok(None) };
        let Some(own) = &adapter.b_bias else { return Ok(None) };
        Ok(Some((bias + (own.array()?.to_dtype(bias.dtype())? * adapter.scaling)?)?))
    }

    fn combined(&self, of: &[(AdapterId, f64)], how: &mut Combining) -> Result<Option<Vec<Array>>> {
        let here: Vec<_> = of.iter().filter_map(|&(id, w)| self.adapter(id).map(|a| (a, w))).collect();
        super::combine::factors(&here, how)
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        let (a, b) = if self.is_embedding() { ("lora_embedding_A", "lora_embedding_B") } else { ("lora_A", "lora_B") };
        let leaf = if self.is_embedding() { "" } else { ".weight" };
        v.scope("lora_dropout");
        v.scope(a);
        for x in &self.adapters {
            v.param(&format!("{a}.{}{leaf}", x.name), &x.a);
        }
        v.scope(b);
        for x in &self.adapters {
            v.param(&format!("{b}.{}{leaf}", x.name), &x.b);
            if let Some(bias) = &x.b_bias {
                v.param(&format!("{b}.{}.bias", x.name), bias);
            }
        }
        v.scope("lora_magnitude_vector");
        for x in &self.adapters {
            if let Some(m) = &x.magnitude {
                v.param(&format!("lora_magnitude_vector.{}.weight", x.name), m);
            }
        }
    }

    fn base_name(&self) -> Option<&'static str> {
        Some("base_layer")
    }

    fn detach(&mut self, id: AdapterId) -> bool {
        self.adapters.retain(|a| a.id != id);
        self.ids.retain(|&a| a != id);
        self.adapters.is_empty()
    }
}
