//! How many virtual tokens there are, and of which shape.

use super::fields::PromptFields;
use super::place::Place;
use super::require_tokens;
use crate::config::TunerConfig;
use swift_tuners_nn::models::{AttentionSize, TaskType};
use swift_tuners_nn::{Error, Model, Result};

/// What a model and a configuration make of `PromptLearningConfig` (`_prepare_prompt_learning_config`).
#[derive(Clone, Debug)]
pub struct Size {
    /// Virtual tokens before one sequence.
    pub tokens: usize,
    /// Stacks that get tokens of their own: an encoder and a decoder, or one.
    pub stacks: usize,
    /// Of one token: of an embedding, or of all heads of one layer's keys.
    pub width: usize,
    /// Of keys and values where the tokens stand before those.
    pub heads: usize,
    pub layers: usize,
}

impl Size {
    pub fn of(model: &Model, fields: &PromptFields, tokens: usize, place: Place) -> Result<Self> {
        require_tokens(model, "prompt learning")?;
        let AttentionSize { layers, hidden, heads, kv_heads, head_dim } = model.attention_size()?;
        let seq2seq = model.keys.task == TaskType::Seq2Seq;
        let past = place == Place::Past;
        let stacks = match fields.num_transformer_submodules {
            None => 1 + usize::from(seq2seq),
            Some(1) if !(seq2seq && past) => 1,
            Some(2) if seq2seq => 2,
            Some(n) => {
                let why = format!("{n} does not go with {}", model.keys.architecture);
                return Err(Error::config("num_transformer_submodules", why));
            }
        };
        let (width, heads) = if past { (kv_heads * head_dim, kv_heads) } else { (hidden, heads) };
        // PEFT lets them be given, but fails in the pass where they are not what the model has.
        let given = [
            ("token_dim", fields.token_dim, width),
            ("num_attention_heads", fields.num_attention_heads, heads),
            ("num_layers", fields.num_layers, layers),
        ];
        for (name, value, wanted) in given.into_iter().filter(|(name, ..)| past || *name == "token_dim") {
            // With keys and values that several heads share, PEFT corrects what is given.
            if value.is_some_and(|v| v != wanted) && !(past && kv_heads != model.attention_size()?.heads) {
                return Err(Error::config(name, format!("{} needs {wanted}", model.keys.architecture)));
            }
        }
        Ok(Self { tokens, stacks, width, heads, layers })
    }

    /// Rows of an embedding of tokens for every stack.
    pub fn rows(&self) -> usize {
        self.tokens * self.stacks
    }

    pub fn write(&self, config: &mut TunerConfig) {
        config.set("num_virtual_tokens", self.tokens);
        config.set("token_dim", self.width);
        config.set("num_transformer_submodules", self.stacks);
        config.set("num_attention_heads", self.heads);
        config.set("num_layers", self.layers);
    }
}
