//! Over how many values a loss is a mean.

use super::loss::shifted;
use super::{Inputs, Model, TaskType, To};
use crate::context::Context;
use crate::module::{Ints, Node};
use crate::Result;
use std::sync::Arc;

/// A label that takes no part in a loss.
const IGNORED: i64 = -100;

impl Model {
    /// Over how many values [`Model::forward`] takes the mean that is its loss: tokens, rows, or the numbers of a target; nothing
    /// without labels or target. Losses weighted by these add up to the loss of all batches as one. What tuners add to a loss is no
    /// part of the mean: with weights that add up to 1 it counts once.
    pub fn loss_items(&self, cx: &Context, inputs: &Inputs) -> Result<Option<usize>> {
        if let Some(target) = &inputs.target {
            return Ok(Some(target.data().elem_count()));
        }
        if let Some(starts) = &inputs.start_positions {
            return Ok(Some(starts.data.len()));
        }
        let labels = match (&inputs.labels, &inputs.float_labels) {
            (Some(labels), _) => labels,
            (None, floats) => return Ok(floats.as_ref().map(|x| x.data().elem_count())),
        };
        let causal = self.keys.task == TaskType::CausalLm;
        if causal && labels.shape.len() != 2 {
            // The pass says what is wrong with them.
            return Ok(Some(labels.data.len()));
        }
        let inputs = &self.placed(inputs)?;
        let labels = &self.apart(inputs, labels)?;
        let cx = &Context { inputs: Arc::new(inputs.named(To::Tuners)), ..cx.clone() };
        if let Some(count) = tuners_count(&self.root, cx, labels, causal)? {
            return Ok(Some(count));
        }
        let count = |labels: &[i64]| labels.iter().filter(|&&label| label != IGNORED).count();
        Ok(Some(if causal { count(&shifted(labels)) } else { count(&labels.data) }))
    }

    /// Labels of which the first of each packed sequence counts nothing: there is nothing before it that it could be told from.
    pub(super) fn apart(&self, inputs: &Inputs, labels: &Ints) -> Result<Ints> {
        let (Some(positions), TaskType::CausalLm, &[batch, _]) =
            (&inputs.position_ids, self.keys.task, &labels.shape[..])
        else {
            return Ok(labels.clone());
        };
        let Some(starts) = super::sequence_starts(positions, inputs.attention_mask.as_ref(), batch) else {
            return Ok(labels.clone());
        };
        let seq = labels.shape[1].max(1);
        let each = labels.data.iter().zip(&starts).enumerate();
        let data = each.map(|(i, (&label, &start))| if i % seq == start && start > 0 { IGNORED } else { label });
        Ints::new(labels.shape.clone(), data.collect())
    }
}

fn tuners_count(root: &Node, cx: &Context, labels: &Ints, causal: bool) -> Result<Option<usize>> {
    for tuner in &root.tuners {
        if let Some(count) = tuner.loss_items(cx, labels, causal)? {
            return Ok(Some(count));
        }
    }
    Ok(None)
}
