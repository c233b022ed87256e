//! P-tuning: virtual tokens that a small network makes.
//!
//! Liu et al. 2021 (arXiv 2103.10385); PEFT's `peft.tuners.p_tuning`.

use super::encoder::{EncoderTensor, Held, PromptEncoder};
use super::fields::PromptFields;
use super::place::Place;
use super::recurrent::Lstm;
use super::size::Size;
use super::{check_hidden, PromptLearning};
use crate::blocks::Dense;
use crate::config::TunerConfig;
use crate::fields::{Probability, Required};
use crate::init::Init;
use swift_tuners_nn::{Context, Model, Param, Result, Tensor};

crate::words! {
    /// The network.
    pub enum Reparameterization { Mlp = "MLP", Lstm = "LSTM" }
}

crate::config! {
    /// `PromptEncoderConfig`
    pub struct PromptEncoderConfig {
        standard: [];
        ..prompt: PromptFields;
        /// How many virtual tokens stand before the sequence.
        num_virtual_tokens: Required<usize>;
        /// `'MLP'`, or `'LSTM'`.
        encoder_reparameterization_type: Reparameterization = Reparameterization::Mlp;
        /// By default a token's width.
        encoder_hidden_size: Option<usize> = None;
        /// Of an LSTM; an MLP always has three.
        encoder_num_layers: usize = 2, in 1..=1024;
        /// Between the layers of an LSTM.
        encoder_dropout: Probability = Probability(0.);
    }
}

/// The kind of tuner.
pub struct PTuning;

impl PromptLearning for PTuning {
    const NAME: &'static str = "P_TUNING";
    const CLASS: &'static str = "PromptEncoderConfig";
    const ABOUT: &'static str =
        "Virtual tokens that a small network makes (P-tuning). Liu et al. 2021 (arXiv 2103.10385).";
    const PLACE: Place = Place::Embeddings;
    type Config = PromptEncoderConfig;

    fn fields(config: &PromptEncoderConfig) -> &PromptFields {
        &config.prompt
    }

    fn count(config: &PromptEncoderConfig) -> usize {
        config.num_virtual_tokens.0
    }

    fn check(c: &PromptEncoderConfig) -> Result<()> {
        check_hidden(c.encoder_hidden_size)
    }

    fn resolve(c: &PromptEncoderConfig, size: &Size, resolved: &mut TunerConfig) {
        resolved.set("encoder_hidden_size", c.encoder_hidden_size.unwrap_or(size.width));
    }

    fn encoder(c: &PromptEncoderConfig, size: &Size, _: &Model, init: &mut Init) -> Result<Box<dyn PromptEncoder>> {
        let (width, hidden) = (size.width, c.encoder_hidden_size.unwrap_or(size.width));
        let embedding = init.embedding(size.rows(), width)?;
        let lstm = match c.encoder_reparameterization_type {
            Reparameterization::Lstm => {
                Some(Lstm::new(width, hidden, c.encoder_num_layers, c.encoder_dropout.0, init)?)
            }
            Reparameterization::Mlp => None,
        };
        let widths = match lstm {
            Some(_) => vec![2 * hidden, 2 * hidden, width],
            None => vec![width, hidden, hidden, width],
        };
        let head = widths.windows(2).map(|w| init.dense(w[0], w[1], true)).collect::<Result<_>>()?;
        Ok(Box::new(Network { embedding, lstm, head }))
    }
}

/// `head(lstm(embedding))`, the head's layers with ReLU between them.
struct Network {
    /// `[rows, width]`
    embedding: Param,
    lstm: Option<Lstm>,
    head: Vec<Dense>,
}

impl PromptEncoder for Network {
    fn tensors(&self) -> Vec<EncoderTensor<'_>> {
        let one = |name: String, param| EncoderTensor::new(name, Held::Encoder, param);
        let mut tensors = vec![one("embedding.weight".into(), &self.embedding)];
        tensors.extend(self.lstm.iter().flat_map(|l| l.tensors()).map(|(name, param)| one(name, param)));
        for (i, dense) in self.head.iter().enumerate() {
            // Activations have numbers, too.
            tensors.push(one(format!("mlp_head.{}.weight", 2 * i), &dense.weight));
            tensors.extend(dense.bias.iter().map(|b| one(format!("mlp_head.{}.bias", 2 * i), b)));
        }
        tensors
    }

    fn tokens(&self, cx: &Context) -> Result<Tensor> {
        let mut x = self.embedding.value(cx.grad)?;
        if let Some(lstm) = &self.lstm {
            x = lstm.run(cx, &x)?;
        }
        for (i, dense) in self.head.iter().enumerate() {
            x = dense.apply(cx, &if i == 0 { x } else { x.relu()? })?;
        }
        Ok(x)
    }
}
