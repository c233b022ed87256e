//! Levels on the way down, in the middle and on the way up.

use crate::context::Context;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::tensor::Tensor;
use crate::{fields, Error, Result};

#[derive(Clone)]
pub(super) struct DownBlock {
    pub attentions: Option<NodeList>,
    pub resnets: NodeList,
    pub downsamplers: Option<NodeList>,
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
pub(super) struct MidBlock {
    pub attentions: NodeList,
    pub resnets: NodeList,
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
pub(super) struct UpBlock {
    pub attentions: Option<NodeList>,
    pub resnets: NodeList,
    pub upsamplers: Option<NodeList>,
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
