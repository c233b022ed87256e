//! Residual blocks.

use super::conv_shape::{POINT, SAME};
use super::flags::Flags;
use crate::context::Context;
use crate::models::builder::{activation, dropout, Builder};
use crate::module::{Args, Module, Node, Value};
use crate::tensor::Tensor;
use crate::{fields, Result};

pub(super) fn resnet(b: &Builder, f: &Flags, inp: usize, out: usize, scale: f64) -> Result<Node> {
    let shortcut = if inp == out { None } else { Some(b.at("conv_shortcut").conv2d(inp, out, 1, true, POINT)?) };
    Ok(Node::new(ResnetBlock2D {
        norm1: b.at("norm1").group_norm(f.groups, inp, f.eps)?,
        conv1: b.at("conv1").conv2d(inp, out, 3, true, SAME)?,
        time_emb_proj: b.at("time_emb_proj").linear(f.time, out, true)?,
        norm2: b.at("norm2").group_norm(f.groups, out, f.eps)?,
        dropout: dropout(f.dropout),
        conv2: b.at("conv2").conv2d(out, out, 3, true, SAME)?,
        nonlinearity: activation(f.act),
        conv_shortcut: shortcut,
        scale,
    }))
}

#[derive(Clone)]
struct ResnetBlock2D {
    norm1: Node,
    conv1: Node,
    time_emb_proj: Node,
    norm2: Node,
    dropout: Node,
    conv2: Node,
    nonlinearity: Node,
    conv_shortcut: Option<Node>,
    scale: f64,
}

impl Module for ResnetBlock2D {
    fields!(norm1, conv1, time_emb_proj, norm2, dropout, conv2, nonlinearity, conv_shortcut);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let input = args.tensor(0, "input_tensor")?;
        let act = |x: &Tensor| self.nonlinearity.apply(cx, x);
        let x = self.conv1.apply(cx, &act(&self.norm1.apply(cx, input)?)?)?;
        let time = self.time_emb_proj.apply(cx, &act(args.tensor(1, "temb")?)?)?; // [batch, channels]
        let x = x.add(&time.unsqueeze(-1)?.unsqueeze(-1)?)?;
        let x = self.dropout.apply(cx, &act(&self.norm2.apply(cx, &x)?)?)?;
        let x = self.conv2.apply(cx, &x)?;
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.apply(cx, input)?,
            None => input.clone(),
        };
        let sum = shortcut.add(&x)?;
        Ok(if self.scale == 1. { sum } else { sum.affine(1. / self.scale, 0.)? }.into())
    }
}
