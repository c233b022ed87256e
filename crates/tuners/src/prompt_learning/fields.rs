//! The fields that all classes of prompt learning share.

use swift_tuners_nn::{Error, Result};

crate::config! {
    /// `PromptLearningConfig`
    pub struct PromptFields {
        standard: [peft, modules_to_save];
        /// How many virtual tokens stand before the sequence.
        num_virtual_tokens: Option<usize> = None;
        /// Width of a token; by default the model's.
        token_dim: Option<usize> = None;
        /// 2 for encoder-decoders, otherwise 1; by default what the model is.
        num_transformer_submodules: Option<usize> = None;
        /// By default the model's.
        num_attention_heads: Option<usize> = None;
        /// By default the model's.
        num_layers: Option<usize> = None;
    }
}

impl PromptFields {
    pub fn count(&self) -> Result<usize> {
        match self.num_virtual_tokens {
            Some(n) if n > 0 => Ok(n),
            Some(_) => Err(Error::config("num_virtual_tokens", "expected a positive integer, found 0")),
            None => Err(Error::config("num_virtual_tokens", "missing")),
        }
    }
}
