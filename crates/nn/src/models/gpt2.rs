//! GPT-2. Radford et al. 2019; numbers as `transformers.models.gpt2`.

use super::builder::{activation, dropout, Builder};
use super::config::Config;
use super::head::{decoder_output, hidden_output, keep_last};
use super::headed;
use super::keys::{Keys, TaskType};
use super::stack::run_block;
use super::tokens::{embedded, packed, padding_mask, positions, token_shape};
use crate::context::Context;
use crate::fields;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::{self, AttentionOptions, Mask};
use crate::param::Param;
use crate::{layers, Error, Result};

pub(super) fn build(c: &Config, b: &Builder, keys: &Keys) -> Result<Node> {
    let inside = if keys.body().is_empty() { b.at_self() } else { b.at(keys.body()) };
    let (transformer, embedding) = body(c, &inside)?;
    let transformer = Node::new(transformer);
    let (width, vocab) = (embedding.shape()[1], embedding.shape()[0]);
    match keys.task {
        TaskType::Encoder => return Ok(transformer),
        TaskType::CausalLm => {}
        _ => return Ok(Node::new(headed::build(c, b, keys, transformer, width)?)),
    }
    let lm_head = if c.flag("tie_word_embeddings", true)? {
        Node::new(layers::Linear { weight: embedding, bias: None, layout: ops::WeightLayout::OutIn })
    } else {
        b.at("lm_head").linear(width, vocab, false)?
    };
    Ok(Node::new(Gpt2LmHead { transformer, lm_head }))
}

