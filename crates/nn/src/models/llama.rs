//! Llama and the decoders that differ from it by a flag: Mistral, Qwen2, Qwen3, Phi-3, Gemma 3, Qwen3-MoE.
//!
//! Touvron et al. 2023 (arXiv 2302.13971); numbers as `transformers.models.llama` and its relatives.

use super::config::Config;
use super::rope_config::RopeConfig;
use super::{activation, decoder_output, dropout, experts, hidden_output, padding_mask, positions, run_block};
use super::{token_shape, Builder, Init};
use crate::context::Context;
use crate::fields;
use crate::module::{Args, Module, Node, NodeList, RopeValue, Value};
use crate::ops::{self, Activation, AttentionOptions, Mask, RopeTable};
use crate::{layers, Error, Result};
use std::sync::Arc;

struct Flags {
    hidden: usize,
    inner: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    eps: f64,
    act: Activation,
    qkv_bias: bool,
    o_bias: bool,
    mlp_bias: bool,
    qk_norm: bool,
    /// Phi-3 keeps q, k, v in one matrix, and gate and up in another.
    fused: bool,
    /// Gemma: norms on both sides of attention and MLP, gains as distances from one.
    gemma: bool,
    /// Multiplies attention scores.
    scale: f64,
    attention_dropout: f64,
    resid_dropout: f64,
    embd_dropout: f64,
}

pub(super) fn build(c: &Config, b: &Builder) -> Result<LlamaForCausalLm> {
    let kind = c.text("model_type")?.unwrap_or("llama");
    let hidden = c.size("hidden_size")?;
    let heads = c.size("num_attention_heads")?;
    let kv_heads = c.size_or("num_key_value_heads", if kind == "mistral" { 8 } else { heads })?;
    let head_dim = match (c.optional_size("head_dim")?, kind) {
        (Some(d), _) => d,
        (None, "qwen3") => 128,
        (None, "gemma3_text") => 256,
        (None, _) => hidden / heads,
    };
    if kind == "llama" && hidden % heads != 0 {
        return Err(Error::config(
            "config.json: hidden_size",
            format!("{heads} attention heads do not divide {hidden}"),
        ));
    }
    if heads % kv_heads != 0 || head_dim == 0 {
        return Err(Error::config(
            "config.json: num_attention_heads",
            format!("{heads} heads over {kv_heads} key/value heads and a hidden size of {hidden} do not fit"),
        ));
    }
    let biases = c.flag("attention_bias", false)?;
    let gemma = kind == "gemma3_text";
    if gemma {
        for name in ["attn_logit_softcapping", "final_logit_softcapping"] {
            c.refuse(name, &[])?;
        }
        c.refuse("use_bidirectional_attention", &[false.into()])?;
    }
    let flags = Flags {
        gemma,
        scale: if gemma { c.float_or("query_pre_attn_scalar", 256.)? } else { head_dim as f64 }.powf(-0.5),
        hidden,
        inner: c.size("intermediate_size")?,
        heads,
        kv_heads,
        head_dim,
        eps: c.eps("rms_norm_eps", if kind == "phi3" { 1e-5 } else { 1e-6 })?,
        act: if gemma {
            c.activation("hidden_activation", "gelu_pytorch_tanh")?
        } else {
            c.activation("hidden_act", "silu")?
        },
        qkv_bias: if kind == "qwen2" { true } else { biases },
        o_bias: matches!(kind, "llama" | "qwen3" | "qwen3_moe" | "gemma3_text") && biases,
        mlp_bias: kind == "llama" && c.flag("mlp_bias", false)?,
        qk_norm: matches!(kind, "qwen3" | "qwen3_moe" | "gemma3_text"),
        fused: kind == "phi3",
        attention_dropout: c.rate("attention_dropout", 0.)?,
        resid_dropout: if kind == "phi3" { c.rate("resid_pdrop", 0.)? } else { 0. },
        embd_dropout: if kind == "phi3" { c.rate("embd_pdrop", 0.)? } else { 0. },
    };
    if kind == "mistral" || kind == "phi3" {
        c.refuse("attention_bias", &[false.into()])?;
    }
    let layer_count = c.size("num_hidden_layers")?;
    let windows = windows(c, kind, layer_count)?;
    let ropes = if gemma { gemma_ropes(c, head_dim)? } else { vec![RopeConfig::new(c, head_dim, 10000.)?] };
    let moe = experts::MoeConfig::new(c, kind)?;
    let vocab = c.size("vocab_size")?;

    let m = b.at("model");
    let embedding = m.at("embed_tokens").param("weight", &[vocab, hidden], Init::Normal(b.deviation))?;
    let scale = if gemma { (hidden as f64).sqrt() } else { 1. };
    let layers = (0..layer_count)
        .map(|i| decoder_layer(&m.at("layers").at(i), &flags, i, windows[i], moe.as_ref().filter(|m| m.has_layer(i))))
        .collect::<Result<Vec<_>>>()?;
    let model = LlamaModel {
        embed_tokens: Node::new(layers::Embedding { weight: embedding.clone(), scale }),
        layers: NodeList { items: layers },
        norm: flags.norm(&m.at("norm"), hidden)?,
        embed_dropout: flags.embd_dropout,
        ropes,
    };
    let tied = c.flag("tie_word_embeddings", gemma)?;
    let lm_head = if tied {
        Node::new(layers::Linear { weight: embedding, bias: None, layout: ops::WeightLayout::OutIn })
    } else {
        b.at("lm_head").linear(hidden, vocab, false)?
    };
    Ok(LlamaForCausalLm { model: Node::new(model), lm_head })
}

