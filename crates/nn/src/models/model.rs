//! A model: built from its config, run, and asked for its loss.

use super::builder::Builder;
use super::config::Config;
use super::head::TOKEN_LOSSES;
use super::inputs::{Inputs, To};
use super::keys::{Keys, TaskType};
use super::loss::{classification_loss, each_token_loss, span_loss, token_loss};
use super::output::Output;
use super::quantization::Quantization;
use super::source::Source;
use super::{bert, custom, gpt2, llama, t5, unet2d, vit};
use crate::context::Context;
use crate::module::{named_parameters, walk, Args, Item, Node, Value};
use crate::param::Param;
use crate::tensor::Tensor;
use crate::{layers, Error, Result};
use candle_core::{DType, Device};
use serde_json::Value as Json;
use std::sync::Arc;

/// What tuners at the root can surround beside the pass: from its output and what that should be to the loss.
pub const LOSS: &str = "loss";

/// A model: the tree, the config it was made from, and what its architecture calls things.
pub struct Model {
    pub root: Node,
    pub config: Json,
    /// The directory or hub id that it was asked for by; transformers' `name_or_path`.
    pub name: Option<String>,
    pub keys: &'static Keys,
    pub dtype: DType,
    pub device: Device,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({}, {:?})", self.keys.model_type, self.dtype)
    }
}

impl Model {
    /// Builds the architecture that `config` names, with values from `source`.
    ///
    /// Fails with [`Error::UnsupportedModel`] for an architecture or a field that is not implemented.
    pub fn build(
        config: Json,
        source: &dyn Source,
        dtype: DType,
        device: &Device,
        quantization: Option<&Quantization>,
    ) -> Result<Self> {
        let c = Config::new(&config)?;
        let keys = Keys::of(&c)?;
        if quantization.is_some() && !device.is_cpu() {
            return Err(Error::config("quantization", "packed weights run on the CPU only"));
        }
        let quantization = quantization.map(|q| {
            let heads = || {
                keys.output_embedding.iter().chain(&["classifier", "score", "qa_outputs"]).map(|&n| n.into()).collect()
            };
            Quantization { packing: q.packing, skip_modules: Some(q.skip_modules.clone().unwrap_or_else(heads)) }
        });
        let builder = Builder {
            source,
            path: String::new(),
            dtype,
            device: device.clone(),
            deviation: c.float_or("initializer_range", 0.02)?,
            quantization: quantization.as_ref(),
        };
        let root = match keys.model_type {
            "custom" => custom::build(&c, &builder)?,
            "gpt2" => gpt2::build(&c, &builder, keys)?,
            "t5" => Node::new(t5::build(&c, &builder)?),
            "unet2d" => Node::new(unet2d::build(&c, &builder)?),
            "bert" | "roberta" => bert::build(&c, &builder, keys)?,
            "vit" => Node::new(vit::build(&c, &builder)?),
            _ => llama::build(&c, &builder, keys)?,
        };
        drop(builder);
        Ok(Self { root, config, name: None, keys, dtype, device: device.clone() })
    }

    /// One pass. Adds `loss` when labels or a target are given: it is taken of what comes out of the whole tree, so that
    /// tuners around the model have their part in it.
    pub fn forward(&self, cx: &Context, inputs: &Inputs) -> Result<Output> {
        if let (Some(rows), Some(batch)) = (&cx.rows, inputs.batch()) {
            if rows.len() != batch {
                return Err(Error::Argument(format!("adapterNames: {} names for a batch of {batch}", rows.len())));
            }
        }
        let mut inputs = self.placed(inputs)?;
        inputs.check(self.keys.model_type)?;
        if let Some(labels) = inputs.labels.take() {
            inputs.labels = Some(self.apart(&inputs, &labels)?);
        }
        if let Some(embedded) = &inputs.inputs_embeds {
            inputs.inputs_embeds = Some(embedded.to_dtype(self.dtype)?);
        }
        if inputs.loss_scale.is_some() && (self.keys.task != TaskType::CausalLm || inputs.labels.is_none()) {
            return Err(Error::Argument("lossScale: goes with the labels of a causal language model".into()));
        }
        let inputs = &inputs;
        let decoding = cx.cache.as_ref().is_some_and(|c| !c.is_empty());
        let cx = &Context { decoding, ..cx.clone() };
        let shifted;
        let mut args = inputs.args();
        if let (TaskType::Seq2Seq, None, Some(labels)) = (self.keys.task, &inputs.decoder_input_ids, &inputs.labels) {
            shifted = t5::shift_right(&Config::new(&self.config)?, labels)?;
            args = args.with("decoder_input_ids", shifted);
        }
        // A tuner around the model may want its logits.
        let loss_only =
            (inputs.loss_only || inputs.token_losses) && inputs.target.is_none() && !self.root.is_output_read(cx);
        if let (TaskType::CausalLm, true, Some(labels)) = (self.keys.task, loss_only, &inputs.labels) {
            args = args.with("labels", Value::Ints(labels.clone()));
            if inputs.token_losses {
                args = args.with(TOKEN_LOSSES, Value::None);
            }
            if let Some(scale) = &inputs.loss_scale {
                args = args.with("loss_scale", scale.clone());
            }
        }
        let cx = &Context { inputs: Arc::new(inputs.named(To::Tuners)), ..cx.clone() };
        let value = self.root.call(cx, args)?;
        let take = |name: &str| match value.field(name) {
            Some(Value::Tensor(t)) => Some(t.clone()),
            _ => None,
        };
        let mut output = Output {
            logits: take("logits"),
            start_logits: take("start_logits"),
            end_logits: take("end_logits"),
            last_hidden_state: take("last_hidden_state"),
            sample: take("sample"),
            loss: take("loss"),
            token_losses: None,
            penalty: None,
        };
        let wanted = inputs.named(To::Loss);
        if inputs.token_losses {
            output.token_losses = Some(self.token_losses(cx, value, inputs)?);
            return Ok(output);
        }
        if !wanted.is_empty() {
            let args = Args { positional: vec![value], named: wanted };
            if let Value::Tensor(loss) = self.root.surround(LOSS, cx, args, &|_, args| self.loss(args))? {
                output.loss = Some(loss);
            }
        }
        // The loss of a target is the caller's own in Python.
        if let (Some(loss), None) = (&mut output.loss, &inputs.target) {
            for tuner in &self.root.tuners {
                if let Some(term) = tuner.loss(cx)? {
                    *loss = loss.add(&term.to_dtype(loss.dtype())?)?;
                }
            }
        }
        Ok(output)
    }