/// The decoder without a head, and its embedding's weight.
pub(super) fn body(c: &Config, t: &Builder) -> Result<(Gpt2Model, Param)> {
    c.refuse("add_cross_attention", &[false.into()])?;
    let width = c.size("n_embd")?;
    let heads = c.size("n_head")?;
    if width % heads != 0 {
        return Err(Error::config("config.json: n_head", format!("{heads} heads do not divide n_embd {width}")));
    }
    let inner = c.size_or("n_inner", 4 * width)?;
    let eps = c.eps("layer_norm_epsilon", 1e-5)?;
    let act = c.activation("activation_function", "gelu_new")?;
    let (attn_pdrop, resid_pdrop) = (c.rate("attn_pdrop", 0.1)?, c.rate("resid_pdrop", 0.1)?);
    let scale_weights = c.flag("scale_attn_weights", true)?;
    let by_layer = c.flag("scale_attn_by_inverse_layer_idx", false)?;
    let vocab = c.size("vocab_size")?;
    let (wte, embedding) = t.at("wte").embedding(vocab, width)?;
    let max = c.size_or("n_positions", 1024)?;
    let (wpe, _) = t.at("wpe").embedding(max, width)?;
    let blocks = (0..c.size("n_layer")?)
        .map(|i| {
            let b = t.at("h").at(i);
            let mut scale = if scale_weights { 1. / ((width / heads) as f64).sqrt() } else { 1. };
            if by_layer {
                scale /= (i + 1) as f64;
            }
            let (a, m) = (b.at("attn"), b.at("mlp"));
            let attn = Attention {
                c_attn: a.at("c_attn").conv1d(width, 3 * width)?,
                c_proj: a.at("c_proj").conv1d(width, width)?,
                resid_dropout: dropout(resid_pdrop),
                head_dim: width / heads,
                scale,
                index: i,
                attn_pdrop,
            };
            let mlp = Mlp {
                c_fc: m.at("c_fc").conv1d(width, inner)?,
                c_proj: m.at("c_proj").conv1d(inner, width)?,
                act: activation(act),
                dropout: dropout(resid_pdrop),
            };
            Ok(Node::new(Block {
                ln_1: b.at("ln_1").layer_norm(width, eps)?,
                attn: Node::new(attn),
                ln_2: b.at("ln_2").layer_norm(width, eps)?,
                mlp: Node::new(mlp),
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    let transformer = Gpt2Model {
        wte,
        wpe,
        drop: dropout(c.rate("embd_pdrop", 0.1)?),
        h: NodeList { items: blocks },
        ln_f: t.at("ln_f").layer_norm(width, eps)?,
        max,
    };
    Ok((transformer, embedding))
}

#[derive(Clone)]
struct Gpt2LmHead {
    transformer: Node,
    lm_head: Node,
}

impl Module for Gpt2LmHead {
    fields!(transformer, lm_head);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let hidden = keep_last(self.transformer.call(cx, args.clone())?.into_tensor()?, args)?;
        decoder_output(cx, &self.lm_head, &hidden, args)
    }
}

#[derive(Clone)]
pub(super) struct Gpt2Model {
    wte: Node,
    wpe: Node,
    drop: Node,
    h: NodeList,
    ln_f: Node,
    max: usize,
}

impl Module for Gpt2Model {
    fields!(wte, wpe, drop, h, ln_f);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (batch, seq) = token_shape(args)?;
        let past = cx.past();
        let at = positions(args, batch, seq, past)?;
        // Padding on the left takes no positions.
        let length = at.data.iter().max().map_or(0, |&last| last + 1);
        if length > self.max as i64 {
            return Err(Error::Argument(format!("{length} positions are more than n_positions = {}", self.max)));
        }
        let look_up = |node: &Node, ids| -> Result<crate::Tensor> {
            node.call(cx, Args { positional: vec![Value::Ints(ids)], named: Vec::new() })?.into_tensor()
        };
        let tokens = embedded(cx, args, Some(&self.wte))?;
        let mut hidden = tokens.add(&look_up(&self.wpe, at)?)?;
        if let Some(types) = args.ints("token_type_ids") {
            hidden = hidden.add(&look_up(&self.wte, types.clone())?)?;
        }
        hidden = self.drop.apply(cx, &hidden)?;
        let keys = padding_mask(args, batch, past + seq, hidden.device())?;
        let mask = Mask { causal: true, keys, starts: packed(cx, args, batch)?, ..Mask::default() };
        for block in &self.h.items {
            // The second argument is the cache in Python; here it is in the context.
            let positional = vec![hidden.into(), Value::None, Value::Mask(mask.clone())];
            hidden = run_block(cx, block, Args { positional, named: Vec::new() })?;
        }
        Ok(hidden_output(self.ln_f.apply(cx, &hidden)?))
    }
}

#[derive(Clone)]
struct Block {
    ln_1: Node,
    attn: Node,
    ln_2: Node,
    mlp: Node,
}

impl Module for Block {
    fields!(ln_1, attn, ln_2, mlp);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let call = Args::one(self.ln_1.apply(cx, x)?).with("attention_mask", args.get(2, "attention_mask").clone());
        let x = x.add(&self.attn.call(cx, call)?.into_tensor()?)?;
        let y = self.mlp.apply(cx, &self.ln_2.apply(cx, &x)?)?;
        Ok(x.add(&y)?.into())
    }
}

#[derive(Clone)]
struct Attention {
    c_attn: Node,
    c_proj: Node,
    resid_dropout: Node,
    head_dim: usize,
    scale: f64,
    index: usize,
    attn_pdrop: f64,
}

impl Module for Attention {
    fields!(c_attn, c_proj, resid_dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let qkv = self.c_attn.apply(cx, args.tensor(0, "hidden_states")?)?; // [batch, seq, 3 * width]
        let width = qkv.last_dim() / 3;
        let part = |i: usize| qkv.narrow(-1, i * width, width)?.contiguous()?.split_last(self.head_dim);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let (k, v) = cx.with_past(self.index, k, v)?;
        let options = AttentionOptions {
            scale: self.scale,
            mask: args.mask(2, "attention_mask"),
            dropout: (cx.training && self.attn_pdrop > 0.).then(|| (self.attn_pdrop as f32, cx.next_seed())),
        };
        let y = self.c_proj.apply(cx, &ops::attention(&q, &k, &v, &options)?.merge_last()?)?;
        Ok(Value::Tuple(vec![self.resid_dropout.apply(cx, &y)?.into(), Value::None]))
    }

    fn set_layer_index(&mut self, index: usize) {
        self.index = index;
    }
}

#[derive(Clone)]
struct Mlp {
    c_fc: Node,
    c_proj: Node,
    act: Node,
    dropout: Node,
}

impl Module for Mlp {
    fields!(c_fc, c_proj, act, dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = self.act.apply(cx, &self.c_fc.apply(cx, args.tensor(0, "hidden_states")?)?)?;
        Ok(self.dropout.apply(cx, &self.c_proj.apply(cx, &x)?)?.into())
    }
}
