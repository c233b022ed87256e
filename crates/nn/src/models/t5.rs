//! T5: encoder and decoder with relative position biases.
//!
//! Raffel et al. 2019 (arXiv 1910.10683); numbers as `transformers.models.t5`.

use super::config::Config;
use super::{activation, dropout, logits_output, padding_mask, Builder};
use crate::context::Context;
use crate::fields;
use crate::module::{Args, Ints, Module, Node, NodeList, Value};
use crate::ops::{self, AttentionOptions, Mask, WeightLayout};
use crate::tensor::{Array, Tensor};
use crate::{layers, Error, Result};

struct Flags {
    width: usize,
    inner: usize,
    heads: usize,
    head_dim: usize,
    eps: f64,
    act: ops::Activation,
    gated: bool,
    dropout: f64,
    buckets: usize,
    max_distance: usize,
}

pub(super) fn build(c: &Config, b: &Builder) -> Result<T5ForConditionalGeneration> {
    let projection = c.text("feed_forward_proj")?.unwrap_or("relu");
    let (gated, name) = match projection.strip_prefix("gated-") {
        Some(name) => (true, name),
        None => (false, projection),
    };
    let flags = Flags {
        width: c.size_or("d_model", 512)?,
        inner: c.size_or("d_ff", 2048)?,
        heads: c.size_or("num_heads", 8)?,
        head_dim: c.size_or("d_kv", 64)?,
        eps: c.eps("layer_norm_epsilon", 1e-6)?,
        act: ops::Activation::parse(
            if projection == "gated-gelu" { "gelu_new" } else { name },
            "config.json: feed_forward_proj",
        )?,
        gated,
        dropout: c.rate("dropout_rate", 0.1)?,
        buckets: c.size_or("relative_attention_num_buckets", 32)?,
        max_distance: c.size_or("relative_attention_max_distance", 128)?,
    };
    if !flags.buckets.is_multiple_of(4) || flags.max_distance <= flags.buckets / 2 {
        return Err(Error::config(
            "config.json: relative_attention_num_buckets",
            format!("{} buckets up to distance {}", flags.buckets, flags.max_distance),
        ));
    }
    let vocab = c.size("vocab_size")?;
    let (shared, embedding) = b.at("shared").embedding(vocab, flags.width)?;
    let look_up = || Node::new(layers::Embedding { weight: embedding.clone(), scale: 1. });
    let layers = c.size_or("num_layers", 6)?;
    let stack = |name: &str, count: usize, decoder: bool| -> Result<Node> {
        let s = b.at(name);
        let items =
            (0..count).map(|i| block(&s.at("block").at(i), &flags, i == 0, decoder)).collect::<Result<Vec<_>>>()?;
        Ok(Node::new(T5Stack {
            embed_tokens: look_up(),
            block: NodeList { items },
            final_layer_norm: s.at("final_layer_norm").rms_norm(flags.width, flags.eps)?,
            dropout: dropout(flags.dropout),
            decoder,
        }))
    };
    let tied = c.flag("tie_word_embeddings", true)?;
    let scaled = c.flag("scale_decoder_outputs", tied)?;
    let lm_head = if tied {
        Node::new(layers::Linear { weight: embedding.clone(), bias: None, layout: WeightLayout::OutIn })
    } else {
        b.at("lm_head").linear(flags.width, vocab, false)?
    };
    Ok(T5ForConditionalGeneration {
        shared,
        encoder: stack("encoder", layers, false)?,
        decoder: stack("decoder", c.size_or("num_decoder_layers", layers)?, true)?,
        lm_head,
        scale: if scaled { (flags.width as f64).powf(-0.5) } else { 1. },
    })
}

/// Decoder inputs from labels: one place to the right, behind the start token.
pub(super) fn shift_right(c: &Config, labels: &Ints) -> Result<Value> {
    let token = |name: &str| c.get(name).and_then(|v| v.as_i64());
    let Some(start) = token("decoder_start_token_id").or_else(|| token("pad_token_id")) else {
        return Err(Error::config("config.json: decoder_start_token_id", "missing, so labels give no decoder inputs"));
    };
    let pad = token("pad_token_id").unwrap_or(0);
    let width = labels.shape.last().copied().unwrap_or(1).max(1);
    let shifted = labels.data.chunks(width).flat_map(|row| {
        std::iter::once(start).chain(row[..row.len() - 1].iter().map(move |&t| if t == -100 { pad } else { t }))
    });
    Ok(Value::Ints(Ints::new(labels.shape.clone(), shifted.collect())?))
}

