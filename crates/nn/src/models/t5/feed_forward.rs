//! Feed-forward layers, plain and gated.

use crate::context::Context;
use crate::module::{Args, Module, Node, Value};
use crate::{fields, Error, Result};

#[derive(Clone)]
pub(super) struct FeedForward {
    pub wi: Option<Node>,
    pub wi_0: Option<Node>,
    pub wi_1: Option<Node>,
    pub wo: Node,
    pub dropout: Node,
    pub act: Node,
}

impl Module for FeedForward {
    fields!(wi, wi_0, wi_1, wo, dropout, act);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let inner = match (&self.wi, &self.wi_0, &self.wi_1) {
            (Some(wi), _, _) => self.act.apply(cx, &wi.apply(cx, x)?)?,
            (_, Some(gate), Some(up)) => self.act.apply(cx, &gate.apply(cx, x)?)?.mul(&up.apply(cx, x)?)?,
            _ => return Err(Error::Invalid("t5: a feed-forward layer without weights".into())),
        };
        Ok(self.wo.apply(cx, &self.dropout.apply(cx, &inner)?)?.into())
    }
}