    /// The loss of each label by itself, of what came out of the tree: for models of language, with the tuners that surround the loss.
    fn token_losses(&self, cx: &Context, output: Value, inputs: &Inputs) -> Result<Tensor> {
        let (Some(labels), TaskType::CausalLm | TaskType::Seq2Seq) = (&inputs.labels, self.keys.task) else {
            return Err(Error::Argument("the losses of tokens need a model of language, and labels".into()));
        };
        let causal = self.keys.task == TaskType::CausalLm;
        let mut named = inputs.named(To::Loss);
        named.push((TOKEN_LOSSES, Value::None));
        let args = Args { positional: vec![output], named };
        let found = self.root.surround(LOSS, cx, args, &|_, args| {
            let (output, labels) = (args.get(0, "output"), args.ints("labels"));
            match (output.field(TOKEN_LOSSES), output.field("logits"), labels) {
                (Some(losses), ..) => Ok(losses.clone()),
                (None, Some(Value::Tensor(logits)), Some(labels)) => {
                    each_token_loss(logits, labels, causal).map(Into::into)
                }
                _ => Err(Error::Argument("this model gives no logits".into())),
            }
        })?;
        let (batch, seq) = (labels.shape[0], labels.shape[1]);
        match found {
            // Virtual tokens before the sequence have no labels of the caller's.
            Value::Tensor(losses) if losses.rank() == 2 && losses.dim(0) == batch && losses.dim(1) >= seq => {
                let (before, own) = (losses.dim(1) - seq, if causal { seq - 1 } else { seq });
                losses.narrow(1, before, own)
            }
            _ => Err(Error::Argument("the losses of tokens: an adapter here has a loss of its own".into())),
        }
    }

    /// The loss of an output by what it should be, or the one that the pass gave already.
    fn loss(&self, args: &Args) -> Result<Value> {
        let output = args.get(0, "output");
        let field = |name: &str| match output.field(name) {
            Some(Value::Tensor(t)) => Some(t),
            _ => None,
        };
        if let Some(loss) = field("loss") {
            return Ok(loss.clone().into());
        }
        if let Some(target) = args.optional_tensor("target") {
            let main = ["logits", "sample", "last_hidden_state"].into_iter().find_map(field);
            let main = main.ok_or_else(|| Error::Argument("this model has no output to compare".into()))?;
            return Ok(layers::mse(main, target)?.into());
        }
        if let (Some(start), Some(end)) = (field("start_logits"), field("end_logits")) {
            return Ok(match (args.ints("start_positions"), args.ints("end_positions")) {
                (Some(first), Some(last)) => span_loss([start, end], [first, last])?.into(),
                _ => return Err(Error::Argument("startPositions and endPositions: one without the other".into())),
            });
        }
        let Some(logits) = field("logits") else { return Ok(Value::None) };
        let (labels, floats) = (args.ints("labels"), args.optional_tensor("float_labels"));
        let loss = match self.keys.task {
            TaskType::CausalLm | TaskType::Seq2Seq => {
                let labels = labels.ok_or_else(|| Error::Argument("labels: token ids must be integers".into()))?;
                token_loss(logits, labels, args.optional_tensor("loss_scale"), self.keys.task == TaskType::CausalLm)?
            }
            TaskType::TokenClassification => {
                let labels = labels.ok_or_else(|| Error::Argument("labels: class ids must be integers".into()))?;
                token_loss(logits, labels, None, false)?
            }
            _ => {
                let problem = self.config.get("problem_type").and_then(|p| p.as_str());
                classification_loss(logits, labels, floats, problem)?
            }
        };
        Ok(loss.into())
    }

    /// The token that an encoder-decoder's decoding begins with.
    pub(crate) fn start_token(&self) -> Result<i64> {
        t5::start_token(&Config::new(&self.config)?)
    }

    pub fn parameters(&self) -> Vec<(String, &Param)> {
        named_parameters(&self.root)
    }

    /// By any of its names; buffers are found as well.
    pub fn parameter(&self, name: &str) -> Option<Param> {
        let mut found = None;
        walk(&self.root, &mut |path, item| {
            if let (None, Item::Param(p) | Item::Buffer { param: p, .. }, true) = (&found, item, path == name) {
                found = Some(p.clone());
            }
        });
        found
    }
}
