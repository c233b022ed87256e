//! The UNet of Stable Diffusion: `diffusers.UNet2DConditionModel` with its default kinds of blocks.
//!
//! Rombach et al. 2021 (arXiv 2112.10752).

use super::config::Config;
use super::{activation, dropout, Builder};
use crate::context::Context;
use crate::fields;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::{self, Activation, AttentionOptions, Conv2dShape, Mask};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

const SAME: Conv2dShape = Conv2dShape { stride: 1, padding: 1, dilation: 1, groups: 1 };
const POINT: Conv2dShape = Conv2dShape { stride: 1, padding: 0, dilation: 1, groups: 1 };

struct Flags {
    groups: usize,
    eps: f64,
    act: Activation,
    dropout: f64,
    time: usize,
    cross: usize,
    linear_projection: bool,
    /// Divides what comes out of a residual block of the middle.
    mid_scale: f64,
}

/// Every field that would change the numbers and is not implemented.
fn refuse_unsupported(c: &Config) -> Result<()> {
    for name in [
        "addition_embed_type",
        "class_embed_type",
        "num_class_embeds",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "time_cond_proj_dim",
        "time_embedding_act_fn",
        "timestep_post_act",
        "cross_attention_norm",
        "num_attention_heads",
        "reverse_transformer_layers_per_block",
    ] {
        c.refuse(name, &[])?;
    }
    for name in [
        "center_input_sample",
        "dual_cross_attention",
        "only_cross_attention",
        "mid_block_only_cross_attention",
        "resnet_skip_time_act",
        "class_embeddings_concat",
        "upcast_attention",
    ] {
        c.refuse(name, &[false.into()])?;
    }
    c.refuse("attention_type", &["default".into()])?;
    c.refuse("resnet_time_scale_shift", &["default".into()])?;
    c.refuse("time_embedding_type", &["positional".into()])?;
    c.refuse("mid_block_type", &["UNetMidBlock2DCrossAttn".into()])?;
    c.refuse("resnet_out_scale_factor", &[1.0.into(), 1.into()])
}

/// One number for all levels, or one for each.
fn per_level(c: &Config, name: &str, default: usize, levels: usize) -> Result<Vec<usize>> {
    let list = match c.get(name) {
        None => return Ok(vec![default; levels]),
        Some(serde_json::Value::Array(list)) => list.clone(),
        Some(_) => return Ok(vec![c.size(name)?; levels]),
    };
    let sizes: Option<Vec<usize>> = list.iter().map(|v| v.as_u64().filter(|&n| n > 0).map(|n| n as usize)).collect();
    match sizes {
        Some(sizes) if sizes.len() == levels => Ok(sizes),
        _ => Err(Error::config(format!("config.json: {name}"), format!("expected {levels} positive integers"))),
    }
}

fn kinds(c: &Config, name: &str, levels: usize, plain: &str, crossed: &str) -> Result<Vec<bool>> {
    let Some(list) = c.get(name).and_then(|v| v.as_array()) else {
        return Err(Error::config(format!("config.json: {name}"), "missing"));
    };
    if list.len() != levels {
        return Err(Error::config(format!("config.json: {name}"), format!("expected {levels} entries")));
    }
    let one = |v: &serde_json::Value| match v.as_str() {
        Some(kind) if kind == plain => Ok(false),
        Some(kind) if kind == crossed => Ok(true),
        _ => Err(Error::UnsupportedModel(format!("config.json: {name} has {v}"))),
    };
    list.iter().map(one).collect()
}

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

fn resnet(b: &Builder, f: &Flags, inp: usize, out: usize, scale: f64) -> Result<Node> {
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

fn attentions(
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

fn transformer(b: &Builder, f: &Flags, width: usize, heads: usize, depth: usize) -> Result<Node> {
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

#[derive(Clone)]
struct TimestepEmbedding {
    linear_1: Node,
    act: Node,
    linear_2: Node,
}

impl Module for TimestepEmbedding {
    fields!(linear_1, act, linear_2);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = self.act.apply(cx, &self.linear_1.apply(cx, args.tensor(0, "sample")?)?)?;
        Ok(self.linear_2.apply(cx, &x)?.into())
    }
}

/// A residual block and the attention behind it, where the level has any.
fn resnet_and_attention(
    cx: &Context,
    args: &Args,
    resnet: &Node,
    attention: Option<&Node>,
    x: Tensor,
) -> Result<Tensor> {
    let temb = args.get(1, "temb").clone();
    let x = resnet.call(cx, Args { positional: vec![x.into(), temb], named: Vec::new() })?.into_tensor()?;
    match attention {
        Some(attention) => {
            let context = args.named("encoder_hidden_states").clone();
            attention.call(cx, Args::one(x).with("encoder_hidden_states", context))?.into_tensor()
        }
        None => Ok(x),
    }
}

#[derive(Clone)]
struct DownBlock {
    attentions: Option<NodeList>,
    resnets: NodeList,
    downsamplers: Option<NodeList>,
}

impl Module for DownBlock {
    fields!(attentions, resnets, downsamplers);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let mut x = args.tensor(0, "hidden_states")?.clone();
        let mut states = Vec::new();
        for (i, resnet) in self.resnets.items.iter().enumerate() {
            let attention = self.attentions.as_ref().map(|a| &a.items[i]);
            x = resnet_and_attention(cx, args, resnet, attention, x)?;
            states.push(Value::Tensor(x.clone()));
        }
        for sampler in self.downsamplers.iter().flat_map(|d| &d.items) {
            x = sampler.apply(cx, &x)?;
            states.push(Value::Tensor(x.clone()));
        }
        Ok(Value::Tuple(vec![x.into(), Value::Tuple(states)]))
    }
}

#[derive(Clone)]
struct MidBlock {
    attentions: NodeList,
    resnets: NodeList,
}

impl Module for MidBlock {
    fields!(attentions, resnets);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let mut x = args.tensor(0, "hidden_states")?.clone();
        for (i, resnet) in self.resnets.items.iter().enumerate() {
            let attention = self.attentions.items.get(i);
            x = resnet_and_attention(cx, args, resnet, attention, x)?;
        }
        Ok(x.into())
    }
}

