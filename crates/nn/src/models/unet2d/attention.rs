//! Attention to the image itself or to the prompt.

use crate::context::Context;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::{self, AttentionOptions, Mask};
use crate::tensor::Tensor;
use crate::{fields, Result};

#[derive(Clone)]
pub(super) struct Attention {
    pub to_q: Node,
    pub to_k: Node,
    pub to_v: Node,
    pub to_out: NodeList,
    pub head_dim: usize,
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
