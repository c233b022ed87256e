//! Context-aware prompt tuning: the embeddings of examples, each moved within a small distance.
//!
//! Blau et al. 2024 (arXiv 2410.17222); PEFT's `peft.tuners.cpt`.

use super::encoder::{EncoderTensor, Held, PromptEncoder};
use super::fields::PromptFields;
use super::place::Place;
use super::prompts::before;
use super::size::Size;
use super::word_embeddings::word_embeddings;
use super::PromptLearning;
use crate::config::TunerConfig;
use crate::init::Init;
use candle_core::{DType, Device};
use std::collections::BTreeSet;
use swift_tuners_nn::module::{Args, Ints, Value};
use swift_tuners_nn::ops::compute_dtype;
use swift_tuners_nn::{Array, Context, Error, Model, Param, Result, Tensor};

crate::words! {
    /// How examples count in the loss.
    pub enum LossWeights { None = "none", Decay = "decay" }
}

crate::config! {
    /// `CPTConfig`
    pub struct CptConfig {
        standard: [];
        ..prompt: PromptFields;
        /// Follows from `cptTokenIds`.
        num_virtual_tokens: Option<usize> = None;
        /// The tokens of the examples.
        cpt_token_ids: Option<Vec<usize>> = None;
        /// For Python's collators.
        cpt_mask: Option<Vec<usize>> = None;
        /// What each token is, modulo 4: 1 input template, 2 input, 3 output template, 0 answer; the quotient counts examples.
        cpt_tokens_type_mask: Option<Vec<usize>> = None;
        /// `'decay'`: earlier examples count less in the loss.
        opt_weighted_loss_type: LossWeights = LossWeights::None;
        /// How much less than the next one.
        opt_loss_decay_factor: f64 = 1.;
        /// How far an input's embedding may move, at a width of 2048.
        opt_projection_epsilon: f64 = 0.1;
        /// The same for a template's.
        opt_projection_format_epsilon: f64 = 0.1;
        /// Of no effect, as in Python.
        tokenizer_name_or_path: Option<String> = None;
    }
}

impl CptConfig {
    fn ids(&self) -> Vec<i64> {
        self.cpt_token_ids.as_ref().map_or_else(|| vec![0], |ids| signed(ids))
    }

    fn types(&self) -> Vec<i64> {
        self.cpt_tokens_type_mask.as_ref().map_or_else(|| vec![1; self.ids().len()], |types| signed(types))
    }
}

fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&v| v as i64).collect()
}

/// The kind of tuner.
pub struct Cpt;

impl PromptLearning for Cpt {
    const NAME: &'static str = "CPT";
    const CLASS: &'static str = "CPTConfig";
    const ABOUT: &'static str = "The embeddings of examples before the sequence, each moved within a small distance. Blau et al. 2024 (arXiv 2410.17222).";
    const PLACE: Place = Place::Embeddings;
    const STEPS: bool = true;
    type Config = CptConfig;

    fn fields(config: &CptConfig) -> &PromptFields {
        &config.prompt
    }

    fn count(config: &CptConfig) -> usize {
        config.ids().len()
    }

    fn check(c: &CptConfig) -> Result<()> {
        let count = c.ids().len();
        if count == 0 {
            return Err(Error::config("cpt_token_ids", "there must be one at least"));
        }
        for (name, list) in [("cpt_mask", &c.cpt_mask), ("cpt_tokens_type_mask", &c.cpt_tokens_type_mask)] {
            if list.as_ref().is_some_and(|l| l.len() != count) {
                return Err(Error::config(name, format!("must be as long as cpt_token_ids ({count})")));
            }
        }
        Ok(())
    }

    fn resolve(c: &CptConfig, _: &Size, resolved: &mut TunerConfig) {
        resolved.set("cpt_token_ids", c.ids());
        resolved.set("cpt_mask", c.cpt_mask.clone().unwrap_or_else(|| vec![1; c.ids().len()]));
        resolved.set("cpt_tokens_type_mask", c.types());
    }