impl Flags {
    fn norm(&self, b: &Builder, width: usize) -> Result<Node> {
        let (init, offset) = if self.gemma { (Init::Zeros, 1.) } else { (Init::Ones, 0.) };
        Ok(Node::new(layers::RmsNorm { weight: b.param("weight", &[width], init)?, eps: self.eps, offset }))
    }
}

/// Gemma's rotary frequencies for layers that see everything, and for those with a window.
fn gemma_ropes(c: &Config, head_dim: usize) -> Result<Vec<RopeConfig>> {
    let both = c.object("rope_parameters")?;
    let at = |name: &str| both.as_ref().map_or(Ok(None), |p| p.object(name));
    match (at("full_attention")?, at("sliding_attention")?) {
        (Some(full), Some(sliding)) => {
            Ok(vec![RopeConfig::of(c, Some(&full), head_dim, 1e6)?, RopeConfig::of(c, Some(&sliding), head_dim, 1e4)?])
        }
        _ => {
            // Before transformers 5; the scaling concerns the layers that see everything.
            let local = c.float_or("rope_local_base_freq", 1e4)?;
            Ok(vec![RopeConfig::new(c, head_dim, 1e6)?, RopeConfig::plain(local, head_dim)?])
        }
    }
}

/// The sliding window of each layer, where it has one.
fn windows(c: &Config, kind: &str, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = c.optional_size("sliding_window")?;
    if let Some(types) = c.get("layer_types").and_then(|t| t.as_array()) {
        if types.len() != layers {
            return Err(Error::config(
                "config.json: layer_types",
                format!("expected {layers} entries, found {}", types.len()),
            ));
        }
        return types
            .iter()
            .map(|t| match t.as_str() {
                Some("full_attention") => Ok(None),
                Some("sliding_attention") => match window {
                    Some(w) => Ok(Some(w)),
                    None => Err(Error::config("config.json: sliding_window", "missing, but layer_types asks for it")),
                },
                _ => Err(Error::UnsupportedModel(format!("config.json: layer_types has {t}"))),
            })
            .collect();
    }
    if kind == "gemma3_text" {
        let name = if c.get("sliding_window_pattern").is_some() {
            "sliding_window_pattern"
        } else {
            "_sliding_window_pattern"
        };
        let (every, window) = (c.size_or(name, 6)?, window.or(Some(4096)));
        return Ok((0..layers).map(|i| window.filter(|_| (i + 1) % every != 0)).collect());
    }
    let first = match kind {
        "mistral" | "phi3" => 0,
        "qwen2" | "qwen3" | "qwen3_moe" if c.flag("use_sliding_window", false)? => {
            c.size_or("max_window_layers", 28)?
        }
        _ => return Ok(vec![None; layers]),
    };
    Ok((0..layers).map(|i| window.filter(|_| i >= first)).collect())
}

