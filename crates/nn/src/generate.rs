//! Autoregressive decoding with a key-value cache.

use crate::context::Context;
use crate::init::Rng;
use crate::kv_cache::KvCache;
use crate::models::{Decoding, InputKind, Inputs, Model, TaskType};
use crate::module::{Ints, Value};
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
    /// What the next pass takes in: the prompts, then one token per row.
    next: Inputs,
    finished: Vec<bool>,
    produced: usize,
    role: Role,
}

impl Generation {
    /// Starts from the prompts `input_ids [batch, seq]`, in decoders padded on the left where `attention_mask` says so, and what
    /// goes with them. [`crate::models::INPUTS`] says what becomes of each input: `position_ids` count on by one in each row, by
    /// default from the number of tokens that are no padding. What decoding does not take is refused.
    pub fn new(model: &Model, inputs: Inputs, options: Options) -> Result<Self> {
        let next = match model.keys.task {
            TaskType::CausalLm => prompt(inputs)?,
            TaskType::Seq2Seq => beginning(inputs, model.start_token()?)?,
            _ => return Err(Error::UnsupportedModel(format!("{} cannot generate text", model.keys.architecture))),
        };
        let batch = next.input_ids.as_ref().map_or(0, |ids| ids.shape[0]);
        Ok(Self {
            rng: Rng::new(options.seed),
            options,
            cache: Arc::default(),
            next,
            finished: vec![false; batch],
            produced: 0,
            role: role_in(model.keys.task),
        })
    }

    /// The next token of every row, or `None` when all rows have ended.
    pub fn step(&mut self, model: &Model, cx: &Context) -> Result<Option<Vec<i64>>> {
        if self.produced >= self.options.max_new_tokens || self.finished.iter().all(|&f| f) {
            return Ok(None);
        }
        let cx = Context { grad: false, training: false, cache: Some(self.cache.clone()), ..cx.clone() };
        let output = model.forward(&cx, &self.next)?;
        let Some(logits) = output.logits else {
            return Err(Error::Argument("the model gave no logits".into()));
        };
        let rows: Vec<Vec<f32>> = logits.data().squeeze(1)?.to_dtype(DType::F32)?.to_vec2()?;
        let mut tokens = Vec::with_capacity(rows.len());
        for (row, finished) in rows.iter().zip(&mut self.finished) {
            let token = if *finished { self.options.pad } else { choose(row, &self.options, &mut self.rng) };
            *finished |= self.options.eos.contains(&token);
            tokens.push(token);
        }
        self.next = advanced(&self.next, &tokens, self.role)?;
        self.produced += 1;
        Ok(Some(tokens))
    }
}

/// What decoding does with an input.
type Role = fn(&InputKind) -> Decoding;

fn role_in(task: TaskType) -> Role {
    match task {
        TaskType::Seq2Seq => |kind| kind.seq2seq,
        _ => |kind| kind.decoder,
    }
}

/// Refuses what decoding does not take.
fn check(inputs: &Inputs, role: Role) -> Result<()> {
    match inputs.given().iter().find(|(kind, _)| role(kind) == Decoding::Refused) {
        Some((kind, _)) => Err(Error::Argument(format!("{}: generate does not take this input", kind.camel))),
        None => Ok(()),
    }
}

fn prompts(inputs: &Inputs) -> Result<(&Ints, usize, usize)> {
    let ids = inputs.input_ids.as_ref().ok_or_else(|| Error::Argument("generate needs inputIds".into()))?;
    let &[batch, seq] = &ids.shape[..] else {
        return Err(Error::Argument(format!("inputIds: expected [batch, seq], found {:?}", ids.shape)));
    };
    if batch == 0 || seq == 0 {
        return Err(Error::Argument("inputIds: generation needs at least one token per row".into()));
    }
    Ok((ids, batch, seq))
}

/// The inputs of an encoder-decoder's first pass.
fn beginning(inputs: Inputs, start: i64) -> Result<Inputs> {
    check(&inputs, role_in(TaskType::Seq2Seq))?;
    let (_, batch, _) = prompts(&inputs)?;
    let begun = match inputs.decoder_input_ids.clone() {
        Some(given) => given,
        None => Ints::new(vec![batch, 1], vec![start; batch])?,
    };
    Ok(Inputs { decoder_input_ids: Some(begun), last_logits_only: true, ..inputs })
}

/// The inputs of a decoder's first pass.
fn prompt(inputs: Inputs) -> Result<Inputs> {
    check(&inputs, role_in(TaskType::CausalLm))?;
    let (input_ids, batch, seq) = prompts(&inputs)?;
    let mask = match &inputs.attention_mask {
        Some(m) if m.shape == input_ids.shape => m.clone(),
        Some(m) => {
            return Err(Error::Shape {
                path: "attentionMask".into(),
                expected: vec![batch, seq],
                actual: m.shape.clone(),
            })
        }
        None => Ints::new(vec![batch, seq], vec![1; batch * seq])?,
    };
    if mask.data.chunks(seq).any(|row| row.last() == Some(&0)) {
        return Err(Error::Argument("attentionMask: prompts must be padded on the left for generation".into()));
    }
    let position_ids = match &inputs.position_ids {
        Some(given) => given.clone(),
        None => Ints::new(vec![batch, seq], mask.data.chunks(seq).flat_map(counted).collect())?,
    };
    Ok(Inputs { attention_mask: Some(mask), position_ids: Some(position_ids), last_logits_only: true, ..inputs })
}

/// The positions of a row: they count the tokens that are not padding, as transformers' generate does.
fn counted(mask: &[i64]) -> Vec<i64> {
    let mut tokens = 0;
    let position = |&m: &i64| {
        tokens += i64::from(m != 0);
        (tokens - 1).max(0)
    };
    mask.iter().map(position).collect()
}

/// The inputs of the pass over `tokens`, one per row, after the pass over `last`.
fn advanced(last: &Inputs, tokens: &[i64], role: Role) -> Result<Inputs> {
    let mut next = Inputs { last_logits_only: true, ..Inputs::default() };
    for (kind, value) in last.given() {
        let value = match (role(kind), value) {
            (Decoding::Tokens, _) => Value::Ints(Ints::new(vec![tokens.len(), 1], tokens.to_vec())?),
            (Decoding::Mask, Value::Ints(mask)) => {
                let seq = mask.shape[1];
                let longer = mask.data.chunks(seq).flat_map(|row| row.iter().copied().chain([1])).collect();
                Value::Ints(Ints::new(vec![tokens.len(), seq + 1], longer)?)
            }
            (Decoding::Counts, Value::Ints(p)) => Value::Ints(ends(&p, |end| end + 1)?),
            (Decoding::Repeats, Value::Ints(t)) => Value::Ints(ends(&t, |end| end)?),
            (_, value) => value,
        };
        next.put(kind.name, value);
    }
    Ok(next)
}

/// `[.., seq]` → `[.., 1]`: what follows the last value of each row.
fn ends(rows: &Ints, follow: impl Fn(i64) -> i64) -> Result<Ints> {
    let mut shape = rows.shape.clone();
    let seq = shape.last_mut().map_or(1, |seq| std::mem::replace(seq, 1));
    Ints::new(shape, rows.data.chunks(seq.max(1)).filter_map(<[i64]>::last).map(|&end| follow(end)).collect())
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
