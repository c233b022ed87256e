//! Gated MLPs.

use crate::context::Context;
use crate::module::{Args, Module, Node, Value};
use crate::ops::{self, Activation};
use crate::{fields, Result};

#[derive(Clone)]
pub(super) struct Mlp {
    pub gate_proj: Node,
    pub up_proj: Node,
    pub down_proj: Node,
    pub act_fn: Node,
    pub act: Activation,
}

impl Module for Mlp {
    fields!(gate_proj, up_proj, down_proj, act_fn);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "x")?;
        let (gate, up) = (self.gate_proj.apply(cx, x)?, self.up_proj.apply(cx, x)?);
        let inner = gate_and_up(cx, &self.act_fn, self.act, &gate, &up)?;
        Ok(self.down_proj.apply(cx, &inner)?.into())
    }
}

#[derive(Clone)]
pub(super) struct FusedMlp {
    pub gate_up_proj: Node,
    pub down_proj: Node,
    pub activation_fn: Node,
    pub act: Activation,
}

impl Module for FusedMlp {
    fields!(gate_up_proj, down_proj, activation_fn);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let both = self.gate_up_proj.apply(cx, args.tensor(0, "hidden_states")?)?;
        let inner = both.last_dim() / 2;
        let (gate, up) = (both.narrow(-1, 0, inner)?.contiguous()?, both.narrow(-1, inner, inner)?.contiguous()?);
        let inner = gate_and_up(cx, &self.activation_fn, self.act, &gate, &up)?;
        Ok(self.down_proj.apply(cx, &inner)?.into())
    }
}

/// The fused kernel, unless a tuner sits on the activation.
pub(crate) fn gate_and_up(
    cx: &Context,
    node: &Node,
    act: Activation,
    gate: &crate::Tensor,
    up: &crate::Tensor,
) -> Result<crate::Tensor> {
    if node.tuners.is_empty() {
        ops::gated(act, gate, up)
    } else {
        node.apply(cx, gate)?.mul(up)
    }
}