fn decoder_layer(
    b: &Builder,
    f: &Flags,
    index: usize,
    window: Option<usize>,
    moe: Option<&experts::MoeConfig>,
) -> Result<Node> {
    let a = b.at("self_attn");
    let (q, kv) = (f.heads * f.head_dim, f.kv_heads * f.head_dim);
    let o_proj = a.at("o_proj").linear(q, f.hidden, f.o_bias)?;
    let shared = AttentionShape {
        heads: f.heads,
        kv_heads: f.kv_heads,
        head_dim: f.head_dim,
        index,
        window,
        dropout: f.attention_dropout,
        scale: f.scale,
        rope: usize::from(f.gemma && window.is_some()),
    };
    let m = b.at("mlp");
    let down = || m.at("down_proj").linear(f.inner, f.hidden, f.mlp_bias);
    let mlp = match (moe, f.fused) {
        (Some(moe), _) => experts::build(&m, moe, f.hidden, f.act)?,
        (None, true) => {
            let gate_up_proj = m.at("gate_up_proj").linear(f.hidden, 2 * f.inner, false)?;
            Node::new(FusedMlp { gate_up_proj, down_proj: down()?, activation_fn: activation(f.act), act: f.act })
        }
        (None, false) => Node::new(Mlp {
            gate_proj: m.at("gate_proj").linear(f.hidden, f.inner, f.mlp_bias)?,
            up_proj: m.at("up_proj").linear(f.hidden, f.inner, f.mlp_bias)?,
            down_proj: down()?,
            act_fn: activation(f.act),
            act: f.act,
        }),
    };
    let self_attn = if f.fused {
        let qkv_proj = a.at("qkv_proj").linear(f.hidden, q + 2 * kv, false)?;
        Node::new(FusedAttention { o_proj, qkv_proj, shape: shared })
    } else {
        let norm =
            |name: &str| -> Result<Option<Node>> { f.qk_norm.then(|| f.norm(&a.at(name), f.head_dim)).transpose() };
        Node::new(Attention {
            q_proj: a.at("q_proj").linear(f.hidden, q, f.qkv_bias)?,
            k_proj: a.at("k_proj").linear(f.hidden, kv, f.qkv_bias)?,
            v_proj: a.at("v_proj").linear(f.hidden, kv, f.qkv_bias)?,
            o_proj,
            q_norm: norm("q_norm")?,
            k_norm: norm("k_norm")?,
            shape: shared,
        })
    };
    let norm = |name: &str| f.norm(&b.at(name), f.hidden);
    if f.gemma {
        return Ok(Node::new(GemmaLayer {
            self_attn,
            mlp,
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            pre_feedforward_layernorm: norm("pre_feedforward_layernorm")?,
            post_feedforward_layernorm: norm("post_feedforward_layernorm")?,
        }));
    }
    Ok(Node::new(DecoderLayer {
        self_attn,
        mlp,
        input_layernorm: norm("input_layernorm")?,
        post_attention_layernorm: norm("post_attention_layernorm")?,
        resid_attn_dropout: f.fused.then(|| dropout(f.resid_dropout)),
        resid_mlp_dropout: f.fused.then(|| dropout(f.resid_dropout)),
    }))
}

#[derive(Clone)]
pub(super) struct LlamaForCausalLm {
    model: Node,
    lm_head: Node,
}

impl Module for LlamaForCausalLm {
    fields!(model, lm_head);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let hidden = self.model.call(cx, args.clone())?.into_tensor()?; // [batch, seq, hidden]
        let hidden = keep_last(hidden, args)?;
        decoder_output(cx, &self.lm_head, &hidden, args)
    }
}

/// The last position only, when generation asks for it.
pub(super) fn keep_last(hidden: crate::Tensor, args: &Args) -> Result<crate::Tensor> {
    if args.named.iter().any(|(n, _)| *n == "logits_to_keep") {
        let last = hidden.dim(1) - 1;
        return hidden.narrow(1, last, 1);
    }
    Ok(hidden)
}

