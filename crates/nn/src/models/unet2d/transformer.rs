//! Transformers over the pixels of an image.

use super::attention::Attention;
use super::conv_shape::POINT;
use super::feed_forward::{FeedForward, Geglu};
use super::flags::Flags;
use crate::context::Context;
use crate::models::builder::{dropout, Builder};
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::tensor::Tensor;
use crate::{fields, Error, Result};

pub(super) fn attentions(
    b: &Builder,
    f: &Flags,
    crossed: bool,
    count: usize,
    width: usize,
    heads: usize,
    depth: usize,
) -> Result<Option<NodeList>> {
    if !crossed {
        return Ok(None);
    }
    let items = (0..count).map(|i| transformer(&b.at("attentions").at(i), f, width, heads, depth));
    Ok(Some(NodeList { items: items.collect::<Result<Vec<_>>>()? }))
}

pub(super) fn transformer(b: &Builder, f: &Flags, width: usize, heads: usize, depth: usize) -> Result<Node> {
    if !width.is_multiple_of(heads) {
        return Err(Error::config("config.json: attention_head_dim", format!("{heads} heads do not divide {width}")));
    }
    let attention = |a: Builder, source: usize| -> Result<Node> {
        let o = a.at("to_out");
        Ok(Node::new(Attention {
            to_q: a.at("to_q").linear(width, width, false)?,
            to_k: a.at("to_k").linear(source, width, false)?,
            to_v: a.at("to_v").linear(source, width, false)?,
            to_out: NodeList { items: vec![o.at(0).linear(width, width, true)?, dropout(f.dropout)] },
            head_dim: width / heads,
        }))
    };
    let items = (0..depth)
        .map(|i| {
            let t = b.at("transformer_blocks").at(i);
            let n = t.at("ff").at("net");
            let geglu = Geglu { proj: n.at(0).at("proj").linear(width, 8 * width, true)? };
            let net = vec![Node::new(geglu), dropout(f.dropout), n.at(2).linear(4 * width, width, true)?];
            Ok(Node::new(TransformerBlock {
                norm1: t.at("norm1").layer_norm(width, 1e-5)?,
                attn1: attention(t.at("attn1"), width)?,
                norm2: t.at("norm2").layer_norm(width, 1e-5)?,
                attn2: attention(t.at("attn2"), f.cross)?,
                norm3: t.at("norm3").layer_norm(width, 1e-5)?,
                ff: Node::new(FeedForward { net: NodeList { items: net } }),
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    let projection = |p: Builder| {
        if f.linear_projection {
            p.linear(width, width, true)
        } else {
            p.conv2d(width, width, 1, true, POINT)
        }
    };
    Ok(Node::new(Transformer2DModel {
        norm: b.at("norm").group_norm(f.groups, width, 1e-6)?,
        proj_in: projection(b.at("proj_in"))?,
        transformer_blocks: NodeList { items },
        proj_out: projection(b.at("proj_out"))?,
        linear: f.linear_projection,
    }))
}

#[derive(Clone)]
struct Transformer2DModel {
    norm: Node,
    proj_in: Node,
    transformer_blocks: NodeList,
    proj_out: Node,
    linear: bool,
}

impl Module for Transformer2DModel {
    fields!(norm, proj_in, transformer_blocks, proj_out);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let input = args.tensor(0, "hidden_states")?;
        let &[batch, width, rows, cols] = input.dims() else {
            return Err(Error::Argument(format!("unet: expected four dimensions, found {:?}", input.dims())));
        };
        let tokens = |x: &Tensor| x.reshape((batch, width, rows * cols))?.transpose(1, 2)?.contiguous();
        let image = |x: &Tensor| x.transpose(1, 2)?.contiguous()?.reshape((batch, width, rows, cols));
        let mut x = self.norm.apply(cx, input)?;
        x = if self.linear { self.proj_in.apply(cx, &tokens(&x)?)? } else { tokens(&self.proj_in.apply(cx, &x)?)? };
        for block in &self.transformer_blocks.items {
            let context = args.named("encoder_hidden_states").clone();
            x = block.call(cx, Args::one(x).with("encoder_hidden_states", context))?.into_tensor()?;
        }
        x = if self.linear { image(&self.proj_out.apply(cx, &x)?)? } else { self.proj_out.apply(cx, &image(&x)?)? };
        Ok(Value::Tuple(vec![x.add(input)?.into()]))
    }
}

#[derive(Clone)]
struct TransformerBlock {
    norm1: Node,
    attn1: Node,
    norm2: Node,
    attn2: Node,
    norm3: Node,
    ff: Node,
}

impl Module for TransformerBlock {
    fields!(norm1, attn1, norm2, attn2, norm3, ff);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let x = self.attn1.apply(cx, &self.norm1.apply(cx, x)?)?.add(x)?;
        let context = args.named("encoder_hidden_states").clone();
        let call = Args::one(self.norm2.apply(cx, &x)?).with("encoder_hidden_states", context);
        let x = self.attn2.call(cx, call)?.into_tensor()?.add(&x)?;
        Ok(self.ff.apply(cx, &self.norm3.apply(cx, &x)?)?.add(&x)?.into())
    }
}
