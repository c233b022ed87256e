//! Llama and the decoders that differ from it by a flag: Mistral, Qwen2, Qwen3, Phi-3.
//!
//! Touvron et al. 2023 (arXiv 2302.13971); numbers as `transformers.models.llama` and its relatives.

use super::config::Config;
use super::rope_config::RopeConfig;
use super::{activation, dropout, padding_mask, positions, shifted_loss, token_shape, Builder};
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
    let flags = Flags {
        hidden,
        inner: c.size("intermediate_size")?,
        heads,
        kv_heads,
        head_dim,
        eps: c.eps("rms_norm_eps", if kind == "phi3" { 1e-5 } else { 1e-6 })?,
        act: c.activation("hidden_act", "silu")?,
        qkv_bias: if kind == "qwen2" { true } else { biases },
        o_bias: matches!(kind, "llama" | "qwen3") && biases,
        mlp_bias: kind == "llama" && c.flag("mlp_bias", false)?,
        qk_norm: kind == "qwen3",
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
    let rope = RopeConfig::new(c, head_dim, 10000.)?;
    let vocab = c.size("vocab_size")?;

    let m = b.at("model");
    let (embed_tokens, embedding) = m.at("embed_tokens").embedding(vocab, hidden)?;
    let layers = (0..layer_count)
        .map(|i| decoder_layer(&m.at("layers").at(i), &flags, i, windows[i]))
        .collect::<Result<Vec<_>>>()?;
    let model = LlamaModel {
        embed_tokens,
        layers: NodeList { items: layers },
        norm: m.at("norm").rms_norm(hidden, flags.eps)?,
        embed_dropout: flags.embd_dropout,
        rope,
    };
    let tied = c.flag("tie_word_embeddings", false)?;
    let lm_head = if tied {
        Node::new(layers::Linear { weight: embedding, bias: None, layout: ops::WeightLayout::OutIn })
    } else {
        b.at("lm_head").linear(hidden, vocab, false)?
    };
    Ok(LlamaForCausalLm { model: Node::new(model), lm_head })
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
    let first = match kind {
        "mistral" | "phi3" => 0,
        "qwen2" | "qwen3" if c.flag("use_sliding_window", false)? => c.size_or("max_window_layers", 28)?,
        _ => return Ok(vec![None; layers]),
    };
    Ok((0..layers).map(|i| window.filter(|_| i >= first)).collect())
}

fn decoder_layer(b: &Builder, f: &Flags, index: usize, window: Option<usize>) -> Result<Node> {
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
    };
    let m = b.at("mlp");
    let down_proj = m.at("down_proj").linear(f.inner, f.hidden, f.mlp_bias)?;
    let (self_attn, mlp) = if f.fused {
        let qkv_proj = a.at("qkv_proj").linear(f.hidden, q + 2 * kv, false)?;
        let gate_up_proj = m.at("gate_up_proj").linear(f.hidden, 2 * f.inner, false)?;
        (
            Node::new(FusedAttention { o_proj, qkv_proj, shape: shared }),
            Node::new(FusedMlp { gate_up_proj, down_proj, activation_fn: activation(f.act), act: f.act }),
        )
    } else {
        let norm = |name: &str| -> Result<Option<Node>> {
            f.qk_norm.then(|| a.at(name).rms_norm(f.head_dim, f.eps)).transpose()
        };
        let attention = Attention {
            q_proj: a.at("q_proj").linear(f.hidden, q, f.qkv_bias)?,
            k_proj: a.at("k_proj").linear(f.hidden, kv, f.qkv_bias)?,
            v_proj: a.at("v_proj").linear(f.hidden, kv, f.qkv_bias)?,
            o_proj,
            q_norm: norm("q_norm")?,
            k_norm: norm("k_norm")?,
            shape: shared,
        };
        let mlp = Mlp {
            gate_proj: m.at("gate_proj").linear(f.hidden, f.inner, f.mlp_bias)?,
            up_proj: m.at("up_proj").linear(f.hidden, f.inner, f.mlp_bias)?,
            down_proj,
            act_fn: activation(f.act),
            act: f.act,
        };
        (Node::new(attention), Node::new(mlp))
    };
    Ok(Node::new(DecoderLayer {
        self_attn,
        mlp,
        input_layernorm: b.at("input_layernorm").rms_norm(f.hidden, f.eps)?,
        post_attention_layernorm: b.at("post_attention_layernorm").rms_norm(f.hidden, f.eps)?,
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
        let logits = self.lm_head.apply(cx, &hidden)?; // [batch, seq, vocab]
        causal_output(logits, args)
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

pub(super) fn causal_output(logits: crate::Tensor, args: &Args) -> Result<Value> {
    let mut fields = Vec::new();
    if let Some(labels) = args.ints("labels") {
        fields.push(("loss", shifted_loss(&logits, labels)?.into()));
    }
    fields.push(("logits", logits.into()));
    Ok(Value::Map(fields))
}

#[derive(Clone)]
struct LlamaModel {
    embed_tokens: Node,
    layers: NodeList,
    norm: Node,
    embed_dropout: f64,
    rope: RopeConfig,
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
        let (frequencies, scale) = self.rope.frequencies(length.max(past + seq));
        let table =
            RopeTable::new(&positions.data, positions.shape[0], &frequencies, scale, hidden.dtype(), hidden.device())?;
        let table = RopeValue(Arc::new(table));
        let keys = padding_mask(args, batch, past + seq, hidden.device())?;
        let mask = Mask { causal: true, window: None, keys, dense: None };
        for layer in &self.layers.items {
            let call = Args::one(hidden).with("attention_mask", Value::Mask(mask.clone()));
            let call = call.with("position_embeddings", Value::Rope(table.clone()));
            hidden = layer.call(cx, call)?.into_tensor()?;
        }
        Ok(self.norm.apply(cx, &hidden)?.into())
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
        let normed = self.input_layernorm.apply(cx, x)?;
        let call = Args { positional: Vec::new(), named: vec![("hidden_states", normed.into())] };
        let call = call
            .with("attention_mask", args.named("attention_mask").clone())
            .with("position_embeddings", args.named("position_embeddings").clone());
        let mut attended = self.self_attn.call(cx, call)?.into_tensor()?;
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

#[derive(Clone)]
struct AttentionShape {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    index: usize,
    window: Option<usize>,
    dropout: f64,
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
        let (q, k) = match args.named("position_embeddings") {
            Value::Rope(table) => (ops::rope(&q, &table.0)?, ops::rope(&k, &table.0)?),
            _ => (q, k),
        };
        let (k, v) = match &cx.cache {
            Some(cache) => cache.append(self.index, &k, &v)?,
            None => (k, v),
        };
        let mut mask = args.mask("attention_mask");
        mask.window = self.window;
        let options = AttentionOptions {
            scale: 1. / (self.head_dim as f64).sqrt(),
            mask,
            dropout: (cx.training && self.dropout > 0.).then(|| (self.dropout as f32, cx.next_seed())),
        };
        ops::attention(&q, &k, &v, &options)?.merge_last() // [batch, seq, heads * head_dim]
    }
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
fn gate_and_up(
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
