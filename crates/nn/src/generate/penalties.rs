//! Tokens that a row has had already count less.

use crate::models::{Inputs, TaskType};
use crate::module::Ints;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// By how much.
#[derive(Clone, Copy, Debug)]
pub struct Penalties {
    /// Divides positive logits of tokens in prompt and text, and multiplies negative ones: transformers'
    /// `RepetitionPenaltyLogitsProcessor` (Keskar et al. 2019, arXiv 1909.05858). 1 is none.
    pub repetition: f64,
    /// Taken from the logits of tokens in the text so far, as OpenAI and vLLM define it.
    pub presence: f64,
    /// The same for each time that they are there.
    pub frequency: f64,
}

impl Default for Penalties {
    fn default() -> Self {
        Self { repetition: 1., presence: 0., frequency: 0. }
    }
}

/// What a row has had.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    prompt: HashSet<i64>,
    /// How often each token was decoded.
    text: HashMap<i64, u32>,
}

impl History {
    /// One per row, of the tokens of a prompt that are no padding; an encoder-decoder's are the decoder's.
    pub fn of(inputs: &Inputs, task: TaskType) -> Result<Vec<Self>> {
        let (ids, mask) = match task {
            TaskType::Seq2Seq => (&inputs.decoder_input_ids, &inputs.decoder_attention_mask),
            _ => (&inputs.input_ids, &inputs.attention_mask),
        };
        let Some(ids) = ids else {
            let batch = inputs.inputs_embeds.as_ref().map_or(0, |x| x.dim(0));
            return Ok(vec![Self::default(); batch]);
        };
        let &[_, seq] = &ids.shape[..] else {
            return Err(Error::Argument(format!("decoderInputIds: expected [batch, seq], found {:?}", ids.shape)));
        };
        let counts = |i: usize| mask.as_ref().is_none_or(|m: &Ints| m.data.get(i) != Some(&0));
        let row = |(row, ids): (usize, &[i64])| Self {
            prompt: ids.iter().enumerate().filter(|(i, _)| counts(row * seq + i)).map(|(_, &id)| id).collect(),
            text: HashMap::new(),
        };
        Ok(ids.data.chunks(seq.max(1)).enumerate().map(row).collect())
    }

    pub fn push(&mut self, token: i64) {
        *self.text.entry(token).or_default() += 1;
    }
}

impl Penalties {
    /// Changes the logits of one row.
    pub(super) fn apply(&self, history: &History, logits: &mut [f32]) {
        let mut change = |token: i64, by: &dyn Fn(f64) -> f64| {
            if let Some(logit) = usize::try_from(token).ok().and_then(|at| logits.get_mut(at)) {
                *logit = by(f64::from(*logit)) as f32;
            }
        };
        if self.repetition != 1. {
            let repeated = |x: f64| if x < 0. { x * self.repetition } else { x / self.repetition };
            history.prompt.iter().for_each(|&token| change(token, &repeated));
            history.text.keys().filter(|token| !history.prompt.contains(token)).for_each(|&t| change(t, &repeated));
        }
        if self.presence != 0. || self.frequency != 0. {
            for (&token, &count) in &history.text {
                change(token, &|x| x - self.presence - self.frequency * f64::from(count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // transformers 5.24's RepetitionPenaltyLogitsProcessor(1.5) of these logits after [0, 3, 1, 1]; then by OpenAI's formula for
    // what was decoded: token 1 is there (0.5), twice (0.25 each).
    #[test]
    fn penalties_are_those_of_transformers_and_openai() {
        let ids = Ints::new(vec![1, 3], vec![7, 0, 3]).unwrap();
        let mask = Ints::new(vec![1, 3], vec![0, 1, 1]).unwrap();
        let inputs = Inputs { input_ids: Some(ids), attention_mask: Some(mask), ..Inputs::default() };
        let mut history = History::of(&inputs, TaskType::CausalLm).unwrap().remove(0);
        history.push(1);
        history.push(1);
        let logits = [1.5f32, -2., 0.5, -1., 3., 0., 0., 2.];
        let after = |penalties: Penalties| {
            let mut logits = logits;
            penalties.apply(&history, &mut logits);
            logits
        };
        assert_eq!(after(Penalties::default()), logits);
        assert_eq!(after(Penalties { repetition: 1.5, ..Penalties::default() }), [1., -3., 0.5, -1.5, 3., 0., 0., 2.]);
        let all = Penalties { repetition: 1.5, presence: 0.5, frequency: 0.25 };
        assert_eq!(after(all), [1., -4., 0.5, -1.5, 3., 0., 0., 2.]);
    }
}
