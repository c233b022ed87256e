//! Gradient checkpointing.

use super::node::Node;
use super::walk::all_parameters;
use super::{Args, Value};
use crate::context::Context;
use crate::tensor::{Array, GradSlot, Tensor};
use crate::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Calls a node without keeping what its backward pass needs: that pass runs the call again, with the same random numbers.
///
/// Chen et al. 2016 (arXiv 1604.06174); `torch.utils.checkpoint`.
pub fn checkpointed(cx: &Context, node: &Node, args: Args) -> Result<Value> {
    if cx.prefix.as_ref().is_some_and(|p| p.is_tracked()) {
        return Err(Error::Invalid("gradient checkpointing: it does not go with a trained prefix".into()));
    }
    let draws = cx.draws.load(Ordering::Relaxed);
    let value = node.call(&Context { grad: false, ..cx.clone() }, args.detached())?;
    let Value::Tensor(y) = value else {
        return Err(Error::Invalid("gradient checkpointing: this block gives more than one tensor".into()));
    };
    let inputs: Vec<Tensor> = args.tensors().cloned().collect();
    let trained = || all_parameters(node).iter().any(|(_, p)| p.requires_grad());
    if !inputs.iter().any(Tensor::is_tracked) && !trained() {
        return Ok(y.into());
    }
    let (node, cx) = (node.clone(), cx.clone());
    let saved = args.detached();
    let backward = move |grad: &Array| {
        let cx = Context { draws: Arc::new(AtomicU64::new(draws)), ..cx };
        let mut slots = Vec::new();
        let args = saved.map_tensors(&mut |t| {
            let slot = Arc::new(GradSlot::default());
            slots.push(slot.clone());
            Tensor::leaf(t.data().clone(), Tensor::leaf_record(slot))
        });
        let y = node.call(&cx, args)?.into_tensor()?;
        if y.is_tracked() {
            y.backward_from(grad.clone())?;
        }
        Ok(slots.iter().map(|s| s.get()).collect())
    };
    Ok(Tensor::from_recomputed(y.into_data(), &inputs.iter().collect::<Vec<_>>(), backward).into())
}
