//! Modules that only described networks have.

use crate::context::Context;
use crate::module::{Args, Module, Node, Value};
use crate::ops::{self, AttentionOptions, Mask};
use crate::tensor::Tensor;
use crate::{fields, Error, Result};

/// `torch.nn.Flatten`: joins every dimension from `start` on.
#[derive(Clone)]
pub(super) struct Flatten {
    pub start: usize,
}

impl Module for Flatten {
    fields!();

    fn forward(&self, _: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "input")?;
        if self.start >= x.rank() {
            return Ok(x.clone().into());
        }
        let mut shape = x.dims()[..self.start].to_vec();
        shape.push(x.dims()[self.start..].iter().product());
        Ok(x.contiguous()?.reshape(shape)?.into())
    }
}

/// The mean over one dimension.
#[derive(Clone)]
pub(super) struct MeanPool {
    pub dim: usize,
}

impl Module for MeanPool {
    fields!();

    fn forward(&self, _: &Context, args: &Args) -> Result<Value> {
        Ok(args.tensor(0, "input")?.mean(Some(&[self.dim as isize]), false)?.into())
    }
}

/// `torch.nn.AdaptiveAvgPool2d(1)`: `[batch, channels, height, width]` → `[batch, channels, 1, 1]`
#[derive(Clone)]
pub(super) struct GlobalAveragePool;

impl Module for GlobalAveragePool {
    fields!();

    fn forward(&self, _: &Context, args: &Args) -> Result<Value> {
        Ok(args.tensor(0, "input")?.mean(Some(&[-2, -1]), true)?.into())
    }
}

/// `torch.nn.Upsample(mode="nearest")`
#[derive(Clone)]
pub(super) struct Upsample {
    pub factor: usize,
}

impl Module for Upsample {
    fields!();

    fn forward(&self, _: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "input")?;
        let (rows, cols) = match x.dims() {
            &[_, _, rows, cols] => (rows * self.factor, cols * self.factor),
            other => return Err(Error::Argument(format!("upsampling: expected four dimensions, found {other:?}"))),
        };
        Ok(ops::upsample_nearest(x, rows, cols)?.into())
    }
}

/// Self-attention with separate projections, `[batch, seq, embed_dim]` → the same.
#[derive(Clone)]
pub(super) struct SelfAttention {
    pub q_proj: Node,
    pub k_proj: Node,
    pub v_proj: Node,
    pub out_proj: Node,
    pub head_dim: usize,
    pub causal: bool,
}

impl Module for SelfAttention {
    fields!(q_proj, k_proj, v_proj, out_proj);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "input")?;
        let heads = |node: &Node| -> Result<Tensor> { node.apply(cx, x)?.split_last(self.head_dim) };
        let options = AttentionOptions {
            scale: 1. / (self.head_dim as f64).sqrt(),
            mask: Mask { causal: self.causal, ..Mask::default() },
            dropout: None,
        };
        let y = ops::attention(&heads(&self.q_proj)?, &heads(&self.k_proj)?, &heads(&self.v_proj)?, &options)?;
        Ok(self.out_proj.apply(cx, &y.merge_last()?)?.into())
    }
}
