//! The UNet of Stable Diffusion: `diffusers.UNet2DConditionModel` with its default kinds of blocks.
//!
//! Rombach et al. 2021 (arXiv 2112.10752).

mod attention;
mod blocks;
mod conv_shape;
mod feed_forward;
mod flags;
mod resnet;
mod sampling;
mod time_embedding;
mod transformer;

use super::builder::{activation, Builder};
use super::config::Config;
use crate::context::Context;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::Conv2dShape;
use crate::tensor::{Array, Tensor};
use crate::{fields, Error, Result};
use blocks::{DownBlock, MidBlock, UpBlock};
use conv_shape::SAME;
use flags::{kinds, per_level, refuse_unsupported, Flags};
use resnet::resnet;
use sampling::{Downsample2D, Upsample2D};
use time_embedding::TimestepEmbedding;
use transformer::{attentions, transformer};

pub(super) fn build(c: &Config, b: &Builder) -> Result<UNet2DConditionModel> {
    refuse_unsupported(c)?;
    let channels: Vec<usize> = match c.get("block_out_channels").and_then(|v| v.as_array()) {
        Some(list) => list.iter().filter_map(|v| v.as_u64().map(|n| n as usize)).filter(|&n| n > 0).collect(),
        None => vec![320, 640, 1280, 1280],
    };
    let levels = channels.len();
    if levels == 0 {
        return Err(Error::config("config.json: block_out_channels", "expected positive integers"));
    }
    let down_kinds = kinds(c, "down_block_types", levels, "DownBlock2D", "CrossAttnDownBlock2D")?;
    let up_kinds = kinds(c, "up_block_types", levels, "UpBlock2D", "CrossAttnUpBlock2D")?;
    // diffusers calls the number of heads attention_head_dim.
    let heads = per_level(c, "attention_head_dim", 8, levels)?;
    let layers = per_level(c, "layers_per_block", 2, levels)?;
    let depth = per_level(c, "transformer_layers_per_block", 1, levels)?;
    let f = Flags {
        groups: c.size_or("norm_num_groups", 32)?,
        eps: c.eps("norm_eps", 1e-5)?,
        act: c.activation("act_fn", "silu")?,
        dropout: c.rate("dropout", 0.)?,
        time: c.size_or("time_embedding_dim", channels[0] * 4)?,
        cross: c.size_or("cross_attention_dim", 1280)?,
        linear_projection: c.flag("use_linear_projection", false)?,
        mid_scale: c.float_or("mid_block_scale_factor", 1.)?,
    };
    let padding = match c.get("downsample_padding") {
        None => 1,
        Some(v) => v.as_u64().unwrap_or(1) as usize,
    };
    c.refuse("conv_in_kernel", &[3.into()])?;
    c.refuse("conv_out_kernel", &[3.into()])?;

    let mut down_blocks = Vec::new();
    let mut before = channels[0];
    for level in 0..levels {
        let d = b.at("down_blocks").at(level);
        let out = channels[level];
        let resnets = (0..layers[level])
            .map(|i| resnet(&d.at("resnets").at(i), &f, if i == 0 { before } else { out }, out, 1.))
            .collect::<Result<Vec<_>>>()?;
        let attentions = attentions(&d, &f, down_kinds[level], layers[level], out, heads[level], depth[level])?;
        let downsamplers = if level + 1 < levels {
            let shape = Conv2dShape { stride: 2, padding, ..Default::default() };
            let conv = d.at("downsamplers").at(0).at("conv").conv2d(out, out, 3, true, shape)?;
            Some(NodeList { items: vec![Node::new(Downsample2D { conv, pad: padding == 0 })] })
        } else {
            None
        };
        down_blocks.push(Node::new(DownBlock { attentions, resnets: NodeList { items: resnets }, downsamplers }));
        before = out;
    }

    let m = b.at("mid_block");
    let last = channels[levels - 1];
    let mid_block = MidBlock {
        attentions: NodeList {
            items: vec![transformer(&m.at("attentions").at(0), &f, last, heads[levels - 1], depth[levels - 1])?],
        },
        resnets: NodeList {
            items: (0..2)
                .map(|i| resnet(&m.at("resnets").at(i), &f, last, last, f.mid_scale))
                .collect::<Result<Vec<_>>>()?,
        },
    };

    let mut up_blocks = Vec::new();
    let mut before = last;
    for (level, &crossed) in up_kinds.iter().enumerate() {
        let u = b.at("up_blocks").at(level);
        let mirror = levels - 1 - level;
        let out = channels[mirror];
        let below = channels[mirror.saturating_sub(1)];
        let count = layers[mirror] + 1;
        let resnets = (0..count)
            .map(|i| {
                let skip = if i + 1 == count { below } else { out };
                let inp = if i == 0 { before } else { out };
                resnet(&u.at("resnets").at(i), &f, inp + skip, out, 1.)
            })
            .collect::<Result<Vec<_>>>()?;
        let attentions = attentions(&u, &f, crossed, count, out, heads[mirror], depth[mirror])?;
        let upsamplers = if level + 1 < levels {
            let conv = u.at("upsamplers").at(0).at("conv").conv2d(out, out, 3, true, SAME)?;
            Some(NodeList { items: vec![Node::new(Upsample2D { conv })] })
        } else {
            None
        };
        up_blocks.push(Node::new(UpBlock { attentions, resnets: NodeList { items: resnets }, upsamplers }));
        before = out;
    }
    let t = b.at("time_embedding");
    let time_embedding = TimestepEmbedding {
        linear_1: t.at("linear_1").linear(channels[0], f.time, true)?,
        act: activation(f.act),
        linear_2: t.at("linear_2").linear(f.time, f.time, true)?,
    };
    Ok(UNet2DConditionModel {
        conv_in: b.at("conv_in").conv2d(c.size_or("in_channels", 4)?, channels[0], 3, true, SAME)?,
        time_embedding: Node::new(time_embedding),
        down_blocks: NodeList { items: down_blocks },
        up_blocks: NodeList { items: up_blocks },
        mid_block: Node::new(mid_block),
        conv_norm_out: b.at("conv_norm_out").group_norm(f.groups, channels[0], f.eps)?,
        conv_act: activation(f.act),
        conv_out: b.at("conv_out").conv2d(channels[0], c.size_or("out_channels", 4)?, 3, true, SAME)?,
        width: channels[0],
        flip: c.flag("flip_sin_to_cos", true)?,
        shift: c.float_or("freq_shift", 0.)?,
        skips: layers.iter().rev().map(|n| n + 1).collect(),
    })
}

