//! T5: encoder and decoder with relative position biases.
//!
//! Raffel et al. 2019 (arXiv 1910.10683); numbers as `transformers.models.t5`.

mod attention;
mod block;
mod feed_forward;
mod flags;
mod stack;
mod sub_layer;

use super::builder::{dropout, Builder};
use super::config::Config;
use super::head::{keep_last, logits_output};
use super::tokens::{DECODER_PROMPT, PROMPT};
use crate::context::Context;
use crate::module::{Args, Ints, Module, Node, NodeList, Value};
use crate::ops::{self, WeightLayout};
use crate::{fields, layers, Error, Result};
use block::block;
use flags::Flags;
use stack::T5Stack;

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
        let items = (0..count).map(|i| block(&s.at("block").at(i), &flags, i, decoder)).collect::<Result<Vec<_>>>()?;
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

/// What decoding begins with.
pub(super) fn start_token(c: &Config) -> Result<i64> {
    let token = |name: &str| c.get(name).and_then(|v| v.as_i64());
    let start = token("decoder_start_token_id").or_else(|| token("pad_token_id"));
    start.ok_or_else(|| Error::config("config.json: decoder_start_token_id", "missing, so there are no decoder inputs"))
}

/// Decoder inputs from labels: one place to the right, behind the start token.
pub(super) fn shift_right(c: &Config, labels: &Ints) -> Result<Value> {
    let start = start_token(c)?;
    let pad = c.get("pad_token_id").and_then(|v| v.as_i64()).unwrap_or(0);
    let width = labels.shape.last().copied().unwrap_or(1).max(1);
    let shifted = labels.data.chunks(width).flat_map(|row| {
        std::iter::once(start).chain(row[..row.len() - 1].iter().map(move |&t| if t == -100 { pad } else { t }))
    });
    Ok(Value::Ints(Ints::new(labels.shape.clone(), shifted.collect())?))
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
        // What stands before the sequence stands before the decoder's, and its cache is not the encoder's.
        let alone = Context { prefix: None, cache: None, ..cx.clone() };
        let encode = || {
            let call = pass(&["input_ids", "attention_mask", "inputs_embeds", PROMPT]);
            self.encoder.call(&alone, call)?.into_tensor()
        };
        let encoded = match &cx.cache {
            Some(cache) => cache.encoded(encode)?,
            None => encode()?,
        };
        let mut decode = Args::default()
            .with("input_ids", Value::Ints(decoder_ids.clone()))
            .with("encoder_hidden_states", encoded)
            .with("encoder_attention_mask", args.named("attention_mask").clone());
        if let Value::Ints(mask) = args.named("decoder_attention_mask") {
            decode = decode.with("attention_mask", Value::Ints(mask.clone()));
        }
        if let Some(prompt) = args.optional_tensor(DECODER_PROMPT) {
            decode = decode.with(PROMPT, prompt.clone());
        }
        let hidden = self.decoder.call(cx, decode)?.into_tensor()?;
        let hidden = if self.scale == 1. { hidden } else { hidden.affine(self.scale, 0.)? };
        let hidden = keep_last(hidden, args)?;
        Ok(logits_output(self.lm_head.apply(cx, &hidden)?))
    }
}