fn block(b: &Builder, f: &Flags, first: bool, decoder: bool) -> Result<Node> {
    let l = b.at("layer");
    let attention = |at: &Builder, biased: bool, decoder: bool| -> Result<Node> {
        let all = f.heads * f.head_dim;
        let bias = if biased { Some(at.at("relative_attention_bias").embedding(f.buckets, f.heads)?.0) } else { None };
        Ok(Node::new(T5Attention {
            q: at.at("q").linear(f.width, all, false)?,
            k: at.at("k").linear(f.width, all, false)?,
            v: at.at("v").linear(f.width, all, false)?,
            o: at.at("o").linear(all, f.width, false)?,
            relative_attention_bias: bias,
            head_dim: f.head_dim,
            buckets: f.buckets,
            max_distance: f.max_distance,
            bidirectional: !decoder,
            dropout: f.dropout,
        }))
    };
    let layer = |i: usize, inner: Inner| -> Result<Node> {
        let layer_norm = l.at(i).at("layer_norm").rms_norm(f.width, f.eps)?;
        Ok(Node::new(SubLayer { inner, layer_norm, dropout: dropout(f.dropout) }))
    };
    let mut items = vec![layer(0, Inner::SelfAttention(attention(&l.at(0).at("SelfAttention"), first, decoder)?))?];
    if decoder {
        items.push(layer(1, Inner::EncDecAttention(attention(&l.at(1).at("EncDecAttention"), false, true)?))?);
    }
    let i = items.len();
    let d = l.at(i).at("DenseReluDense");
    let feed_forward = FeedForward {
        wi: if f.gated { None } else { Some(d.at("wi").linear(f.width, f.inner, false)?) },
        wi_0: if f.gated { Some(d.at("wi_0").linear(f.width, f.inner, false)?) } else { None },
        wi_1: if f.gated { Some(d.at("wi_1").linear(f.width, f.inner, false)?) } else { None },
        wo: d.at("wo").linear(f.inner, f.width, false)?,
        dropout: dropout(f.dropout),
        act: activation(f.act),
    };
    items.push(layer(i, Inner::DenseReluDense(Node::new(feed_forward)))?);
    Ok(Node::new(T5Block { layer: NodeList { items } }))
}

#[derive(Clone)]
pub(super) struct T5ForConditionalGeneration {
    shared: Node,
    encoder: Node,
    decoder: Node,
    lm_head: Node,
    scale: f64,
}

impl Module for T5ForConditionalGeneration {
    fields!(shared, encoder, decoder, lm_head);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let Some(decoder_ids) = args.ints("decoder_input_ids") else {
            return Err(Error::Argument("this model needs decoderInputIds, or labels to make them from".into()));
        };
        let pass = |names: &[&'static str]| {
            let kept = args.named.iter().filter(|(n, _)| names.contains(n)).cloned().collect();
            Args { positional: Vec::new(), named: kept }
        };
        let encode = pass(&["input_ids", "attention_mask", "inputs_embeds"]);
        let encoded = self.encoder.call(cx, encode)?.into_tensor()?;
        let mut decode = Args::default()
            .with("input_ids", Value::Ints(decoder_ids.clone()))
            .with("encoder_hidden_states", encoded)
            .with("encoder_attention_mask", args.named("attention_mask").clone());
        if let Value::Ints(mask) = args.named("decoder_attention_mask") {
            decode = decode.with("attention_mask", Value::Ints(mask.clone()));
        }
        let hidden = self.decoder.call(cx, decode)?.into_tensor()?;
        let hidden = if self.scale == 1. { hidden } else { hidden.affine(self.scale, 0.)? };
        Ok(logits_output(self.lm_head.apply(cx, &hidden)?))
    }
}

#[derive(Clone)]
struct T5Stack {
    embed_tokens: Node,
    block: NodeList,
    final_layer_norm: Node,
    dropout: Node,
    decoder: bool,
}

