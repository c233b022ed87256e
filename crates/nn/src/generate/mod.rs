//! Autoregressive decoding with a key-value cache.

mod inputs;
mod logprobs;
mod penalties;
mod room;
mod sampling;

pub use logprobs::TokenLogprob;
pub use penalties::Penalties;
pub use room::Overflow;
pub use sampling::Sampling;

use crate::context::Context;
use crate::init::Rng;
use crate::kv_cache::KvCache;
use crate::models::{Inputs, Model, TaskType};
use crate::{Error, Result};
use candle_core::DType;
use inputs::{advanced, beginning, prompt, role_in, Role};
use penalties::History;
use std::sync::Arc;

/// New tokens of each row when nothing else is asked for, where the model's context has room for them.
const DEFAULT_NEW_TOKENS: usize = 64;

/// How the next token is chosen and when to stop.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Default: 64, or as many as the context has room for.
    pub max_new_tokens: Option<usize>,
    /// What becomes of a prompt and new tokens that are more than the model's context.
    pub overflow: Overflow,
    pub sampling: Sampling,
    pub penalties: Penalties,
    pub seed: u64,
    pub eos: Vec<i64>,
    /// What finished rows are filled with while others go on.
    pub pad: i64,
    /// Tells the log-probability of each token, and so many of the most likely ones.
    pub logprobs: Option<usize>,
}

/// Why a row has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It chose an end token.
    Eos,
    /// The caller ended it.
    Stopped,
    /// There is no room for more.
    Length,
}

/// What a step gives, one of each per row.
#[derive(Clone, Debug)]
pub struct Step {
    /// Rows that had ended before have the pad token.
    pub tokens: Vec<i64>,
    /// Of rows that have ended, with this token or before.
    pub finished: Vec<Option<Finish>>,
    /// Where they are asked for; of rows that had not ended before.
    pub logprobs: Vec<Option<TokenLogprob>>,
}

/// A decoding in progress: one call of [`Generation::step`] gives one token per row.
pub struct Generation {
    options: Options,
    limit: usize,
    cache: Arc<KvCache>,
    rng: Rng,
    /// What the next pass takes in: the prompts, then one token per row.
    next: Inputs,
    rows: Vec<Row>,
    produced: usize,
    role: Role,
}

struct Row {
    history: History,
    finished: Option<Finish>,
}

impl Generation {
    /// Starts from the prompts `input_ids [batch, seq]` (or `inputs_embeds`), in decoders padded on the left where `attention_mask`
    /// says so, and what goes with them. [`crate::models::INPUTS`] says what becomes of each input: `position_ids` count on by one
    /// in each row, by default from the number of tokens that are no padding. What decoding does not take is refused, and so is
    /// what is more than the model's context, unless `options` say otherwise.
    pub fn new(model: &Model, cx: &Context, inputs: Inputs, options: Options) -> Result<Self> {
        let placed = inputs.position_ids.is_some();
        let mut next = match model.keys.task {
            TaskType::CausalLm => prompt(inputs)?,
            TaskType::Seq2Seq => beginning(inputs, model.start_token()?)?,
            _ => return Err(Error::UnsupportedModel(format!("{} cannot generate text", model.keys.architecture))),
        };
        let before: usize = model.root.tuners.iter().map(|tuner| tuner.positions_before(cx)).sum();
        let limit = room::fit(&mut next, model.context_length()?, before, placed, &options)?;
        let histories = History::of(&next, model.keys.task)?;
        Ok(Self {
            rng: Rng::new(options.seed),
            options,
            limit,
            cache: Arc::default(),
            next,
            rows: histories.into_iter().map(|history| Row { history, finished: None }).collect(),
            produced: 0,
            role: role_in(model.keys.task),
        })
    }

    /// The next token of every row, or `None` when all rows have ended.
    pub fn step(&mut self, model: &Model, cx: &Context) -> Result<Option<Step>> {
        if self.rows.iter().all(|row| row.finished.is_some()) {
            return Ok(None);
        }
        let cx = Context { grad: false, training: false, cache: Some(self.cache.clone()), ..cx.clone() };
        let output = model.forward(&cx, &self.next)?;
        let Some(logits) = output.logits else {
            return Err(Error::Argument("the model gave no logits".into()));
        };
        let logits: Vec<Vec<f32>> = logits.data().squeeze(1)?.to_dtype(DType::F32)?.to_vec2()?;
        self.produced += 1;
        let (mut tokens, mut logprobs) = (Vec::with_capacity(logits.len()), Vec::with_capacity(logits.len()));
        for (mut logits, row) in logits.into_iter().zip(&mut self.rows) {
            if row.finished.is_some() {
                tokens.push(self.options.pad);
                logprobs.push(None);
                continue;
            }
            if let Some(at) = logits.iter().position(|x| x.is_nan()) {
                return Err(Error::Invalid(format!("the logit of token {at} is NaN: the model's weights are broken")));
            }
            // The model's own distribution is told, whatever is made of it.
            let told =
                self.options.logprobs.map(|count| (logprobs::normaliser(&logits), logprobs::top(&logits, count)));
            let raw = told.is_some().then(|| logits.clone());
            self.options.penalties.apply(&row.history, &mut logits);
            let token = self.options.sampling.choose(&logits, &mut self.rng);
            row.history.push(token as i64);
            logprobs.push(told.zip(raw).map(|((total, top), raw)| TokenLogprob::new(token, &raw, total, top)));
            tokens.push(token as i64);
            if self.options.eos.contains(&(token as i64)) {
                row.finished = Some(Finish::Eos);
            } else if self.produced >= self.limit {
                row.finished = Some(Finish::Length);
            }
        }
        self.next = advanced(&self.next, &tokens, self.role)?;
        Ok(Some(Step { tokens, finished: self.rows.iter().map(|row| row.finished).collect(), logprobs }))
    }

    /// Ends rows that have not ended by themselves.
    pub fn finish(&mut self, rows: &[usize]) {
        for &row in rows {
            if let Some(row) = self.rows.get_mut(row) {
                row.finished.get_or_insert(Finish::Stopped);
            }
        }
    }
}
