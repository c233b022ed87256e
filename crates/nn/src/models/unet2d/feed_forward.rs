//! Feed-forward layers.

use crate::context::Context;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::{self, Activation};
use crate::{fields, Result};

#[derive(Clone)]
pub(super) struct FeedForward {
    pub net: NodeList,
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
pub(super) struct Geglu {
    pub proj: Node,
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