    fn encoder(c: &CptConfig, size: &Size, model: &Model, init: &mut Init) -> Result<Box<dyn PromptEncoder>> {
        let shape = [size.tokens, size.width];
        // Both embeddings' constructors draw values that are replaced.
        init.discard(|g| g.embedding(size.tokens, size.width, None))?;
        let words = word_embeddings(model, &c.ids(), "cpt_token_ids")?;
        let embedding = init.param(&shape, move |_| Ok(words.clone()))?;
        embedding.set_requires_grad(false);
        init.discard(|g| g.embedding(size.tokens, size.width, None))?;
        let delta = init.param(&shape, move |_| Ok(Array::zeros(&shape, DType::F32, &Device::Cpu)?))?;
        Ok(Box::new(Examples { config: c.clone(), width: size.width, embedding, delta }))
    }
}

/// `embedding + projected(delta)`
struct Examples {
    config: CptConfig,
    width: usize,
    /// `[tokens, width]`, of the model's words.
    embedding: Param,
    /// `[tokens, width]`
    delta: Param,
}

impl Examples {
    /// How far each token may move.
    fn radii(&self) -> Vec<f64> {
        let scale = (self.width as f64 / 2048.).sqrt();
        let (format, input) = (self.config.opt_projection_format_epsilon, self.config.opt_projection_epsilon);
        let radius = |&kind: &i64| match (kind > 0, kind.rem_euclid(4)) {
            (true, 1 | 3) => format * scale,
            (true, 2) => input * scale,
            _ => 1e-10,
        };
        self.config.types().iter().map(radius).collect()
    }

    /// The rows of `delta` no longer than they may be.
    fn projected(&self, delta: &Array) -> Result<Array> {
        let norms = delta.to_dtype(DType::F64)?.sqr()?.sum(1)?.sqrt()?.to_vec1::<f64>()?;
        let factors: Vec<f64> = norms.iter().zip(self.radii()).map(|(&n, r)| if n > r { r / n } else { 1. }).collect();
        let factors = Array::from_vec(factors, (norms.len(), 1), &Device::Cpu)?.to_dtype(delta.dtype())?;
        Ok(delta.broadcast_mul(&factors.to_device(delta.device())?)?)
    }
}

impl PromptEncoder for Examples {
    fn tensors(&self) -> Vec<EncoderTensor<'_>> {
        vec![
            EncoderTensor::new("embedding.weight", Held::Frozen, &self.embedding),
            EncoderTensor::new("delta_embedding.weight", Held::Invertible, &self.delta),
        ]
    }

    fn tokens(&self, cx: &Context) -> Result<Tensor> {
        let delta = self.delta.value(cx.grad)?;
        let projected: Tensor = self.projected(delta.data())?.into();
        // Gradients go to what may move, past the projection.
        let moves = |&kind: &i64| if kind.rem_euclid(4) == 0 { 0f32 } else { 1. };
        let moves: Vec<f32> = self.config.types().iter().map(moves).collect();
        let moves = Array::from_vec(moves, (delta.dim(0), 1), &Device::Cpu)?.to_dtype(delta.dtype())?;
        let change = delta.sub(&delta.detach())?.mul(&moves.to_device(delta.device())?.into())?;
        self.embedding.value(false)?.add(&projected)?.add(&change)
    }

    fn inverted(&self, tokens: &Array) -> Result<Option<Vec<Array>>> {
        let words = self.embedding.array()?;
        Ok(Some(vec![words.clone(), (tokens.to_dtype(words.dtype())? - words)?]))
    }

    fn constrain(&self) -> Result<()> {
        self.delta.set(&self.projected(&self.delta.array()?)?)
    }

    fn has_loss(&self) -> bool {
        true
    }

    fn loss_items(&self, cx: &Context, labels: &Ints) -> Result<usize> {
        Ok(self.answers(cx, labels)?.at.len())
    }

    /// Cross-entropy over the answers, those of earlier examples weighted less.
    fn loss(&self, cx: &Context, args: &Args) -> Result<Tensor> {
        let (Some(labels), Some(Value::Tensor(logits))) = (args.ints("labels"), args.get(0, "output").field("logits"))
        else {
            return Err(Error::Argument("labels: missing, or the model gave no logits".into()));
        };
        let Answers { at, wanted, weights, length } = self.answers(cx, labels)?;
        let count = at.len();
        if count == 0 {
            return Err(Error::Argument("labels: no position counts".into()));
        }
        let device = logits.device();
        let flat = logits.reshape((labels.shape[0] * length, logits.last_dim()))?;
        let rows =
            flat.index_select(&Array::from_vec(at, count, device)?, 0)?.to_dtype(compute_dtype(logits.dtype()))?;
        let chosen = rows.log_softmax(-1)?.gather(&Array::from_vec(wanted, (count, 1), device)?, 1)?.squeeze(1)?;
        let weights = Array::from_vec(weights, count, device)?.to_dtype(chosen.dtype())?;
        chosen.mul(&weights.into())?.mean(None, false)?.neg()
    }
}