#[derive(Clone)]
struct LlamaModel {
    embed_tokens: Node,
    layers: NodeList,
    norm: Node,
    embed_dropout: f64,
    /// One, or Gemma's two: for full attention and for windows.
    ropes: Vec<RopeConfig>,
}

impl Module for LlamaModel {
    fields!(embed_tokens, layers, norm);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (batch, seq) = token_shape(args)?;
        let past = cx.cache.as_ref().map_or(0, |c| c.len());
        let mut hidden = match args.ints("input_ids") {
            Some(ids) => {
                let ids = Args { positional: vec![Value::Ints(ids.clone())], named: Vec::new() };
                self.embed_tokens.call(cx, ids)?.into_tensor()?
            }
            None => args.tensor(usize::MAX, "inputs_embeds")?.clone(),
        };
        hidden = cx.dropout(&hidden, self.embed_dropout)?;
        let positions = positions(args, batch, seq, past)?;
        let length = positions.data.iter().copied().max().unwrap_or(0).max(0) as usize + 1;
        let mut tables = Vec::with_capacity(self.ropes.len());
        for rope in &self.ropes {
            let (frequencies, scale) = rope.frequencies(length.max(past + seq));
            let (rows, dtype) = (positions.shape[0], hidden.dtype());
            let table = RopeTable::new(&positions.data, rows, &frequencies, scale, dtype, hidden.device())?;
            tables.push(Value::Rope(RopeValue(Arc::new(table))));
        }
        let tables = if tables.len() == 1 { tables.remove(0) } else { Value::Tuple(tables) };
        let keys = padding_mask(args, batch, past + seq, hidden.device())?;
        let mask = Mask { causal: true, window: None, keys, dense: None };
        for layer in &self.layers.items {
            let call = Args::one(hidden).with("attention_mask", Value::Mask(mask.clone()));
            hidden = run_block(cx, layer, call.with("position_embeddings", tables.clone()))?;
        }
        Ok(hidden_output(self.norm.apply(cx, &hidden)?))
    }
}

#[derive(Clone)]
struct DecoderLayer {
    self_attn: Node,
    mlp: Node,
    input_layernorm: Node,
    post_attention_layernorm: Node,
    resid_attn_dropout: Option<Node>,
    resid_mlp_dropout: Option<Node>,
}

impl Module for DecoderLayer {
    fields!(self_attn, mlp, input_layernorm, post_attention_layernorm, resid_attn_dropout, resid_mlp_dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let mut attended = attend(cx, &self.self_attn, args, self.input_layernorm.apply(cx, x)?)?;
        if let Some(d) = &self.resid_attn_dropout {
            attended = d.apply(cx, &attended)?;
        }
        let x = x.add(&attended)?;
        let mut y = self.mlp.apply(cx, &self.post_attention_layernorm.apply(cx, &x)?)?;
        if let Some(d) = &self.resid_mlp_dropout {
            y = d.apply(cx, &y)?;
        }
        Ok(x.add(&y)?.into())
    }
}

/// Calls a layer's attention with what the layer was called with.
fn attend(cx: &Context, attention: &Node, args: &Args, normed: crate::Tensor) -> Result<crate::Tensor> {
    let call = Args { positional: Vec::new(), named: vec![("hidden_states", normed.into())] };
    let call = call
        .with("attention_mask", args.named("attention_mask").clone())
        .with("position_embeddings", args.named("position_embeddings").clone());
    attention.call(cx, call)?.into_tensor()
}

#[derive(Clone)]
struct GemmaLayer {
    self_attn: Node,
    mlp: Node,
    input_layernorm: Node,
    post_attention_layernorm: Node,
    pre_feedforward_layernorm: Node,
    post_feedforward_layernorm: Node,
}

impl Module for GemmaLayer {
    fields!(
        self_attn,
        mlp,
        input_layernorm,
        post_attention_layernorm,
        pre_feedforward_layernorm,
        post_feedforward_layernorm
    );

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let attended = attend(cx, &self.self_attn, args, self.input_layernorm.apply(cx, x)?)?;
        let x = x.add(&self.post_attention_layernorm.apply(cx, &attended)?)?;
        let y = self.mlp.apply(cx, &self.pre_feedforward_layernorm.apply(cx, &x)?)?;
        Ok(x.add(&self.post_feedforward_layernorm.apply(cx, &y)?)?.into())
    }
}

