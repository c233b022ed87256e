//! The fields that all classes of prompt learning share.

use swift_tuners_nn::{Error, Result};

crate::config! {
    /// `PromptLearningConfig`
    pub struct PromptFields {
        standard: [peft, modules_to_save];
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

/// How many virtual tokens there are to be.
pub fn check_count(count: usize) -> Result<()> {
    match count {
        0 => Err(Error::config("num_virtual_tokens", "expected a positive integer, found 0")),
        _ => Ok(()),
    }
}
