//! The LoRA family at one place: all adapters of a linear layer or an embedding.

use super::{init, Init, LoraConfig};
use crate::config::check_adapter_name;
use candle_core::DType;
use std::any::Any;
use swift_tuners_nn::module::{Args, Next, Node, Tuner, Value, Visitor, VisitorMut, Weights};
use swift_tuners_nn::ops::{self, compute_dtype, LoraTerm, WeightLayout};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Param, Result, Tensor};

/// One adapter's matrices at one place.
pub struct LoraAdapter {
    pub id: AdapterId,
    pub name: String,
    /// `[r, in]`; embeddings `[r, vocab]`
    pub a: Param,
    /// `[out, r]`
    pub b: Param,
    /// Bias of B (`lora_bias`), `[out]`.
    pub b_bias: Option<Param>,
    /// DoRA's magnitudes, `[out]`. Liu et al. 2024 (arXiv 2402.09353).
    pub magnitude: Option<Param>,
    pub scaling: f64,
    pub dropout: f64,
}

/// What merging replaced.
struct Merged {
    adapters: Vec<AdapterId>,
    weight: Array,
    bias: Option<Array>,
}

/// All LoRA adapters of one linear layer or embedding; their deltas add up over the frozen weight.
///
/// `y = base(x) + Σ s · B(A(dropout(x)))`. While adapters are merged the weight alone runs, as in PEFT.
pub struct LoraLayer {
    pub adapters: Vec<LoraAdapter>,
    embedding: bool,
    merged: Option<Merged>,
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
        if node.tuner::<Self>().is_some_and(|l| l.merged.is_some()) {
            return Err(Error::Invalid(format!("{path}: unmerge before another adapter is added")));
        }
        let Some(weights) = node.module().weights() else {
            return Err(Error::config("target_modules", format!("{path} is no linear layer or embedding")));
        };
        let (weight, embedding, transposed, base_bias) = match &weights {
            Weights::Linear { weight, bias, layout } => {
                ((*weight).clone(), false, *layout == WeightLayout::InOut, bias.is_some())
            }
            Weights::Embedding { weight } => ((*weight).clone(), true, false, false),
        };
        if config.lora_bias && (embedding || !base_bias) {
            return Err(Error::config("lora_bias", format!("{path} has no bias to merge it into")));
        }
        let stored = weight.array()?;
        let device = stored.device().clone();
        let dtype = dtype.unwrap_or(stored.dtype());
        let dense = oriented(&stored, embedding, transposed)?;
        let start = if embedding {
            // A zero, B normal; the delta is (B A)ᵀ.
            let (vocab, width) = stored.dims2()?;
            let mut rng = swift_tuners_nn::init::Rng::new(seed);
            let cpu = &candle_core::Device::Cpu;
            let random_a = config.init == Init::Random;
            init::Start {
                a: if random_a {
                    rng.normal_array(&[r, vocab], 1., DType::F32, cpu)?
                } else {
                    Array::zeros((r, vocab), DType::F32, cpu)?
                },
                b: rng.normal_array(&[width, r], 1., DType::F32, cpu)?,
                base: None,
            }
        } else {
            init::dense(config.init, &dense, r, scaling, seed)?
        };
        let param = |x: &Array| -> Result<Param> { Ok(Param::new(x.to_dtype(dtype)?.to_device(&device)?, true)) };
        if let Some(base) = &start.base {
            let base = if transposed { base.t()?.contiguous()? } else { base.clone() };
            weight.replace(base.to_dtype(stored.dtype())?.to_device(&device)?);
        }
        let (a, b) = (param(&start.a)?, param(&start.b)?);
        let magnitude = if config.dora {
            let dense = oriented(&weight.array()?, embedding, transposed)?;
            let delta = (start.b.matmul(&start.a)? * scaling)?;
            Some(param(&row_norms(&(dense + delta)?)?)?)
        } else {
            None
        };
        let b_bias = if config.lora_bias {
            Some(param(&Array::zeros(dense.dims()[0], DType::F32, &candle_core::Device::Cpu)?)?)
        } else {
            None
        };
        let adapter =
            LoraAdapter { id, name: name.to_owned(), a, b, b_bias, magnitude, scaling, dropout: config.dropout };
        match node.tuner_mut::<Self>() {
            Some(layer) => layer.adapters.push(adapter),
            None => node.tuners.push(Box::new(Self { adapters: vec![adapter], embedding, merged: None })),
        }
        Ok(transposed)
    }

    pub fn is_embedding(&self) -> bool {
        self.embedding
    }

    pub fn is_merged(&self, id: AdapterId) -> bool {
        self.merged.as_ref().is_some_and(|m| m.adapters.contains(&id))
    }

    pub fn has_merged(&self) -> bool {
        self.merged.is_some()
    }

    /// Removes an adapter; true when none is left and the layer can go.
    pub fn detach(&mut self, id: AdapterId) -> bool {
        self.adapters.retain(|a| a.id != id);
        self.adapters.is_empty()
    }

    pub fn adapter(&self, id: AdapterId) -> Option<&LoraAdapter> {
        self.adapters.iter().find(|a| a.id == id)
    }

    /// `s · B A` as the base weight lies, in f32 or wider.
    pub fn delta_weight(&self, id: AdapterId, transposed: bool) -> Result<Option<Array>> {
        let Some(adapter) = self.adapter(id) else {
            return Ok(None);
        };
        let delta = adapter.delta()?;
        Ok(Some(if transposed || self.embedding { delta.t()?.contiguous()? } else { delta }))
    }

    /// Adds the deltas of `ids` (those that are here and not merged yet) to the node's weight. The old weight is kept, so
    /// that unmerging restores it bit for bit.
    pub fn merge(node: &mut Node, ids: &[AdapterId]) -> Result<()> {
        let Some((weight, bias, transposed)) = dense_weights(node) else {
            return Ok(());
        };
        let Some(layer) = node.tuner_mut::<Self>() else {
            return Ok(());
        };
        let fresh: Vec<AdapterId> =
            ids.iter().copied().filter(|&id| layer.adapter(id).is_some() && !layer.is_merged(id)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let before = weight.array()?;
        let bias_before = bias.as_ref().map(Param::array).transpose()?;
        let mut sum = oriented(&before, layer.embedding, transposed)?;
        let mut bias_sum = bias_before.as_ref().map(|b| b.to_dtype(compute_dtype(b.dtype()))).transpose()?;
        for &id in &fresh {
            let adapter = layer.adapter(id).expect("filtered above");
            sum = (sum + adapter.delta()?)?;
            if let Some(magnitude) = &adapter.magnitude {
                let factor = (magnitude.array()?.to_dtype(sum.dtype())? / row_norms(&sum)?)?;
                sum = sum.broadcast_mul(&factor.unsqueeze(1)?)?;
            }
            if let (Some(b), Some(sum)) = (&adapter.b_bias, &mut bias_sum) {
                *sum = (&*sum + (b.array()?.to_dtype(sum.dtype())? * adapter.scaling)?)?;
            }
        }
        let merged = if transposed || layer.embedding { sum.t()?.contiguous()? } else { sum };
        let merged = merged.to_dtype(before.dtype())?;
        let bias_merged = match (&bias_before, bias_sum) {
            (Some(old), Some(new)) => Some(new.to_dtype(old.dtype())?),
            _ => None,
        };
        match &mut layer.merged {
            Some(m) => m.adapters.extend(&fresh),
            None => layer.merged = Some(Merged { adapters: fresh, weight: before, bias: bias_before }),
        }
        weight.replace(merged);
        if let (Some(bias), Some(value)) = (bias, bias_merged) {
            bias.replace(value);
        }
        Ok(())
    }

    /// Puts the weight from before the first merge back.
    pub fn unmerge(node: &mut Node) {
        let Some((weight, bias, _)) = dense_weights(node) else {
            return;
        };
        let Some(merged) = node.tuner_mut::<Self>().and_then(|l| l.merged.take()) else {
            return;
        };
        weight.replace(merged.weight);
        if let (Some(bias), Some(value)) = (bias, merged.bias) {
            bias.replace(value);
        }
    }

    /// Makes the merged state permanent for `ids` and removes these adapters; others stay as they were.
    pub fn unload(node: &mut Node, ids: &[AdapterId]) {
        let Some(layer) = node.tuner_mut::<Self>() else {
            return;
        };
        layer.merged = None;
        layer.adapters.retain(|a| !ids.contains(&a.id));
        if layer.adapters.is_empty() {
            node.tuners.retain(|t| !t.as_any().is::<Self>());
        }
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
            if let Some(Weights::Linear { weight, bias, layout }) = next.bare().and_then(|m| m.weights()) {
                let terms = self.active(cx).map(|a| a.term(cx)).collect::<Result<Vec<_>>>()?;
                let (w, bias) = (weight.value(cx.grad)?, bias.map(|b| b.value(cx.grad)).transpose()?);
                return Ok(ops::lora_linear(&x, Some((&w, bias.as_ref(), layout)), &terms)?.into());
            }
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
                    let factor = adapter.dora_factor(cx, magnitude, weight, *layout == WeightLayout::InOut, false)?;
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

    fn look_up(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let Value::Ints(ids) = args.get(0, "input").clone() else {
            return Err(Error::Argument("an embedding takes integer ids".into()));
        };
        let weight = match next.module().weights() {
            Some(Weights::Embedding { weight }) => weight.clone(),
            _ => return Err(Error::Argument("embedding LoRA sits on something else".into())),
        };
        let mut y = next.run(cx, args)?.into_tensor()?;
        let dtype = y.dtype();
        for adapter in self.active(cx) {
            let rows =
                ops::embedding(&adapter.a.value(cx.grad)?.transpose(0, 1)?.contiguous()?, &ids.data, &ids.shape)?;
            let delta = ops::linear(&rows, &adapter.b.value(cx.grad)?, None, WeightLayout::OutIn)?;
            let mut delta = delta.affine(adapter.scaling, 0.)?;
            let wide = wider(y.dtype(), delta.dtype());
            y = y.to_dtype(wide)?;
            if let Some(magnitude) = &adapter.magnitude {
                let factor = adapter.dora_factor(cx, magnitude, &weight, false, true)?;
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
        Ok(LoraTerm { a: self.a.value(cx.grad)?, b: self.b.value(cx.grad)?, scaling: self.scaling })
    }

    /// `s · B A` as `[out, in]`, in f32 or wider.
    pub fn delta(&self) -> Result<Array> {
        let wide = compute_dtype(self.a.dtype());
        let (a, b) = (self.a.array()?.to_dtype(wide)?, self.b.array()?.to_dtype(wide)?);
        Ok((b.matmul(&a)? * self.scaling)?)
    }

    /// `m / ‖W + s B A‖` per output. The norm is a constant for the gradient (section 4.3 of the paper).
    fn dora_factor(
        &self,
        cx: &Context,
        magnitude: &Param,
        weight: &Param,
        transposed: bool,
        embedding: bool,
    ) -> Result<Tensor> {
        let sum = (oriented(&weight.array()?, embedding, transposed)? + self.delta()?)?;
        let m = magnitude.value(cx.grad)?;
        let norms: Tensor = row_norms(&sum)?.to_dtype(m.dtype())?.into();
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

/// A base weight as `[out, in]` in f32 or wider; an embedding counts as `[width, vocab]`.
fn oriented(weight: &Array, embedding: bool, transposed: bool) -> Result<Array> {
    let wide = weight.to_dtype(compute_dtype(weight.dtype()))?;
    Ok(if embedding || transposed { wide.t()?.contiguous()? } else { wide })
}

fn row_norms(x: &Array) -> Result<Array> {
    Ok(x.sqr()?.sum(1)?.sqrt()?)
}

/// The node's weight and bias, and whether the weight lies `[in, out]`.
fn dense_weights(node: &Node) -> Option<(Param, Option<Param>, bool)> {
    match node.module().weights()? {
        Weights::Linear { weight, bias, layout } => {
            Some((weight.clone(), bias.cloned(), layout == WeightLayout::InOut))
        }
        Weights::Embedding { weight } => Some((weight.clone(), None, false)),
    }
}

impl Tuner for LoraLayer {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        if self.merged.is_some() || self.active(cx).next().is_none() {
            return next.run(cx, args);
        }
        if self.embedding {
            self.look_up(cx, args, next)
        } else {
            self.linear(cx, args, next)
        }
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        let (a, b) = if self.embedding { ("lora_embedding_A", "lora_embedding_B") } else { ("lora_A", "lora_B") };
        let leaf = if self.embedding { "" } else { ".weight" };
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

    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        for x in &mut self.adapters {
            for p in [Some(&mut x.a), Some(&mut x.b), x.b_bias.as_mut(), x.magnitude.as_mut()].into_iter().flatten() {
                v.param("", p);
            }
        }
    }

    fn base_name(&self) -> Option<&'static str> {
        Some("base_layer")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