#[derive(Clone)]
struct AttentionShape {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    index: usize,
    window: Option<usize>,
    dropout: f64,
    scale: f64,
    /// Which of the model's rotary tables.
    rope: usize,
}

impl AttentionShape {
    /// Rotates, appends to the cache, attends; `q`, `k`, `v` are `[batch, seq, heads, head_dim]`.
    fn attend(
        &self,
        cx: &Context,
        args: &Args,
        q: crate::Tensor,
        k: crate::Tensor,
        v: crate::Tensor,
    ) -> Result<crate::Tensor> {
        let table = match args.named("position_embeddings") {
            Value::Tuple(tables) => tables.get(self.rope),
            one => Some(one),
        };
        let (q, k) = match table {
            Some(Value::Rope(table)) => (ops::rope(&q, &table.0)?, ops::rope(&k, &table.0)?),
            _ => (q, k),
        };
        if let Value::Number(ratio) = args.named(GROUP_SIZE_RATIO) {
            return self.attend_shifted(cx, args, &q, &k, &v, *ratio);
        }
        let (k, v) = match &cx.cache {
            Some(cache) => cache.append(self.index, &k, &v)?,
            None => (k, v),
        };
        let mask = args.mask(usize::MAX, "attention_mask");
        ops::attention(&q, &k, &v, &self.options(cx, mask))?.merge_last() // [batch, seq, heads * head_dim]
    }

    fn options(&self, cx: &Context, mut mask: Mask) -> AttentionOptions {
        mask.window = self.window;
        let dropout = (cx.training && self.dropout > 0.).then(|| (self.dropout as f32, cx.next_seed()));
        AttentionOptions { scale: self.scale, mask, dropout }
    }

    /// Causal attention inside groups of `ratio · seq` positions; the second half of the heads sees the groups shifted by
    /// half a group, the last of them wrapping around.
    ///
    /// Chen et al. 2023 (arXiv 2309.12307). Python shifts odd groups back by one place too few; here they return.
    fn attend_shifted(
        &self,
        cx: &Context,
        args: &Args,
        q: &crate::Tensor,
        k: &crate::Tensor,
        v: &crate::Tensor,
        ratio: f64,
    ) -> Result<crate::Tensor> {
        let (batch, seq) = (q.dim(0), q.dim(1));
        let group = (seq as f64 * ratio) as usize;
        if group == 0 || seq % group != 0 {
            return Err(Error::Argument(format!(
                "group_size_ratio: a sequence of {seq} cannot be split into groups of {group}; pad it to a multiple"
            )));
        }
        let mask = args.mask(usize::MAX, "attention_mask");
        let shift = group.div_ceil(2) as isize;
        let half = self.heads / 2;
        let (k, v) = (repeat_heads(k, self.heads)?, repeat_heads(v, self.heads)?);
        let part = |start: usize, count: usize, shift: isize| -> Result<crate::Tensor> {
            let grouped = |x: &crate::Tensor| {
                let x = x.narrow(2, start, count)?.roll(-shift, 1)?.contiguous()?;
                x.reshape((batch * seq / group, group, count, self.head_dim))
            };
            let keys = match &mask.keys {
                Some(keys) => {
                    let keys = crate::Tensor::from(keys.clone()).roll(-shift, 1)?.contiguous()?;
                    Some(keys.reshape((batch * seq / group, group))?.into_data())
                }
                None => None,
            };
            let options = self.options(cx, Mask { keys, ..mask.clone() });
            let y = ops::attention(&grouped(q)?, &grouped(&k)?, &grouped(&v)?, &options)?;
            y.reshape((batch, seq, count, self.head_dim))?.roll(shift, 1)
        };
        if half == 0 {
            return part(0, self.heads, 0)?.merge_last();
        }
        let (first, second) = (part(0, half, 0)?, part(half, self.heads - half, shift)?);
        crate::Tensor::cat(&[&first, &second], 2)?.merge_last() // [batch, seq, heads * head_dim]
    }
}

/// What LongLoRA adds to a call of attention: the share of the sequence that a group has.
pub const GROUP_SIZE_RATIO: &str = "group_size_ratio";

