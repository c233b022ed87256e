//! Stacks of blocks.

use crate::context::Context;
use crate::module::{Args, Node};
use crate::tensor::Tensor;
use crate::Result;

/// Runs a block of a stack; with gradient checkpointing its inner results are computed again for the backward pass.
pub(super) fn run_block(cx: &Context, block: &Node, args: Args) -> Result<Tensor> {
    if cx.recomputes() {
        crate::module::checkpointed(cx, block, args)?.into_tensor()
    } else {
        block.call(cx, args)?.into_tensor()
    }
}
