//! How much a model's context has room for.

use super::{Options, DEFAULT_NEW_TOKENS};
use crate::models::{Decoding, Inputs, To};
use crate::module::{Ints, Value};
use crate::{Error, Result};

/// What becomes of a prompt and new tokens that are more than the model's context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    #[default]
    Refuse,
    /// Decoding ends where the context does.
    Stop,
    /// The prompt loses its first tokens.
    Truncate,
}

impl Overflow {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "error" => Self::Refuse,
            "stop" => Self::Stop,
            "truncate" => Self::Truncate,
            _ => return None,
        })
    }
}

/// How many tokens may be decoded, behind `before` positions that tuners take and the prompt of a decoder, which may be cut for it
/// unless the caller has `placed` it. Fails with [`Error::Config`] where the context has no room.
pub(super) fn fit(
    inputs: &mut Inputs,
    context: Option<usize>,
    before: usize,
    placed: bool,
    options: &Options,
) -> Result<usize> {
    let asked = options.max_new_tokens;
    let Some(context) = context else { return Ok(asked.unwrap_or(DEFAULT_NEW_TOKENS)) };
    let used = length(inputs, before)?;
    let room = context.saturating_sub(used);
    let wanted = asked.unwrap_or(DEFAULT_NEW_TOKENS.min(room.max(1)));
    if wanted <= room {
        return Ok(wanted);
    }
    match options.overflow {
        Overflow::Stop if room > 0 => Ok(room),
        Overflow::Truncate if placed => {
            Err(Error::config("contextOverflow", "'truncate' would leave positionIds where they are; leave them out"))
        }
        Overflow::Truncate if wanted + before < context => cut(inputs, context - wanted - before).map(|()| wanted),
        _ => {
            let them = if asked.is_some() { format!("{wanted} new tokens") } else { "a new token".to_owned() };
            let why = format!(
                "{them} after a prompt of {used} are more than the model's context of {context}; ask for fewer, or let \
                 contextOverflow be 'stop' or 'truncate'"
            );
            Err(Error::config("maxNewTokens", why))
        }
    }
}

/// The positions of the longest row.
fn length(inputs: &Inputs, before: usize) -> Result<usize> {
    let seq = |ints: &Ints| ints.shape.last().copied().unwrap_or(1).max(1);
    if let (Some(positions), 0) = (&inputs.position_ids, before) {
        let last = positions.data.chunks(seq(positions)).filter_map(<[i64]>::last).max();
        return Ok(last.map_or(0, |&last| last.max(-1) + 1) as usize);
    }
    // Behind virtual tokens padding counts.
    Ok(before + inputs.attention_mask.as_ref().map_or(0, seq))
}

/// Leaves the last `keep` tokens of each row.
fn cut(inputs: &mut Inputs, keep: usize) -> Result<()> {
    for (kind, value) in inputs.given() {
        let cut = match (kind.to, kind.decoder, &value) {
            (_, Decoding::Counts, Value::Ints(p)) => Value::Ints(ends_of(p, keep, |row| {
                // Padding stays at 0, and so does a row that has lost nothing but padding.
                let first = row[0];
                row.iter_mut().for_each(|at| *at -= first);
            })?),
            (_, Decoding::Tokens | Decoding::Mask | Decoding::Repeats, Value::Ints(ints)) => {
                Value::Ints(ends_of(ints, keep, |_| {})?)
            }
            (_, Decoding::Embedded, Value::Tensor(x)) => Value::Tensor(x.narrow(1, x.dim(1) - keep, keep)?),
            // One per row.
            (To::Tuners, _, Value::Ints(ints)) if ints.shape.len() == 1 => continue,
            _ => {
                let why = format!("'truncate' would move what {} speaks of", kind.camel);
                return Err(Error::config("contextOverflow", why));
            }
        };
        inputs.put(kind.name, cut);
    }
    Ok(())
}

/// `[.., seq]` → `[.., keep]`, each row changed afterwards.
fn ends_of(ints: &Ints, keep: usize, change: impl Fn(&mut [i64])) -> Result<Ints> {
    let mut shape = ints.shape.clone();
    let seq = shape.last_mut().map_or(keep, |seq| std::mem::replace(seq, keep));
    let mut data: Vec<i64> = ints.data.chunks(seq).flat_map(|row| row[seq - keep..].iter().copied()).collect();
    data.chunks_mut(keep).for_each(change);
    Ints::new(shape, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Inputs {
        let ints = |values: &[i64]| Some(Ints::new(vec![2, 4], values.to_vec()).unwrap());
        Inputs {
            input_ids: ints(&[5, 6, 7, 8, 0, 0, 3, 4]),
            attention_mask: ints(&[1, 1, 1, 1, 0, 0, 1, 1]),
            position_ids: ints(&[0, 1, 2, 3, 0, 0, 0, 1]),
            ..Inputs::default()
        }
    }

    #[test]
    fn what_is_more_than_the_context_is_refused_stopped_or_cut() -> Result<()> {
        let ask = |max_new_tokens, overflow| Options { max_new_tokens, overflow, ..Options::default() };
        let fitted = |context, max, overflow| fit(&mut inputs(), context, 0, false, &ask(max, overflow));
        assert_eq!(fitted(None, None, Overflow::Refuse)?, 64);
        assert_eq!(fitted(None, Some(900), Overflow::Refuse)?, 900);
        assert_eq!(fitted(Some(10), Some(6), Overflow::Refuse)?, 6);
        assert_eq!(fitted(Some(10), None, Overflow::Refuse)?, 6);
        assert_eq!(fitted(Some(10), Some(7), Overflow::Refuse).unwrap_err().code(), "ERR_INVALID_CONFIG");
        assert_eq!(fitted(Some(4), None, Overflow::Refuse).unwrap_err().code(), "ERR_INVALID_CONFIG");
        assert_eq!(fitted(Some(10), Some(7), Overflow::Stop)?, 6);
        assert!(fitted(Some(4), Some(7), Overflow::Stop).is_err());
        let mut cut = inputs();
        assert_eq!(fit(&mut cut, Some(10), 0, false, &ask(Some(7), Overflow::Truncate))?, 7);
        assert_eq!(*cut.input_ids.unwrap().data, [6, 7, 8, 0, 3, 4]);
        assert_eq!(*cut.attention_mask.unwrap().data, [1, 1, 1, 0, 1, 1]);
        let positions = cut.position_ids.unwrap();
        assert_eq!((positions.shape.as_slice(), positions.data.as_slice()), (&[2, 3][..], &[0, 1, 2, 0, 0, 1][..]));
        assert!(fitted(Some(10), Some(10), Overflow::Truncate).is_err());
        assert!(fit(&mut inputs(), Some(10), 0, true, &ask(Some(7), Overflow::Truncate)).is_err());
        // Virtual tokens take positions, too.
        assert_eq!(fit(&mut inputs(), Some(10), 2, false, &ask(None, Overflow::Refuse))?, 4);
        let mut located = Inputs { intervention_locations: Some(Ints::new(vec![1, 1, 1], vec![2])?), ..inputs() };
        assert!(fit(&mut located, Some(10), 0, false, &ask(Some(7), Overflow::Truncate)).is_err());
        Ok(())
    }
}
