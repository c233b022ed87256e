//! Autoregressive decoding with a key-value cache.

use crate::context::{Context, KvCache};
use crate::init::Rng;
use crate::models::{Inputs, Model, TaskType};
use crate::module::Ints;
use crate::{Error, Result};
use candle_core::DType;
use std::sync::Arc;

/// How the next token is chosen and when to stop.
#[derive(Clone, Debug)]
pub struct Options {
    pub max_new_tokens: usize,
    /// 0 is greedy.
    pub temperature: f64,
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    pub seed: u64,
    pub eos: Vec<i64>,
    /// What finished rows are filled with while others go on.
    pub pad: i64,
}

/// A decoding in progress: one call of [`Generation::step`] gives one token per row.
pub struct Generation {
    options: Options,
    cache: Arc<KvCache>,
    rng: Rng,
    /// Tokens that the next pass takes in, `[batch, n]`.
    pending: Vec<Vec<i64>>,
    mask: Vec<Vec<i64>>,
    finished: Vec<bool>,
    produced: usize,
}

impl Generation {
    /// Starts from prompts `[batch, seq]`; with `mask`, padded positions (on the left) take no part.
    pub fn new(model: &Model, input_ids: &Ints, mask: Option<&Ints>, options: Options) -> Result<Self> {
        if model.keys.task != TaskType::CausalLm {
            return Err(Error::UnsupportedModel(format!("{} cannot generate text", model.keys.architecture)));
        }
        let &[batch, seq] = &input_ids.shape[..] else {
            return Err(Error::Argument(format!("inputIds: expected [batch, seq], found {:?}", input_ids.shape)));
        };
        if batch == 0 || seq == 0 {
            return Err(Error::Argument("inputIds: generation needs at least one token per row".into()));
        }
        let mask = match mask {
            Some(m) if m.shape == input_ids.shape => m.data.chunks(seq).map(<[i64]>::to_vec).collect(),
            Some(m) => {
                return Err(Error::Shape {
                    path: "attentionMask".into(),
                    expected: vec![batch, seq],
                    actual: m.shape.clone(),
                })
            }
            None => vec![vec![1; seq]; batch],
        };
        if mask.iter().any(|row: &Vec<i64>| row.last() == Some(&0)) {
            return Err(Error::Argument("attentionMask: prompts must be padded on the left for generation".into()));
        }
        Ok(Self {
            rng: Rng::new(options.seed),
            options,
            cache: Arc::default(),
            pending: input_ids.data.chunks(seq).map(<[i64]>::to_vec).collect(),
            mask,
            finished: vec![false; batch],
            produced: 0,
        })
    }

    /// The next token of every row, or `None` when all rows have ended.
    pub fn step(&mut self, model: &Model, cx: &Context) -> Result<Option<Vec<i64>>> {
        if self.produced >= self.options.max_new_tokens || self.finished.iter().all(|&f| f) {
            return Ok(None);
        }
        let (batch, seq) = (self.pending.len(), self.pending[0].len());
        let total = self.mask[0].len();
        let cx = Context { grad: false, training: false, cache: Some(self.cache.clone()), ..cx.clone() };
        // Positions count the tokens that are not padding, as transformers' generate does.
        let positions = self.mask.iter().flat_map(|row| {
            let mut n = 0;
            let all: Vec<i64> = row
                .iter()
                .map(|&m| {
                    n += m;
                    (n - 1).max(0)
                })
                .collect();
            all[total - seq..].to_vec()
        });
        let inputs = Inputs {
            input_ids: Some(Ints::new(vec![batch, seq], self.pending.concat())?),
            attention_mask: Some(Ints::new(vec![batch, total], self.mask.concat())?),
            position_ids: Some(Ints::new(vec![batch, seq], positions.collect())?),
            last_logits_only: true,
            ..Inputs::default()
        };
        let output = model.forward(&cx, &inputs)?;
        let Some(logits) = output.logits else {
            return Err(Error::Argument("the model gave no logits".into()));
        };
        let rows: Vec<Vec<f32>> = logits.data().squeeze(1)?.to_dtype(DType::F32)?.to_vec2()?;
        let mut tokens = Vec::with_capacity(batch);
        for (row, finished) in rows.iter().zip(&mut self.finished) {
            let token = if *finished { self.options.pad } else { choose(row, &self.options, &mut self.rng) };
            *finished |= self.options.eos.contains(&token);
            tokens.push(token);
        }
        self.pending = tokens.iter().map(|&t| vec![t]).collect();
        self.mask.iter_mut().for_each(|row| row.push(1));
        self.produced += 1;
        Ok(Some(tokens))
    }
}

fn choose(logits: &[f32], options: &Options, rng: &mut Rng) -> i64 {
    if options.temperature <= 0. {
        return argmax(logits) as i64;
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_unstable_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order.truncate(options.top_k.unwrap_or(usize::MAX).max(1));
    let top = f64::from(logits[order[0]]);
    let weights: Vec<f64> = order.iter().map(|&i| ((f64::from(logits[i]) - top) / options.temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut kept = weights.len();
    if let Some(p) = options.top_p {
        let mut sum = 0.;
        for (i, w) in weights.iter().enumerate() {
            sum += w / total;
            if sum >= p {
                kept = i + 1;
                break;
            }
        }
    }
    let mut at = rng.uniform() * weights[..kept].iter().sum::<f64>();
    for (i, w) in weights[..kept].iter().enumerate() {
        at -= w;
        if at <= 0. {
            return order[i] as i64;
        }
    }
    order[kept - 1] as i64
}

/// The first of the largest values, as `torch.argmax` on the CPU gives it.
fn argmax(values: &[f32]) -> usize {
    values.iter().enumerate().fold(0, |best, (i, &v)| if v > values[best] { i } else { best })
}