impl Module for T5Stack {
    fields!(embed_tokens, block, final_layer_norm, dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (batch, seq) = super::token_shape(args)?;
        let embedded = match args.ints("input_ids") {
            Some(ids) => {
                let ids = Args { positional: vec![Value::Ints(ids.clone())], named: Vec::new() };
                self.embed_tokens.call(cx, ids)?.into_tensor()?
            }
            None => args.tensor(usize::MAX, "inputs_embeds")?.clone(),
        };
        let keys = padding_mask(args, batch, seq, embedded.device())?;
        let mask = Mask { causal: self.decoder, keys, ..Mask::default() };
        let encoded = args.named("encoder_hidden_states").clone();
        let cross = match (&encoded, args.named("encoder_attention_mask")) {
            (Value::Tensor(e), Value::Ints(m)) => {
                let given = Args::default().with("attention_mask", Value::Ints(m.clone()));
                Mask { keys: padding_mask(&given, batch, e.dim(1), embedded.device())?, ..Mask::default() }
            }
            _ => Mask::default(),
        };
        let mut hidden = self.dropout.apply(cx, &embedded)?;
        let mut bias = Value::None;
        for block in &self.block.items {
            let positional =
                vec![hidden.into(), Value::Mask(mask.clone()), bias, encoded.clone(), Value::Mask(cross.clone())];
            let Value::Tuple(mut out) = block.call(cx, Args { positional, named: Vec::new() })? else {
                return Err(Error::Argument("t5: a block gives its hidden state and position bias".into()));
            };
            bias = out.pop().unwrap_or(Value::None);
            hidden = out.swap_remove(0).into_tensor()?;
        }
        let hidden = self.final_layer_norm.apply(cx, &hidden)?;
        Ok(super::hidden_output(self.dropout.apply(cx, &hidden)?))
    }
}

#[derive(Clone)]
struct T5Block {
    layer: NodeList,
}

impl Module for T5Block {
    fields!(layer);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let mut hidden = args.get(0, "hidden_states").clone();
        let mut bias = Value::None;
        for (i, layer) in self.layer.items.iter().enumerate() {
            let last = i + 1 == self.layer.items.len();
            let call = match i {
                0 => Args { positional: vec![hidden], named: Vec::new() }
                    .with("attention_mask", args.get(1, "attention_mask").clone())
                    .with("position_bias", args.get(2, "position_bias").clone()),
                _ if last => Args { positional: vec![hidden], named: Vec::new() },
                _ => Args { positional: vec![hidden], named: Vec::new() }
                    .with("key_value_states", args.get(3, "encoder_hidden_states").clone())
                    .with("attention_mask", args.get(4, "encoder_attention_mask").clone()),
            };
            hidden = match layer.call(cx, call)? {
                Value::Tuple(mut out) => {
                    if i == 0 {
                        bias = out.remove(1);
                    }
                    out.swap_remove(0)
                }
                one => one,
            };
        }
        Ok(Value::Tuple(vec![hidden, bias]))
    }
}

/// What a sub-layer wraps with its norm and residual; the name is Python's.
#[derive(Clone)]
enum Inner {
    SelfAttention(Node),
    EncDecAttention(Node),
    DenseReluDense(Node),
}

#[derive(Clone)]
struct SubLayer {
    inner: Inner,
    layer_norm: Node,
    dropout: Node,
}

impl Inner {
    fn name(&self) -> &'static str {
        match self {
            Self::SelfAttention(_) => "SelfAttention",
            Self::EncDecAttention(_) => "EncDecAttention",
            Self::DenseReluDense(_) => "DenseReluDense",
        }
    }
    fn node(&self) -> &Node {
        match self {
            Self::SelfAttention(n) | Self::EncDecAttention(n) | Self::DenseReluDense(n) => n,
        }
    }
    fn node_mut(&mut self) -> &mut Node {
        match self {
            Self::SelfAttention(n) | Self::EncDecAttention(n) | Self::DenseReluDense(n) => n,
        }
    }
}

impl Module for SubLayer {
    fn visit<'a>(&'a self, v: &mut dyn crate::module::Visitor<'a>) {
        v.node(self.inner.name(), self.inner.node());
        v.node("layer_norm", &self.layer_norm);
        v.node("dropout", &self.dropout);
    }

    fn visit_mut(&mut self, v: &mut dyn crate::module::VisitorMut) {
        let name = self.inner.name();
        v.node(name, self.inner.node_mut());
        v.node("layer_norm", &mut self.layer_norm);
        v.node("dropout", &mut self.dropout);
    }

    fn boxed_clone(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let normed = self.layer_norm.apply(cx, x)?;
        let node = self.inner.node();
        if let Inner::DenseReluDense(_) = self.inner {
            let y = node.apply(cx, &normed)?;
            return Ok(x.add(&self.dropout.apply(cx, &y)?)?.into());
        }
        let mut call = Args::one(normed).with("mask", args.named("attention_mask").clone());
        for name in ["key_value_states", "position_bias"] {
            call = call.with(name, args.named(name).clone());
        }
        let Value::Tuple(mut out) = node.call(cx, call)? else {
            return Err(Error::Argument("t5: attention gives its output and position bias".into()));
        };
        let bias = out.remove(1);
        let y = x.add(&self.dropout.apply(cx, &out.swap_remove(0).into_tensor()?)?)?;
        Ok(Value::Tuple(vec![y.into(), bias]))
    }
}

