//! What models of tokens read of their arguments.

use crate::context::Context;
use crate::module::{Args, Ints, Node, Value};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::Device;
use std::sync::Arc;

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
    if let Some(odd) = mask.data.iter().find(|&&keep| keep != 0 && keep != 1) {
        return Err(Error::Argument(format!("attentionMask: expected 0 and 1, found {odd}")));
    }
    crate::ops::Mask::padding(&mask.data, batch, device)
}

/// The first key that each query may see, `[batch, seq]`, where the caller's position ids say that rows are packed of several
/// sequences; for [`crate::ops::Mask::starts`].
pub(crate) fn packed(cx: &Context, args: &Args, batch: usize) -> Result<Option<Arc<Vec<usize>>>> {
    let Some(positions) = args.ints("position_ids").filter(|_| !cx.decoding) else { return Ok(None) };
    let starts = sequence_starts(positions, args.ints("attention_mask"), batch);
    if starts.is_some() && cx.past() > 0 {
        let why = "positionIds: they begin again within a row, and what stands before the sequence cannot stand before each of several";
        return Err(Error::Argument(why.into()));
    }
    Ok(starts.map(Arc::new))
}

/// Whether rows hold several sequences.
pub fn is_packed(args: &Args) -> bool {
    let (Some(positions), Some(ids)) = (args.ints("position_ids"), args.ints("input_ids")) else { return false };
    sequence_starts(positions, args.ints("attention_mask"), ids.shape[0]).is_some()
}

/// For each token the place in its row where its sequence begins, if any row holds several: one begins where the position ids of
/// tokens that count do not rise. transformers takes them to begin wherever positions do not count on by one, without a mask.
pub(crate) fn sequence_starts(positions: &Ints, mask: Option<&Ints>, batch: usize) -> Option<Vec<usize>> {
    let seq = *positions.shape.last()?;
    let rows = positions.data.len().checked_div(seq)?;
    // What stands before the sequence has places in the mask; any other shape is refused where it is used.
    let mask = mask.and_then(|m| match m.shape[..] {
        [rows, width] if rows == batch && width >= seq => Some((m, width)),
        _ => None,
    });
    let mut starts = Vec::with_capacity(batch * seq);
    let mut several = false;
    for row in 0..batch {
        let positions = &positions.data[(row % rows.max(1)) * seq..][..seq];
        let (mut start, mut last) = (0, None);
        for (i, &position) in positions.iter().enumerate() {
            if mask.is_none_or(|(m, width)| m.data[(row + 1) * width - seq + i] != 0) {
                if last.is_some_and(|last| position <= last) {
                    (start, several) = (i, true);
                }
                last = Some(position);
            }
            starts.push(start);
        }
    }
    several.then_some(starts)
}

/// Position ids given by the caller as `[rows, seq]`, or `start..start + seq`.
pub(crate) fn positions(args: &Args, batch: usize, seq: usize, start: usize) -> Result<Ints> {
    match args.ints("position_ids") {
        Some(p) if p.data.iter().any(|&p| p < 0) => {
            Err(Error::Argument("positionIds: a position is less than 0".into()))
        }
        Some(p) if p.shape == [seq] => Ints::new(vec![1, seq], p.data.to_vec()),
        Some(p) if p.shape == [1, seq] || p.shape == [batch, seq] => Ok(p.clone()),
        Some(p) => {
            Err(Error::Shape { path: "positionIds".into(), expected: vec![batch, seq], actual: p.shape.clone() })
        }
        None => Ints::new(vec![1, seq], (start as i64..(start + seq) as i64).collect()),
    }
}
