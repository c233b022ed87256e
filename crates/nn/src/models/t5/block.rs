//! A block: attention, in the decoder attention to the encoder, and a feed-forward layer.

use super::attention::T5Attention;
use super::feed_forward::FeedForward;
use super::flags::Flags;
use super::sub_layer::{Inner, SubLayer};
use crate::context::Context;
use crate::models::builder::{activation, dropout, Builder};
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::{fields, Result};

pub(super) fn block(b: &Builder, f: &Flags, index: usize, decoder: bool) -> Result<Node> {
    let first = index == 0;
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
            index,
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