/// `[batch, seq, kv_heads, d]` → `[batch, seq, heads, d]`, each head in turn for the queries that share it.
fn repeat_heads(x: &crate::Tensor, heads: usize) -> Result<crate::Tensor> {
    let &[batch, seq, kv, d] = x.dims() else {
        return Err(Error::Argument(format!("attention: expected four dimensions, found {:?}", x.dims())));
    };
    if kv == heads {
        return Ok(x.clone());
    }
    x.unsqueeze(3)?.broadcast_to(&[batch, seq, kv, heads / kv, d])?.contiguous()?.reshape((batch, seq, heads, d))
}

#[derive(Clone)]
struct Attention {
    q_proj: Node,
    k_proj: Node,
    v_proj: Node,
    o_proj: Node,
    q_norm: Option<Node>,
    k_norm: Option<Node>,
    shape: AttentionShape,
}

impl Module for Attention {
    fields!(q_proj, k_proj, v_proj, o_proj, q_norm, k_norm);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let mut q = self.q_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        let mut k = self.k_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        let v = self.v_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        if let (Some(qn), Some(kn)) = (&self.q_norm, &self.k_norm) {
            q = qn.apply(cx, &q)?;
            k = kn.apply(cx, &k)?;
        }
        let y = self.o_proj.apply(cx, &self.shape.attend(cx, args, q, k, v)?)?;
        Ok(Value::Tuple(vec![y.into(), Value::None]))
    }

    fn set_layer_index(&mut self, index: usize) {
        self.shape.index = index;
    }
}

#[derive(Clone)]
struct FusedAttention {
    o_proj: Node,
    qkv_proj: Node,
    shape: AttentionShape,
}

impl Module for FusedAttention {
    fields!(o_proj, qkv_proj);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let s = &self.shape;
        let qkv = self.qkv_proj.apply(cx, args.tensor(0, "hidden_states")?)?;
        let (q, kv) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
        let part = |start, length| -> Result<crate::Tensor> {
            qkv.narrow(-1, start, length)?.contiguous()?.split_last(s.head_dim)
        };
        let attended = s.attend(cx, args, part(0, q)?, part(q, kv)?, part(q + kv, kv)?)?;
        Ok(Value::Tuple(vec![self.o_proj.apply(cx, &attended)?.into(), Value::None]))
    }

    fn set_layer_index(&mut self, index: usize) {
        self.shape.index = index;
    }
}

#[derive(Clone)]
struct Mlp {
    gate_proj: Node,
    up_proj: Node,
    down_proj: Node,
    act_fn: Node,
    act: Activation,
}

impl Module for Mlp {
    fields!(gate_proj, up_proj, down_proj, act_fn);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "x")?;
        let (gate, up) = (self.gate_proj.apply(cx, x)?, self.up_proj.apply(cx, x)?);
        let inner = gate_and_up(cx, &self.act_fn, self.act, &gate, &up)?;
        Ok(self.down_proj.apply(cx, &inner)?.into())
    }
}

#[derive(Clone)]
struct FusedMlp {
    gate_up_proj: Node,
    down_proj: Node,
    activation_fn: Node,
    act: Activation,
}

impl Module for FusedMlp {
    fields!(gate_up_proj, down_proj, activation_fn);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let both = self.gate_up_proj.apply(cx, args.tensor(0, "hidden_states")?)?;
        let inner = both.last_dim() / 2;
        let (gate, up) = (both.narrow(-1, 0, inner)?.contiguous()?, both.narrow(-1, inner, inner)?.contiguous()?);
        let inner = gate_and_up(cx, &self.activation_fn, self.act, &gate, &up)?;
        Ok(self.down_proj.apply(cx, &inner)?.into())
    }
}

/// The fused kernel, unless a tuner sits on the activation.
pub(super) fn gate_and_up(
    cx: &Context,
    node: &Node,
    act: Activation,
    gate: &crate::Tensor,
    up: &crate::Tensor,
) -> Result<crate::Tensor> {
    if node.tuners.is_empty() {
        ops::gated(act, gate, up)
    } else {
        node.apply(cx, gate)?.mul(up)
    }
}
