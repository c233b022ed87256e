//! What the passes of a decoding take in.

use crate::models::{sequence_starts, Decoding, InputKind, Inputs, TaskType};
use crate::module::{Ints, Value};
use crate::{Error, Result};

/// What decoding does with an input.
pub(super) type Role = fn(&InputKind) -> Decoding;

pub(super) fn role_in(task: TaskType) -> Role {
    match task {
        TaskType::Seq2Seq => |kind| kind.seq2seq,
        _ => |kind| kind.decoder,
    }
}

/// Refuses what decoding does not take.
fn check(inputs: &Inputs, role: Role) -> Result<()> {
    match inputs.given().iter().find(|(kind, _)| role(kind) == Decoding::Refused) {
        Some((kind, _)) => Err(Error::Argument(format!("{}: generate does not take this input", kind.camel))),
        None => Ok(()),
    }
}

/// The sizes of the prompts, as ids or embedded.
fn prompts(inputs: &Inputs) -> Result<(usize, usize)> {
    let (batch, seq) = match (&inputs.input_ids, &inputs.inputs_embeds) {
        (Some(_), Some(_)) => return Err(Error::Argument("give inputIds or inputsEmbeds, not both".into())),
        (Some(ids), None) => match ids.shape[..] {
            [batch, seq] => (batch, seq),
            _ => return Err(Error::Argument(format!("inputIds: expected [batch, seq], found {:?}", ids.shape))),
        },
        (None, Some(x)) if x.rank() == 3 => (x.dim(0), x.dim(1)),
        (None, Some(x)) => {
            return Err(Error::Argument(format!("inputsEmbeds: expected [batch, seq, hidden], found {:?}", x.dims())))
        }
        (None, None) => return Err(Error::Argument("generate needs inputIds or inputsEmbeds".into())),
    };
    if batch == 0 || seq == 0 {
        return Err(Error::Argument("inputIds: generation needs at least one token per row".into()));
    }
    Ok((batch, seq))
}

/// The inputs of an encoder-decoder's first pass.
pub(super) fn beginning(inputs: Inputs, start: i64) -> Result<Inputs> {
    check(&inputs, role_in(TaskType::Seq2Seq))?;
    let (batch, _) = prompts(&inputs)?;
    let begun = match inputs.decoder_input_ids.clone() {
        Some(given) => given,
        None => Ints::new(vec![batch, 1], vec![start; batch])?,
    };
    Ok(Inputs { decoder_input_ids: Some(begun), last_logits_only: true, ..inputs })
}

/// The inputs of a decoder's first pass.
pub(super) fn prompt(inputs: Inputs) -> Result<Inputs> {
    check(&inputs, role_in(TaskType::CausalLm))?;
    let (batch, seq) = prompts(&inputs)?;
    let mask = match &inputs.attention_mask {
        Some(m) if m.shape == [batch, seq] => m.clone(),
        Some(m) => {
            return Err(Error::Shape {
                path: "attentionMask".into(),
                expected: vec![batch, seq],
                actual: m.shape.clone(),
            })
        }
        None => Ints::new(vec![batch, seq], vec![1; batch * seq])?,
    };
    if mask.data.chunks(seq).any(|row| row.last() == Some(&0)) {
        return Err(Error::Argument("attentionMask: prompts must be padded on the left for generation".into()));
    }
    let position_ids = match &inputs.position_ids {
        Some(given) if sequence_starts(given, Some(&mask), batch).is_some() => {
            let why = "positionIds: they begin again within a row, and generate continues one sequence per row";
            return Err(Error::Argument(why.into()));
        }
        Some(given) => given.clone(),
        None => Ints::new(vec![batch, seq], mask.data.chunks(seq).flat_map(counted).collect())?,
    };
    Ok(Inputs { attention_mask: Some(mask), position_ids: Some(position_ids), last_logits_only: true, ..inputs })
}

/// The positions of a row: they count the tokens that are not padding, as transformers' generate does.
fn counted(mask: &[i64]) -> Vec<i64> {
    let mut tokens = 0;
    let position = |&m: &i64| {
        tokens += i64::from(m != 0);
        (tokens - 1).max(0)
    };
    mask.iter().map(position).collect()
}

/// The inputs of the pass over `tokens`, one per row, after the pass over `last`.
pub(super) fn advanced(last: &Inputs, tokens: &[i64], role: Role) -> Result<Inputs> {
    let mut next = Inputs { last_logits_only: true, ..Inputs::default() };
    let ids = || Ok::<_, Error>(Value::Ints(Ints::new(vec![tokens.len(), 1], tokens.to_vec())?));
    for (kind, value) in last.given() {
        let value = match (role(kind), value) {
            (Decoding::Tokens, _) => ids()?,
            (Decoding::Embedded, _) => {
                next.put("input_ids", ids()?);
                continue;
            }
            (Decoding::Mask, Value::Ints(mask)) => {
                let seq = mask.shape[1];
                let longer = mask.data.chunks(seq).flat_map(|row| row.iter().copied().chain([1])).collect();
                Value::Ints(Ints::new(vec![tokens.len(), seq + 1], longer)?)
            }
            (Decoding::Counts, Value::Ints(p)) => Value::Ints(ends(&p, |end| end + 1)?),
            (Decoding::Repeats, Value::Ints(t)) => Value::Ints(ends(&t, |end| end)?),
            (_, value) => value,
        };
        next.put(kind.name, value);
    }
    Ok(next)
}

/// `[.., seq]` → `[.., 1]`: what follows the last value of each row.
fn ends(rows: &Ints, follow: impl Fn(i64) -> i64) -> Result<Ints> {
    let mut shape = rows.shape.clone();
    let seq = shape.last_mut().map_or(1, |seq| std::mem::replace(seq, 1));
    Ints::new(shape, rows.data.chunks(seq.max(1)).filter_map(<[i64]>::last).map(|&end| follow(end)).collect())
}