#[derive(Clone)]
struct UpBlock {
    attentions: Option<NodeList>,
    resnets: NodeList,
    upsamplers: Option<NodeList>,
}

impl Module for UpBlock {
    fields!(attentions, resnets, upsamplers);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let mut x = args.tensor(0, "hidden_states")?.clone();
        let Value::Tuple(mut states) = args.named("res_hidden_states_tuple").clone() else {
            return Err(Error::Argument("unet: an up block needs skip connections".into()));
        };
        for (i, resnet) in self.resnets.items.iter().enumerate() {
            let Some(Value::Tensor(skip)) = states.pop() else {
                return Err(Error::Argument("unet: a skip connection is missing".into()));
            };
            let attention = self.attentions.as_ref().map(|a| &a.items[i]);
            x = resnet_and_attention(cx, args, resnet, attention, Tensor::cat(&[&x, &skip], 1)?)?;
        }
        for sampler in self.upsamplers.iter().flat_map(|d| &d.items) {
            let positional = vec![x.into(), args.named("upsample_size").clone()];
            x = sampler.call(cx, Args { positional, named: Vec::new() })?.into_tensor()?;
        }
        Ok(x.into())
    }
}

#[derive(Clone)]
struct Downsample2D {
    conv: Node,
    /// Without padding of its own the convolution gets one more row and column at the far ends.
    pad: bool,
}

impl Module for Downsample2D {
    fields!(conv);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        if !self.pad {
            return Ok(self.conv.apply(cx, x)?.into());
        }
        let zeros = |shape: [usize; 4]| -> Result<Tensor> { Ok(Array::zeros(&shape, x.dtype(), x.device())?.into()) };
        let wide = Tensor::cat(&[x, &zeros([x.dim(0), x.dim(1), x.dim(2), 1])?], 3)?;
        let padded = Tensor::cat(&[&wide, &zeros([x.dim(0), x.dim(1), 1, wide.dim(3)])?], 2)?;
        Ok(self.conv.apply(cx, &padded)?.into())
    }
}

#[derive(Clone)]
struct Upsample2D {
    conv: Node,
}

impl Module for Upsample2D {
    fields!(conv);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let (rows, cols) = match args.get(1, "output_size") {
            Value::Tuple(size) => match &size[..] {
                [Value::Number(rows), Value::Number(cols)] => (*rows as usize, *cols as usize),
                _ => (2 * x.dim(2), 2 * x.dim(3)),
            },
            _ => (2 * x.dim(2), 2 * x.dim(3)),
        };
        Ok(self.conv.apply(cx, &ops::upsample_nearest(x, rows, cols)?)?.into())
    }
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

#[derive(Clone)]
struct Attention {
    to_q: Node,
    to_k: Node,
    to_v: Node,
    to_out: NodeList,
    head_dim: usize,
}

impl Module for Attention {
    fields!(to_q, to_k, to_v, to_out);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let source = args.optional_tensor("encoder_hidden_states").unwrap_or(x);
        let heads = |node: &Node, of: &Tensor| node.apply(cx, of)?.split_last(self.head_dim);
        let (q, k, v) = (heads(&self.to_q, x)?, heads(&self.to_k, source)?, heads(&self.to_v, source)?);
        let scale = 1. / (self.head_dim as f64).sqrt();
        let options = AttentionOptions { scale, mask: Mask::default(), dropout: None };
        let mut y = ops::attention(&q, &k, &v, &options)?.merge_last()?;
        for node in &self.to_out.items {
            y = node.apply(cx, &y)?;
        }
        Ok(y.into())
    }
}

#[derive(Clone)]
struct FeedForward {
    net: NodeList,
}

impl Module for FeedForward {
    fields!(net);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let mut x = args.tensor(0, "hidden_states")?.clone();
        for node in &self.net.items {
            x = node.apply(cx, &x)?;
        }
        Ok(x.into())
    }
}

#[derive(Clone)]
struct Geglu {
    proj: Node,
}

impl Module for Geglu {
    fields!(proj);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let both = self.proj.apply(cx, args.tensor(0, "hidden_states")?)?;
        let inner = both.last_dim() / 2;
        let (up, gate) = (both.narrow(-1, 0, inner)?.contiguous()?, both.narrow(-1, inner, inner)?.contiguous()?);
        Ok(ops::gated(Activation::Gelu, &gate, &up)?.into())
    }
}