#[derive(Clone)]
pub(super) struct UNet2DConditionModel {
    conv_in: Node,
    time_embedding: Node,
    down_blocks: NodeList,
    up_blocks: NodeList,
    mid_block: Node,
    conv_norm_out: Node,
    conv_act: Node,
    conv_out: Node,
    width: usize,
    flip: bool,
    shift: f64,
    /// How many skip connections each up block takes: one for each of its residual blocks.
    skips: Vec<usize>,
}

impl UNet2DConditionModel {
    /// Sines and cosines of a timestep at frequencies from 1 to 1 / 10 000: `[batch, width]`.
    fn time_projection(&self, steps: &[f64], like: &Tensor) -> Result<Tensor> {
        let half = self.width / 2;
        let mut values = Vec::with_capacity(steps.len() * self.width);
        for &step in steps {
            let angle = |i: usize| {
                let exponent = -(10000f32.ln()) * i as f32 / (half as f32 - self.shift as f32);
                step as f32 * exponent.exp()
            };
            let (sin, cos): (Vec<f32>, Vec<f32>) = (0..half).map(|i| (angle(i).sin(), angle(i).cos())).unzip();
            let (first, second) = if self.flip { (cos, sin) } else { (sin, cos) };
            values.extend(first);
            values.extend(second);
            values.extend(std::iter::repeat_n(0f32, self.width % 2));
        }
        let array = Array::from_vec(values, (steps.len(), self.width), &candle_core::Device::Cpu)?;
        Ok(array.to_dtype(like.dtype())?.to_device(like.device())?.into())
    }
}

impl Module for UNet2DConditionModel {
    fields!(conv_in, time_embedding, down_blocks, up_blocks, mid_block, conv_norm_out, conv_act, conv_out);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let need = |name: &str, shown: &str| match args.optional_tensor(name) {
            Some(t) => Ok(t),
            None => Err(Error::Argument(format!("this model needs {shown}"))),
        };
        let sample = need("sample", "sample")?;
        let batch = sample.dims().first().copied().unwrap_or(0);
        let steps = need("timestep", "timestep")?.data().flatten_all()?.to_dtype(candle_core::DType::F64)?;
        let mut steps: Vec<f64> = steps.to_vec1()?;
        if steps.len() == 1 {
            steps = vec![steps[0]; batch];
        }
        if sample.rank() != 4 || steps.len() != batch {
            return Err(Error::Argument(format!(
                "sample: expected [batch, channels, height, width] and a timestep per row, found {:?} and {} steps",
                sample.dims(),
                steps.len()
            )));
        }
        let context = Value::Tensor(need("encoder_hidden_states", "encoderHiddenStates")?.clone());
        let emb = self.time_embedding.apply(cx, &self.time_projection(&steps, sample)?)?;
        let call = |x: Tensor| {
            Args::default()
                .with("hidden_states", x)
                .with("temb", emb.clone())
                .with("encoder_hidden_states", context.clone())
        };
        let mut x = self.conv_in.apply(cx, sample)?;
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks.items {
            let Value::Tuple(mut out) = block.call(cx, call(x))? else {
                return Err(Error::Argument("unet: a down block gives its output and what it skips over".into()));
            };
            let Value::Tuple(states) = out.remove(1) else {
                return Err(Error::Argument("unet: a down block's skip connections are a tuple".into()));
            };
            x = out.remove(0).into_tensor()?;
            skips.extend(states.into_iter().map(Value::into_tensor).collect::<Result<Vec<_>>>()?);
        }
        let mid = Args { positional: vec![x.into(), emb.clone().into()], named: Vec::new() };
        x = self.mid_block.call(cx, mid.with("encoder_hidden_states", context.clone()))?.into_tensor()?;
        for (i, block) in self.up_blocks.items.iter().enumerate() {
            let rest = skips.len().saturating_sub(self.skips[i]);
            let states: Vec<Value> = skips.split_off(rest).into_iter().map(Value::Tensor).collect();
            // Odd sizes: the next skip connection says what size to return to.
            let size = match skips.last() {
                Some(next) => Value::Tuple(vec![Value::Number(next.dim(2) as f64), Value::Number(next.dim(3) as f64)]),
                None => Value::None,
            };
            let call = call(x).with("res_hidden_states_tuple", Value::Tuple(states)).with("upsample_size", size);
            x = block.call(cx, call)?.into_tensor()?;
        }
        let x = self.conv_act.apply(cx, &self.conv_norm_out.apply(cx, &x)?)?;
        Ok(Value::Map(vec![("sample", self.conv_out.apply(cx, &x)?.into())]))
    }
}
