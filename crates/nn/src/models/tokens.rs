//! What models of tokens read of their arguments.

use crate::module::{Args, Ints};
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::Device;

/// Token ids or embeddings, and the batch and sequence sizes.
pub(crate) fn token_shape(args: &Args) -> Result<(usize, usize)> {
    match (args.ints("input_ids"), args.optional_tensor("inputs_embeds")) {
        (Some(ids), None) => match ids.shape[..] {
            [batch, seq] if seq > 0 && batch > 0 => Ok((batch, seq)),
            _ => Err(Error::Argument(format!("inputIds: expected [batch, seq], found {:?}", ids.shape))),
        },
        (None, Some(x)) if x.rank() == 3 => Ok((x.dim(0), x.dim(1))),
        (None, Some(x)) => {
            Err(Error::Argument(format!("inputsEmbeds: expected [batch, seq, hidden], found {:?}", x.dims())))
        }
        (Some(_), Some(_)) => Err(Error::Argument("give inputIds or inputsEmbeds, not both".into())),
        (None, None) => Err(Error::Argument("this model needs inputIds or inputsEmbeds".into())),
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
