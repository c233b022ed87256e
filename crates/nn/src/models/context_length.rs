//! How many positions a model is made for.

use super::config::Config;
use super::rope_config::RopeConfig;
use super::{Model, TaskType};
use crate::Result;

impl Model {
    /// The most positions of a sequence, prompt and new tokens together; nothing where the architecture knows no limit (T5's
    /// positions are relative) or its config says none. Rotary scalings count as vLLM counts them: `max_position_embeddings` is
    /// before linear and dynamic scaling, and yarn starts from the original length.
    pub fn context_length(&self) -> Result<Option<usize>> {
        let c = Config::new(&self.config)?;
        Ok(match (self.keys.task, self.keys.model_type) {
            (TaskType::CausalLm, "gpt2") => Some(c.size_or("n_positions", 1024)?),
            (TaskType::CausalLm, kind) => match c.optional_size("max_position_embeddings")? {
                // Gemma's counts what its scaling gives.
                Some(trained) if kind != "gemma3_text" => Some(RopeConfig::reach(&c, trained)?),
                trained => trained,
            },
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scaled_rotary_positions_reach_further() -> Result<()> {
        let reach = |scaling: serde_json::Value| -> Result<usize> {
            let json = json!({ "max_position_embeddings": 4096, "rope_scaling": scaling });
            RopeConfig::reach(&Config::new(&json)?, 4096)
        };
        assert_eq!(reach(json!(null))?, 4096);
        assert_eq!(reach(json!({ "rope_type": "linear", "factor": 4. }))?, 16384);
        assert_eq!(reach(json!({ "rope_type": "dynamic", "factor": 2. }))?, 8192);
        assert_eq!(
            reach(json!({ "rope_type": "llama3", "factor": 8., "original_max_position_embeddings": 512 }))?,
            4096
        );
        let yarn = |original: usize| json!({ "rope_type": "yarn", "factor": 4., "original_max_position_embeddings": original });
        assert_eq!((reach(yarn(4096))?, reach(yarn(1024))?), (16384, 4096));
        Ok(())
    }
}
