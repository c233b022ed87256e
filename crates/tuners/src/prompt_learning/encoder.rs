//! What makes virtual tokens.

use swift_tuners_nn::module::{Args, Ints};
use swift_tuners_nn::{Array, Context, Error, Param, Result, Tensor};

/// What becomes of an encoder's tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Trained and saved under this key.
    Saved(&'static str),
    /// Trained; files hold the tokens, from which it cannot be had back.
    Encoder,
    /// Trained; files hold the tokens, from which it can be had back ([`PromptEncoder::inverted`]).
    Invertible,
    /// A parameter that never trains; files hold the tokens, from which it can be had back.
    Frozen,
}

/// One tensor below `prompt_encoder.<adapter>.`
pub struct EncoderTensor<'a> {
    pub name: String,
    pub held: Held,
    pub param: &'a Param,
}

impl<'a> EncoderTensor<'a> {
    pub fn new(name: impl Into<String>, held: Held, param: &'a Param) -> Self {
        Self { name: name.into(), held, param }
    }
}

/// What makes the virtual tokens of one adapter.
pub trait PromptEncoder: Send + Sync + 'static {
    /// In Python's order.
    fn tensors(&self) -> Vec<EncoderTensor<'_>>;

    /// `[tokens, width]` for every row alike, or `[batch, tokens, width]`.
    fn tokens(&self, cx: &Context) -> Result<Tensor>;

    /// The tensors, in their order, whose tokens these are, where that can be told.
    fn inverted(&self, _tokens: &Array) -> Result<Option<Vec<Array>>> {
        Ok(None)
    }

    /// Whether [`PromptEncoder::loss`] takes the place of the model's own.
    fn has_loss(&self) -> bool {
        false
    }

    /// The loss of a pass; `args` has the output, and labels of all positions but the virtual ones.
    fn loss(&self, _cx: &Context, _args: &Args) -> Result<Tensor> {
        Err(Error::Invalid("this kind has no loss of its own".into()))
    }

    /// Over how many labels [`PromptEncoder::loss`] is a mean.
    fn loss_items(&self, _cx: &Context, labels: &Ints) -> Result<usize> {
        Ok(labels.data.len())
    }

    /// Puts what trains back to where it may be.
    fn constrain(&self) -> Result<()> {
        Ok(())
    }

    /// Whether the decoder of an encoder-decoder gets tokens, too.
    fn also_decoder(&self) -> bool {
        false
    }
}
