//! Trainable tokens: single rows of the embedding.
//!
//! PEFT's `peft.tuners.trainable_tokens`.

use crate::config::Dialect;
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::target::{self, Place};
use crate::tokens::{self, Rowed, RowsPlace};
use swift_tuners_nn::module::named_nodes;
use swift_tuners_nn::Result;

crate::config! {
    /// `TrainableTokensConfig`
    pub struct TrainableTokensConfig {
        standard: [peft, target_modules];
        /// The tokens whose rows train.
        token_indices: Vec<u64> = Vec::new();
        /// False starts with random rows in place of those that are there.
        init_weights: bool = true;
    }
}

/// The kind of tuner.
pub struct TrainableTokens;

impl Kind for TrainableTokens {
    const NAME: &'static str = "TRAINABLE_TOKENS";
    const DIALECT: Dialect = Dialect::Peft;
    const CLASS: &'static str = "TrainableTokensConfig";
    const ABOUT: &'static str = "Training of single rows of the embedding, and of what is tied to it.";
    const TRAITS: Traits = Traits::LAYER;
    type Config = TrainableTokensConfig;

    fn attach(c: &TrainableTokensConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        let (mut resolved, embedding) = (a.config.clone(), a.model.keys.input_embedding);
        if resolved.get("target_modules").is_none() {
            resolved.set("target_modules", embedding);
        }
        let targets = target::resolve(a.model, &resolved, &[])?;
        let tied = match targets.iter().any(|t| t == embedding) {
            true => tokens::tied_modules(a.model, embedding),
            false => Vec::new(),
        };
        let mut modules: Vec<Rowed> = Vec::new();
        for (path, node) in named_nodes(&a.model.root) {
            if targets.contains(&path) && tied.iter().all(|t| t.path != path) {
                let place = Place { id: node.id(), path };
                modules.push(Rowed { place, tokens: c.token_indices.clone(), tied_to: None });
            }
        }
        let tied = tied.into_iter().map(|place| Rowed { place, tokens: Vec::new(), tied_to: Some(embedding.into()) });
        modules.extend(tied);
        tokens::attach(a, &modules, RowsPlace::Module, c.init_weights)?;
        Ok(Attachment::new(&resolved))
    }
}
