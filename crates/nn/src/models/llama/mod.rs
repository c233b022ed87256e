//! Llama and the decoders that differ from it by a flag: Mistral, Qwen2, Qwen3, Phi-3, Gemma 3, Qwen3-MoE.
//!
//! Touvron et al. 2023 (arXiv 2302.13971); numbers as `transformers.models.llama` and its relatives.

mod attention;
mod flags;
mod gemma;
mod layer;
pub(super) mod mlp;
mod windows;

pub use attention::ATTEND;

use super::attention_size::AttentionSize;
use super::builder::Builder;
use super::config::Config;
use super::experts;
use super::head::{decoder_output, hidden_output, keep_last};
use super::headed;
use super::keys::{Keys, TaskType};
use super::rope_config::RopeConfig;
use super::source::Init;
use super::stack::run_block;
use super::tokens::{embedded, packed, padding_mask, positions, token_shape};
use crate::context::Context;
use crate::module::{Args, Module, Node, NodeList, RopeValue, Value};
use crate::ops::{self, Mask, RopeTable};
use crate::param::Param;
use crate::{fields, layers, Error, Result};
use flags::Flags;
use gemma::gemma_ropes;
use layer::decoder_layer;
use std::sync::Arc;
pub(super) use windows::layer_kinds;
use windows::windows;

pub(super) fn build(c: &Config, b: &Builder, keys: &Keys) -> Result<Node> {
    let inside = if keys.body().is_empty() { b.at_self() } else { b.at(keys.body()) };
    let (model, embedding) = body(c, &inside, true)?;
    let model = Node::new(model);
    let hidden = c.size("hidden_size")?;
    match keys.task {
        TaskType::Encoder => return Ok(model),
        TaskType::CausalLm => {}
        _ => return Ok(Node::new(headed::build(c, b, keys, model, hidden)?)),
    }
    let tied = c.flag("tie_word_embeddings", keys.model_type == "gemma3_text")?;
    let lm_head = match embedding.filter(|_| tied) {
        Some(embedding) => {
            Node::new(layers::Linear { weight: embedding, bias: None, layout: ops::WeightLayout::OutIn })
        }
        None => b.at("lm_head").linear(hidden, c.size("vocab_size")?, false)?,
    };
    Ok(Node::new(LlamaForCausalLm { model, lm_head }))
}

/// What lies below the head, and its embeddings if it has any: without them it takes tokens that are embedded already.
pub(super) fn body(c: &Config, m: &Builder, embeds: bool) -> Result<(LlamaModel, Option<Param>)> {
    let kind = c.text("model_type")?.unwrap_or("llama");
    let AttentionSize { layers: layer_count, hidden, heads, kv_heads, head_dim } = size(c)?;
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
    let windows = windows(c, kind, layer_count)?;
    let ropes = if gemma { gemma_ropes(c, head_dim)? } else { vec![RopeConfig::new(c, head_dim, 10000.)?] };
    let moe = experts::MoeConfig::new(c, kind)?;
    let vocab = c.size("vocab_size")?;

    let embedding = match embeds {
        true => Some(m.at("embed_tokens").param("weight", &[vocab, hidden], Init::Normal(m.deviation))?),
        false => None,
    };
    let scale = if gemma { (hidden as f64).sqrt() } else { 1. };
    let layers = (0..layer_count)
        .map(|i| decoder_layer(&m.at("layers").at(i), &flags, i, windows[i], moe.as_ref().filter(|m| m.has_layer(i))))
        .collect::<Result<Vec<_>>>()?;
    let model = LlamaModel {
        embed_tokens: embedding.clone().map(|weight| Node::new(layers::Embedding { weight, scale })),
        layers: NodeList { items: layers },
        norm: flags.norm(&m.at("norm"), hidden)?,
        embed_dropout: flags.embd_dropout,
        ropes,
    };
    Ok((model, embedding))
}

/// The sizes of attention; fails where they do not fit each other.
pub(super) fn size(c: &Config) -> Result<AttentionSize> {
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
    Ok(AttentionSize { layers: c.size("num_hidden_layers")?, hidden, heads, kv_heads, head_dim })
}

#[derive(Clone)]
struct LlamaForCausalLm {
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

#[derive(Clone)]
pub(super) struct LlamaModel {
    embed_tokens: Option<Node>,
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
        let past = cx.past();
        let mut hidden = embedded(cx, args, self.embed_tokens.as_ref())?;
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
        let mask = Mask { causal: true, keys, starts: packed(cx, args, batch)?, ..Mask::default() };
        for layer in &self.layers.items {
            let call = Args::one(hidden).with("attention_mask", Value::Mask(mask.clone()));
            hidden = run_block(cx, layer, call.with("position_embeddings", tables.clone()))?;
        }
        Ok(hidden_output(self.norm.apply(cx, &hidden)?))
    }
}