/// The tokens that count in a loss.
struct Answers {
    /// Positions that predict them, in the flattened batch.
    at: Vec<u32>,
    wanted: Vec<u32>,
    weights: Vec<f64>,
    /// Positions of a row.
    length: usize,
}

impl Examples {
    fn answers(&self, cx: &Context, labels: &Ints) -> Result<Answers> {
        let (ids, types) = (self.config.ids(), self.config.types());
        let &[batch, seq] = &labels.shape[..] else {
            return Err(Error::Argument(format!("labels: expected [batch, seq], found {:?}", labels.shape)));
        };
        let answer = Ints::new(vec![batch, seq], vec![4; batch * seq])?;
        let given = cx.input("input_type_mask").unwrap_or(&answer);
        if given.shape != labels.shape {
            let (expected, actual) = (labels.shape.clone(), given.shape.clone());
            return Err(Error::Shape { path: "inputTypeMask".into(), expected, actual });
        }
        let shift = types.iter().copied().max().unwrap_or(0);
        let length = ids.len() + seq;
        let labels = joined(&ids, labels)?;
        let kinds = joined(
            &types,
            &Ints::new(given.shape.clone(), given.data.iter().map(|&t| if t > 0 { t + shift } else { t }).collect())?,
        )?;
        let counts = |kind: i64| kind > 0 && kind % 4 == 0;
        // Position i predicts label i + 1.
        let (mut at, mut wanted, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..batch {
            let range = row * length + 1..(row + 1) * length;
            let examples: BTreeSet<i64> = kinds.data[range.clone()].iter().copied().filter(|&k| counts(k)).collect();
            for i in range {
                let (label, kind) = (labels.data[i], kinds.data[i]);
                if label == -100 || !counts(kind) {
                    continue;
                }
                let later = examples.range(kind + 1..).count() as i32;
                let decays = self.config.opt_weighted_loss_type == LossWeights::Decay;
                at.push((i - 1) as u32);
                wanted.push(u32::try_from(label).map_err(|_| Error::Argument(format!("labels: {label} is no token")))?);
                weights.push(if decays { self.config.opt_loss_decay_factor.powi(later) } else { 1. });
            }
        }
        Ok(Answers { at, wanted, weights, length })
    }
}

/// `[batch, seq]` behind the same `first` in each row.
fn joined(first: &[i64], rest: &Ints) -> Result<Ints> {
    let mut out = before(rest, first.len(), 0)?;
    let length = out.shape[1];
    let mut data = out.data.to_vec();
    data.chunks_mut(length).for_each(|row| row[..first.len()].copy_from_slice(first));
    out = Ints::new(out.shape, data)?;
    Ok(out)
}
