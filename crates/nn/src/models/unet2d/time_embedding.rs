//! The embedding of a timestep.

use crate::context::Context;
use crate::module::{Args, Module, Node, Value};
use crate::{fields, Result};

#[derive(Clone)]
pub(super) struct TimestepEmbedding {
    pub linear_1: Node,
    pub act: Node,
    pub linear_2: Node,
}

impl Module for TimestepEmbedding {
    fields!(linear_1, act, linear_2);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = self.act.apply(cx, &self.linear_1.apply(cx, args.tensor(0, "sample")?)?)?;
        Ok(self.linear_2.apply(cx, &x)?.into())
    }
}
