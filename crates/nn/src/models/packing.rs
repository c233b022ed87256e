//! Rows that are packed of several sequences, told by the sequences' lengths.

use super::keys::TaskType;
use super::{Inputs, Model};
use crate::module::Ints;
use crate::{Error, Result};

/// Architectures whose attention keeps the sequences of a row apart are all but these.
const WITHOUT: [&str; 6] = ["custom", "unet2d", "bert", "roberta", "vit", "t5"];

impl Model {
    /// Inputs whose position ids say what `seq_lengths` does: they begin again where a sequence begins, by which attention keeps
    /// sequences apart, and tuners that cannot know it.
    pub(super) fn placed(&self, inputs: &Inputs) -> Result<Inputs> {
        let Some(lengths) = &inputs.seq_lengths else { return Ok(inputs.clone()) };
        if WITHOUT.contains(&self.keys.model_type) || self.keys.task == TaskType::SequenceClassification {
            let what = self.keys.architecture;
            return Err(Error::Argument(format!(
                "seqLengths: {what} does not keep the sequences of a packed row apart"
            )));
        }
        let ids = inputs.input_ids.iter().map(|ids| ids.shape.clone());
        let shape = ids.chain(inputs.inputs_embeds.iter().map(|x| x.dims().to_vec())).next().unwrap_or_default();
        let [batch, seq, ..] = shape[..] else {
            return Err(Error::Argument("seqLengths: this model needs inputIds or inputsEmbeds".into()));
        };
        let mask = inputs.attention_mask.as_ref().filter(|mask| mask.shape == [batch, seq]);
        let counted = counted(lengths, batch, seq, mask)?;
        match &inputs.position_ids {
            None => Ok(Inputs { position_ids: Some(counted), seq_lengths: None, ..inputs.clone() }),
            Some(given) => {
                let starts = |positions| super::sequence_starts(positions, mask, batch);
                let fits = matches!(given.shape[..], [1, s] | [s] if s == seq) || given.shape == [batch, seq];
                if fits && starts(given) != starts(&counted) {
                    let why = "seqLengths: positionIds begin again at other places; leave them out, or let them begin where a sequence does";
                    return Err(Error::Argument(why.into()));
                }
                Ok(Inputs { seq_lengths: None, ..inputs.clone() })
            }
        }
    }
}

/// Positions `[batch, seq]` that begin again with each sequence. What is behind the last one is padding, and the mask says so.
fn counted(lengths: &Ints, batch: usize, seq: usize, mask: Option<&Ints>) -> Result<Ints> {
    let &[rows, most] = &lengths.shape[..] else {
        return Err(Error::Shape {
            path: "seqLengths".into(),
            expected: vec![batch, 1],
            actual: lengths.shape.clone(),
        });
    };
    if rows != batch {
        return Err(Error::Shape {
            path: "seqLengths".into(),
            expected: vec![batch, most],
            actual: lengths.shape.clone(),
        });
    }
    let mut positions = Vec::with_capacity(batch * seq);
    for row in 0..batch {
        let before = positions.len();
        for &length in &lengths.data[row * most..][..most] {
            let room = seq - (positions.len() - before);
            let length = usize::try_from(length).ok().filter(|length| *length <= room).ok_or_else(|| {
                Error::Argument(format!(
                    "seqLengths: row {row} has a sequence of length {length} where {room} tokens are left"
                ))
            })?;
            positions.extend(0..length as i64);
        }
        let filled = positions.len() - before;
        if mask.map_or(&[1][..], |m| &m.data[row * seq + filled..(row + 1) * seq]).iter().any(|m| *m != 0)
            && filled < seq
        {
            let why = format!("seqLengths: those of row {row} add up to {filled}, and it has {seq} tokens");
            return Err(Error::Argument(why));
        }
        positions.extend(0..(seq - filled) as i64);
    }
    Ints::new(vec![batch, seq], positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(shape: &[usize], data: &[i64]) -> Ints {
        Ints::new(shape.to_vec(), data.to_vec()).unwrap()
    }

    #[test]
    fn positions_begin_again_with_each_sequence() {
        let lengths = ints(&[2, 2], &[2, 3, 5, 0]);
        assert_eq!(counted(&lengths, 2, 5, None).unwrap().data[..], [0, 1, 0, 1, 2, 0, 1, 2, 3, 4]);
        let mask = ints(&[1, 5], &[1, 1, 1, 0, 0]);
        assert_eq!(counted(&ints(&[1, 2], &[1, 2]), 1, 5, Some(&mask)).unwrap().data[..], [0, 0, 1, 0, 1]);
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let mask = ints(&[1, 5], &[1, 1, 1, 1, 0]);
        for (shape, data, mask) in [
            (&[1, 2][..], &[2, 2][..], None),
            (&[1, 2], &[2, 4], None),
            (&[1, 2], &[-1, 6], None),
            (&[1, 1], &[i64::MAX], None),
            (&[2], &[2, 3], None),
            (&[2, 1], &[5, 5], None),
            (&[1, 1], &[3], Some(&mask)),
        ] {
            assert!(counted(&ints(shape, data), 1, 5, mask).is_err(), "{shape:?} {data:?}");
        }
    }
}