#[derive(Clone)]
struct T5Attention {
    q: Node,
    k: Node,
    v: Node,
    o: Node,
    relative_attention_bias: Option<Node>,
    head_dim: usize,
    buckets: usize,
    max_distance: usize,
    bidirectional: bool,
    dropout: f64,
}

impl T5Attention {
    /// The bucket of a distance (key position − query position): exact for near ones, logarithmic further on.
    fn bucket(&self, distance: i64) -> i64 {
        let mut buckets = self.buckets as i64;
        let mut first = 0;
        let distance = if self.bidirectional {
            buckets /= 2;
            first = if distance > 0 { buckets } else { 0 };
            distance.abs()
        } else {
            (-distance).max(0)
        };
        let exact = buckets / 2;
        if distance < exact {
            return first + distance;
        }
        // In f32, as Python computes it: at the edges the rounding decides.
        let share = (distance as f32 / exact as f32).ln() / (self.max_distance as f64 / exact as f64).ln() as f32;
        first + (exact + (share * (buckets - exact) as f32) as i64).min(buckets - 1)
    }

    /// `[1, heads, queries, keys]`
    fn compute_bias(&self, cx: &Context, table: &Node, queries: usize, keys: usize) -> Result<Tensor> {
        let ids = (0..queries as i64).flat_map(|q| (0..keys as i64).map(move |k| self.bucket(k - q))).collect();
        let ids = Value::Ints(Ints::new(vec![queries, keys], ids)?);
        let values = table.call(cx, Args { positional: vec![ids], named: Vec::new() })?.into_tensor()?;
        values.permute(&[2, 0, 1])?.contiguous()?.unsqueeze(0)
    }
}

impl Module for T5Attention {
    fields!(q, k, v, o, relative_attention_bias);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let source = args.optional_tensor("key_value_states").unwrap_or(x);
        let heads = |node: &Node, of: &Tensor| node.apply(cx, of)?.split_last(self.head_dim);
        let (q, k, v) = (heads(&self.q, x)?, heads(&self.k, source)?, heads(&self.v, source)?);
        let bias = match (args.named("position_bias"), &self.relative_attention_bias) {
            (Value::Tensor(given), _) => Some(given.clone()),
            (_, Some(table)) => Some(self.compute_bias(cx, table, q.dim(1), k.dim(1))?),
            _ => None,
        };
        let mut mask = args.mask(usize::MAX, "mask");
        let rate = if cx.training { self.dropout } else { 0. };
        let y = match &bias {
            // The tiled kernel takes masks as constants; a bias in training needs its gradient.
            Some(bias) if bias.is_tracked() => {
                let (q, k, v) = (q.transpose(1, 2)?, k.transpose(1, 2)?, v.transpose(1, 2)?);
                let scores = q.contiguous()?.matmul(&k.transpose(2, 3)?.contiguous()?)?.add(bias)?;
                let hidden: Array = mask.to_dense(scores.dim(2), scores.dim(3), scores.device())?;
                let weights = scores.add(&hidden.to_dtype(scores.dtype())?.into())?.softmax(-1)?;
                let y = cx.dropout(&weights, rate)?.matmul(&v.contiguous()?)?;
                y.transpose(1, 2)?.contiguous()?
            }
            _ => {
                mask.dense = bias.as_ref().map(|b| b.data().clone());
                let dropout = (rate > 0.).then(|| (rate as f32, cx.next_seed()));
                ops::attention(&q, &k, &v, &AttentionOptions { scale: 1., mask, dropout })?
            }
        };
        let y = self.o.apply(cx, &y.merge_last()?)?;
        Ok(Value::Tuple(vec![y.into(), bias.map_or(Value::None, Value::Tensor)]))
    }
}

#[derive(Clone)]
struct FeedForward {
    wi: Option<Node>,
    wi_0: Option<Node>,
    wi_1: Option<Node>,
    wo: Node,
    dropout: Node,
    act: Node,
}

impl Module for FeedForward {
    fields!(wi, wi_0, wi_1, wo, dropout, act);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let inner = match (&self.wi, &self.wi_0, &self.wi_1) {
            (Some(wi), _, _) => self.act.apply(cx, &wi.apply(cx, x)?)?,
            (_, Some(gate), Some(up)) => self.act.apply(cx, &gate.apply(cx, x)?)?.mul(&up.apply(cx, x)?)?,
            _ => return Err(Error::Invalid("t5: a feed-forward layer without weights".into())),
        };
        Ok(self.wo.apply(cx, &self.dropout.apply(cx, &inner)?)?.into())
    }
}
