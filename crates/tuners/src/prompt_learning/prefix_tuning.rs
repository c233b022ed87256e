//! Prefix tuning: trained keys and values before those of every layer.
//!
//! Li and Liang 2021 (arXiv 2101.00190); PEFT's `peft.tuners.prefix_tuning`.

use super::encoder::{EncoderTensor, Held, PromptEncoder};
use super::fields::PromptFields;
use super::place::Place;
use super::size::Size;
use super::{check_hidden, PromptLearning};
use crate::blocks::Dense;
use crate::config::TunerConfig;
use crate::fields::Required;
use crate::init::Init;
use swift_tuners_nn::{Context, Model, Param, Result, Tensor};

crate::words! {
    /// A start that changes nothing.
    pub enum PrefixInit { Zero = "zero" }
}

crate::config! {
    /// `PrefixTuningConfig`
    pub struct PrefixTuningConfig {
        standard: [];
        ..prompt: PromptFields;
        /// How many virtual tokens stand before the sequence.
        num_virtual_tokens: Required<usize>;
        /// `'zero'` starts with keys and values of zero; absent, with random ones.
        init_weights: Option<PrefixInit> = None;
        /// Of the projection; by default a token's width.
        encoder_hidden_size: Option<usize> = None;
        /// Makes the prefix with a network of two layers.
        prefix_projection: bool = false;
    }
}

/// The kind of tuner.
pub struct PrefixTuning;

impl PromptLearning for PrefixTuning {
    const NAME: &'static str = "PREFIX_TUNING";
    const CLASS: &'static str = "PrefixTuningConfig";
    const ABOUT: &'static str =
        "Trained keys and values before those of every layer. Li and Liang 2021 (arXiv 2101.00190).";
    const PLACE: Place = Place::Past;
    type Config = PrefixTuningConfig;

    fn fields(config: &PrefixTuningConfig) -> &PromptFields {
        &config.prompt
    }

    fn count(config: &PrefixTuningConfig) -> usize {
        config.num_virtual_tokens.0
    }

    fn check(c: &PrefixTuningConfig) -> Result<()> {
        check_hidden(c.encoder_hidden_size)
    }

    fn resolve(c: &PrefixTuningConfig, size: &Size, resolved: &mut TunerConfig) {
        resolved.set("encoder_hidden_size", c.encoder_hidden_size.unwrap_or(size.width));
    }

    fn encoder(c: &PrefixTuningConfig, size: &Size, _: &Model, init: &mut Init) -> Result<Box<dyn PromptEncoder>> {
        let (tokens, all, zero) = (size.tokens, size.layers * 2 * size.width, c.init_weights.is_some());
        if !c.prefix_projection {
            let embedding = init.embedding(tokens, all)?;
            return Ok(Box::new(Prefix {
                embedding: if zero { init.constant(&[tokens, all], 0.)? } else { embedding },
                transform: None,
            }));
        }
        let hidden = c.encoder_hidden_size.unwrap_or(size.width);
        let embedding = init.embedding(tokens, size.width)?;
        let first = init.dense(size.width, hidden, true)?;
        let mut second = init.dense(hidden, all, true)?;
        if zero {
            second = init.zero_dense(hidden, all)?;
        }
        Ok(Box::new(Prefix { embedding, transform: Some([first, second]) }))
    }
}

/// `second(tanh(first(embedding)))`, or the embedding itself.
struct Prefix {
    /// `[tokens, width]`, without a projection `[tokens, layers · 2 · width]`
    embedding: Param,
    transform: Option<[Dense; 2]>,
}

impl PromptEncoder for Prefix {
    fn tensors(&self) -> Vec<EncoderTensor<'_>> {
        let held = if self.transform.is_some() { Held::Encoder } else { Held::Saved("prompt_embeddings") };
        let one = |name: &str, param| EncoderTensor::new(name, held, param);
        let mut tensors = vec![one("embedding.weight", &self.embedding)];
        let names = [["transform.0.weight", "transform.0.bias"], ["transform.2.weight", "transform.2.bias"]];
        for (dense, [weight, bias]) in self.transform.iter().flatten().zip(names) {
            tensors.push(one(weight, &dense.weight));
            tensors.extend(dense.bias.iter().map(|b| one(bias, b)));
        }
        tensors
    }

    fn tokens(&self, cx: &Context) -> Result<Tensor> {
        let x = self.embedding.value(cx.grad)?;
        match &self.transform {
            Some([first, second]) => second.apply(cx, &first.apply(cx, &x)?.tanh()?),
            None => Ok(x),
        }
    }
}
