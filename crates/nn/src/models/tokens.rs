//! What models of tokens read of their arguments.

use crate::context::Context;
use crate::module::{Args, Ints, Node, Value};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::Device;

/// A prompt's virtual tokens `[batch, tokens, hidden]`, which stand before the embedded ones.
pub const PROMPT: &str = "prompt";
/// The same for the decoder of an encoder-decoder.
pub const DECODER_PROMPT: &str = "decoder_prompt";

/// The batch and sequence sizes of token ids or embeddings, a prompt's tokens included.
pub(crate) fn token_shape(args: &Args) -> Result<(usize, usize)> {
    let (batch, seq) = match (args.ints("input_ids"), args.optional_tensor("inputs_embeds")) {
        (Some(ids), None) => match ids.shape[..] {
            [batch, seq] if seq > 0 && batch > 0 => (batch, seq),
            _ => return Err(Error::Argument(format!("inputIds: expected [batch, seq], found {:?}", ids.shape))),
        },
        (None, Some(x)) if x.rank() == 3 => (x.dim(0), x.dim(1)),
        (None, Some(x)) => {
            return Err(Error::Argument(format!("inputsEmbeds: expected [batch, seq, hidden], found {:?}", x.dims())))
        }
        (Some(_), Some(_)) => return Err(Error::Argument("give inputIds or inputsEmbeds, not both".into())),
        (None, None) => return Err(Error::Argument("this model needs inputIds or inputsEmbeds".into())),
    };
    Ok((batch, seq + args.optional_tensor(PROMPT).map_or(0, |prompt| prompt.dim(1))))
}

/// The tokens as the blocks see them, `[batch, seq, hidden]`: looked up in `embedding` unless they are embedded already, a prompt's
/// before them.
pub(crate) fn embedded(cx: &Context, args: &Args, embedding: Option<&Node>) -> Result<Tensor> {
    let tokens = match args.ints("input_ids") {
        Some(ids) => {
            let embedding = embedding.ok_or_else(|| Error::Argument("this network has no embeddings".into()))?;
            let ids = Args { positional: vec![Value::Ints(ids.clone())], named: Vec::new() };
            embedding.call(cx, ids)?.into_tensor()?
        }
        None => args.tensor(usize::MAX, "inputs_embeds")?.clone(),
    };
    match args.optional_tensor(PROMPT) {
        Some(prompt) => Tensor::cat(&[&prompt.to_dtype(tokens.dtype())?, &tokens], 1),
        None => Ok(tokens),
    }
}

/// The padding mask over `keys` positions, checked against the batch.
pub(crate) fn padding_mask(args: &Args, batch: usize, keys: usize, device: &Device) -> Result<Option<Array>> {
    let Some(mask) = args.ints("attention_mask") else {
        return Ok(None);
    };
    if mask.shape != [batch, keys] {
        return Err(Error::Shape {
            path: "attentionMask".into(),
            expected: vec![batch, keys],
            actual: mask.shape.clone(),
        });
    }
    crate::ops::Mask::padding(&mask.data, batch, device)
}

/// Position ids given by the caller as `[rows, seq]`, or `start..start + seq`.
pub(crate) fn positions(args: &Args, batch: usize, seq: usize, start: usize) -> Result<Ints> {
    match args.ints("position_ids") {
        Some(p) if p.shape == [seq] => Ints::new(vec![1, seq], p.data.to_vec()),
        Some(p) if p.shape == [1, seq] || p.shape == [batch, seq] => Ok(p.clone()),
        Some(p) => {
            Err(Error::Shape { path: "positionIds".into(), expected: vec![batch, seq], actual: p.shape.clone() })
        }
        None => Ints::new(vec![1, seq], (start as i64..(start + seq) as i64).collect()),
    }
}
