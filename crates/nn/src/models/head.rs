//! What the heads of models give.

use super::loss::{check_labels, shifted, shifted_weights, token_loss};
use crate::context::Context;
use crate::module::{Args, Ints, Node, Value, Weights};
use crate::ops::WeightLayout;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Asks, as an argument, for the loss of each label by itself, and is what the answer is called.
pub(super) const TOKEN_LOSSES: &str = "token_losses";

/// What a decoder's head gives for `hidden [batch, seq, width]`: the logits, or the loss alone where that is what is asked for
/// and nothing is attached to the head.
pub(super) fn decoder_output(cx: &Context, head: &Node, hidden: &Tensor, args: &Args) -> Result<Value> {
    if let (Some(labels), true) = (args.ints("labels"), head.tuners.is_empty()) {
        if let Some(Weights::Linear { weight, bias: None, layout: WeightLayout::OutIn }) = head.module().weights() {
            let weight = weight.weight(cx.grad)?;
            check_labels(hidden, labels)?;
            cx.check_cancelled()?;
            if args.has(TOKEN_LOSSES) {
                if let Some(losses) = crate::ops::linear_token_losses(hidden, &weight, &shifted(labels))? {
                    let losses = losses.reshape(labels.shape.as_slice())?;
                    return Ok(Value::Map(vec![(TOKEN_LOSSES, losses.into())]));
                }
                return Ok(logits_output(head.apply(cx, hidden)?));
            }
            let weights = shifted_weights(labels, args.optional_tensor("loss_scale"))?;
            let loss =
                crate::ops::weighted_linear_cross_entropy(hidden, &weight, &shifted(labels), weights.as_deref())?;
            if let Some(loss) = loss {
                return Ok(Value::Map(vec![("loss", loss.into())]));
            }
        }
    }
    Ok(logits_output(head.apply(cx, hidden)?)) // [batch, seq, vocab]
}

/// The loss of what a decoder's head gives for `hidden [batch, seq, width]`: position i predicts label i + 1.
pub fn head_loss(cx: &Context, head: &Node, hidden: &Tensor, labels: &Ints) -> Result<Tensor> {
    let args = Args::default().with("labels", Value::Ints(labels.clone()));
    match decoder_output(cx, head, hidden, &args)? {
        Value::Map(fields) => match fields.into_iter().next() {
            Some(("loss", Value::Tensor(loss))) => Ok(loss),
            Some((_, Value::Tensor(logits))) => token_loss(&logits, labels, None, true),
            _ => Err(Error::Argument("this head gives no logits".into())),
        },
        _ => Err(Error::Argument("this head gives no logits".into())),
    }
}

/// The last position only, when generation asks for it.
pub(super) fn keep_last(hidden: crate::Tensor, args: &Args) -> Result<crate::Tensor> {
    if args.has("logits_to_keep") {
        let last = hidden.dim(1) - 1;
        return hidden.narrow(1, last, 1);
    }
    Ok(hidden)
}

/// `{ logits }`, as `transformers` names what a head gives.
pub(super) fn logits_output(logits: Tensor) -> Value {
    Value::Map(vec![("logits", logits.into())])
}

pub(super) fn hidden_output(hidden: Tensor) -> Value {
    Value::Map(vec![("last_hidden_state", hidden.into())])
}
