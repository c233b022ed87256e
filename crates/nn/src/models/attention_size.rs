//! The sizes that attention has throughout a model.

use super::config::Config;
use super::llama;
use super::model::Model;
use crate::{Error, Result};

/// The sizes that attention has throughout a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSize {
    /// Blocks; an encoder-decoder's decoder has as many as its encoder.
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl Model {
    /// Fails with [`Error::UnsupportedModel`] where blocks do not all attend with one size.
    pub fn attention_size(&self) -> Result<AttentionSize> {
        let c = Config::new(&self.config)?;
        let (layers, hidden, heads) = match self.keys.model_type {
            "unet2d" | "custom" => {
                let name = self.keys.architecture;
                return Err(Error::UnsupportedModel(format!("{name} has no attention of one size")));
            }
            "gpt2" => ("n_layer", "n_embd", "n_head"),
            "t5" => {
                let layers = c.size_or("num_layers", 6)?;
                if c.size_or("num_decoder_layers", layers)? != layers {
                    return Err(Error::UnsupportedModel(
                        "t5: its decoder has another number of layers than its encoder".into(),
                    ));
                }
                let (heads, head_dim) = (c.size_or("num_heads", 8)?, c.size_or("d_kv", 64)?);
                let hidden = c.size_or("d_model", 512)?;
                return Ok(AttentionSize { layers, hidden, heads, kv_heads: heads, head_dim });
            }
            "bert" | "roberta" | "vit" => ("num_hidden_layers", "hidden_size", "num_attention_heads"),
            _ => return llama::size(&c),
        };
        let (layers, hidden, heads) = (c.size(layers)?, c.size(hidden)?, c.size(heads)?);
        Ok(AttentionSize { layers, hidden, heads, kv_heads: heads, head_dim: hidden / heads.max(1) })
    }
}
