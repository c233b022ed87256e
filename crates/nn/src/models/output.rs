//! What a pass gives.

use crate::tensor::Tensor;
use crate::{Error, Result};

/// What a pass gives; which fields there are depends on the architecture and the inputs.
#[derive(Clone, Default)]
pub struct Output {
    pub logits: Option<Tensor>,
    /// Of answers to questions, `[batch, seq]`: how likely a token is the first.
    pub start_logits: Option<Tensor>,
    /// How likely it is the last.
    pub end_logits: Option<Tensor>,
    pub last_hidden_state: Option<Tensor>,
    /// What an image model predicts, in the shape of its input.
    pub sample: Option<Tensor>,
    pub loss: Option<Tensor>,
    /// `-log p` of each label, `[batch, seq]` as the labels lie; 0 where one is -100 or nothing comes before it.
    pub token_losses: Option<Tensor>,
    /// What active adapters want added to the loss, where they do; the caller adds it.
    pub penalty: Option<Tensor>,
}

impl Output {
    /// The output that a loss is taken of.
    pub fn main(&self) -> Result<&Tensor> {
        let named = [&self.logits, &self.sample, &self.start_logits, &self.last_hidden_state];
        let main = named.into_iter().find_map(Option::as_ref);
        main.ok_or_else(|| Error::Argument("this model has no output to compare".into()))
    }
}
