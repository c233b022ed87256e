//! Model architectures, one file each, and the tables that say where things sit per `model_type`.

mod bert;
mod config;
mod custom;
mod experts;
mod gpt2;
mod keys;
mod llama;
mod rope_config;
mod t5;
mod unet2d;
mod vit;

pub(crate) use experts::split as split_experts;
pub use keys::{Keys, TaskType};
pub use llama::GROUP_SIZE_RATIO;

use crate::checkpoint::source::Source;
use crate::context::Context;
use crate::module::{all_parameters, named_parameters, Args, Ints, Node, Value, Weights};
use crate::ops::{Activation, Conv2dShape, WeightLayout};
use crate::param::Param;
use crate::quantized::Packing;
use crate::tensor::{Array, Tensor};
use crate::{layers, Error, Result};
use candle_core::{DType, Device};
use config::Config;
use serde_json::Value as Json;

/// How a fresh parameter starts.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    Normal(f64),
    Zeros,
    Ones,
}

/// Makes modules at a path, with values from a checkpoint or from a generator.
pub(crate) struct Builder<'a> {
    source: &'a dyn Source,
    path: String,
    dtype: DType,
    device: Device,
    /// `initializer_range`
    deviation: f64,
    quantization: Option<&'a Quantization>,
}

/// Which linear layers of a model are kept in few bits.
#[derive(Clone, Debug)]
pub struct Quantization {
    pub packing: Packing,
    /// Names or paths of modules that stay as they are, with all below them. Absent: the heads, as transformers leaves them.
    pub skip_modules: Option<Vec<String>>,
}

impl Quantization {
    fn skips(&self, path: &str) -> bool {
        let path = format!(".{path}.");
        self.skip_modules.iter().flatten().any(|name| path.contains(&format!(".{name}.")))
    }
}

impl<'a> Builder<'a> {
    fn at(&self, name: impl std::fmt::Display) -> Builder<'a> {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Builder { path, device: self.device.clone(), ..*self }
    }

    /// Whether the checkpoint has a tensor of that name here.
    fn has(&self, name: &str) -> bool {
        self.source.has(&if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) })
    }

    fn param(&self, name: &str, shape: &[usize], init: Init) -> Result<Param> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        if let Some(make) = self.source.deferred(&path, shape)? {
            return Ok(Param::pending(shape, self.dtype, &self.device, true, make));
        }
        let array = self.source.get(&path, shape, init)?;
        Ok(Param::new(array.to_dtype(self.dtype)?.to_device(&self.device)?, true))
    }

    fn linear(&self, inp: usize, out: usize, bias: bool) -> Result<Node> {
        let weight = self.param("weight", &[out, inp], Init::Normal(self.deviation))?;
        if let Some(quantization) = self.quantization.filter(|q| !q.skips(&self.path)) {
            weight.pack(quantization.packing)?;
        }
        let bias = if bias { Some(self.param("bias", &[out], Init::Zeros)?) } else { None };
        Ok(Node::new(layers::Linear { weight, bias, layout: crate::ops::WeightLayout::OutIn }))
    }

    fn conv1d(&self, inp: usize, out: usize) -> Result<Node> {
        if self.quantization.is_some_and(|q| !q.skips(&self.path)) {
            let message = format!("{}: weights that lie [in, out] are not packed; put it in skipModules", self.path);
            return Err(Error::config("quantization", message));
        }
        let weight = self.param("weight", &[inp, out], Init::Normal(self.deviation))?;
        let bias = Some(self.param("bias", &[out], Init::Zeros)?);
        Ok(Node::new(layers::Linear { weight, bias, layout: crate::ops::WeightLayout::InOut }))
    }

    fn embedding(&self, rows: usize, width: usize) -> Result<(Node, Param)> {
        let weight = self.param("weight", &[rows, width], Init::Normal(self.deviation))?;
        Ok((Node::new(layers::Embedding { weight: weight.clone(), scale: 1. }), weight))
    }

    fn rms_norm(&self, width: usize, eps: f64) -> Result<Node> {
        Ok(Node::new(layers::RmsNorm { weight: self.param("weight", &[width], Init::Ones)?, eps, offset: 0. }))
    }

    fn conv2d(&self, inp: usize, out: usize, kernel: usize, bias: bool, shape: Conv2dShape) -> Result<Node> {
        let size = [out, inp / shape.groups.max(1), kernel, kernel];
        let weight = self.param("weight", &size, Init::Normal(self.deviation))?;
        let bias = if bias { Some(self.param("bias", &[out], Init::Zeros)?) } else { None };
        Ok(Node::new(layers::Conv2d { weight, bias, shape }))
    }

    fn group_norm(&self, groups: usize, channels: usize, eps: f64) -> Result<Node> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::config(
                "config.json: norm_num_groups",
                format!("{groups} groups do not divide {channels} channels"),
            ));
        }
        let weight = self.param("weight", &[channels], Init::Ones)?;
        Ok(Node::new(layers::GroupNorm { weight, bias: self.param("bias", &[channels], Init::Zeros)?, groups, eps }))
    }

    fn layer_norm(&self, width: usize, eps: f64) -> Result<Node> {
        let weight = self.param("weight", &[width], Init::Ones)?;
        Ok(Node::new(layers::LayerNorm { weight, bias: self.param("bias", &[width], Init::Zeros)?, eps }))
    }
}

fn dropout(rate: f64) -> Node {
    Node::new(layers::Dropout { rate })
}

fn activation(act: Activation) -> Node {
    Node::new(layers::Act(act))
}

/// What a model is called with; an architecture refuses what it does not take.
#[derive(Clone, Default)]
pub struct Inputs {
    pub input_ids: Option<Ints>,
    pub inputs_embeds: Option<Tensor>,
    pub attention_mask: Option<Ints>,
    pub token_type_ids: Option<Ints>,
    pub position_ids: Option<Ints>,
    pub pixel_values: Option<Tensor>,
    pub decoder_input_ids: Option<Ints>,
    pub decoder_attention_mask: Option<Ints>,
    /// A noisy image or latent, `[batch, channels, height, width]`.
    pub sample: Option<Tensor>,
    /// One step for all rows, or one per row.
    pub timestep: Option<Tensor>,
    pub encoder_hidden_states: Option<Tensor>,
    /// The one input of a model made of modules.
    pub input: Option<Tensor>,
    /// ReFT: `[batch, interventions, positions]`.
    pub intervention_locations: Option<Ints>,
    /// Class ids or token ids; floats for regression.
    pub labels: Option<Ints>,
    pub float_labels: Option<Tensor>,
    pub target: Option<Tensor>,
    /// Generation needs the last position's logits only.
    pub last_logits_only: bool,
    /// The loss is all that is wanted: a decoder then never holds its logits as a whole.
    pub loss_only: bool,
}

impl Inputs {
    /// The number of rows, by the first of the main inputs that is there.
    fn batch(&self) -> Option<usize> {
        let tensors = [&self.inputs_embeds, &self.pixel_values, &self.sample, &self.input];
        let shapes = self.input_ids.iter().map(|i| i.shape.as_slice());
        shapes.chain(tensors.into_iter().flatten().map(Tensor::dims)).next()?.first().copied()
    }

    fn args(&self) -> Args {
        let mut named = Vec::new();
        let ints = [
            ("input_ids", &self.input_ids),
            ("attention_mask", &self.attention_mask),
            ("token_type_ids", &self.token_type_ids),
            ("position_ids", &self.position_ids),
            ("decoder_input_ids", &self.decoder_input_ids),
            ("decoder_attention_mask", &self.decoder_attention_mask),
        ];
        for (name, value) in ints {
            if let Some(value) = value {
                named.push((name, Value::Ints(value.clone())));
            }
        }
        let tensors = [
            ("inputs_embeds", &self.inputs_embeds),
            ("pixel_values", &self.pixel_values),
            ("sample", &self.sample),
            ("timestep", &self.timestep),
            ("encoder_hidden_states", &self.encoder_hidden_states),
            ("input", &self.input),
        ];
        for (name, value) in tensors {
            if let Some(value) = value {
                named.push((name, Value::Tensor(value.clone())));
            }
        }
        if self.last_logits_only {
            named.push(("logits_to_keep", Value::None));
        }
        Args { positional: Vec::new(), named }
    }
}

/// What a pass gives; which fields there are depends on the architecture and the inputs.
#[derive(Clone, Default)]
pub struct Output {
    pub logits: Option<Tensor>,
    pub last_hidden_state: Option<Tensor>,
    /// What an image model predicts, in the shape of its input.
    pub sample: Option<Tensor>,
    pub loss: Option<Tensor>,
}

impl Output {
    /// The output that a loss is taken of.
    pub fn main(&self) -> Result<&Tensor> {
        let main = self.logits.as_ref().or(self.sample.as_ref()).or(self.last_hidden_state.as_ref());
        main.ok_or_else(|| Error::Argument("this model has no output to compare".into()))
    }
}

/// A model: the tree, the config it was made from, and what its architecture calls things.
pub struct Model {
    pub root: Node,
    pub config: Json,
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
            let heads = || keys.output_embedding.iter().chain(&["classifier", "score"]).map(|&n| n.into()).collect();
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
            "gpt2" => Node::new(gpt2::build(&c, &builder)?),
            "t5" => Node::new(t5::build(&c, &builder)?),
            "unet2d" => Node::new(unet2d::build(&c, &builder)?),
            "bert" | "roberta" => bert::build(&c, &builder, keys)?,
            "vit" => Node::new(vit::build(&c, &builder)?),
            _ => Node::new(llama::build(&c, &builder)?),
        };
        drop(builder);
        Ok(Self { root, config, keys, dtype, device: device.clone() })
    }

    /// One pass. Adds `loss` when labels or a target are given: it is taken of what comes out of the whole tree, so that
    /// tuners around the model have their part in it.
    pub fn forward(&self, cx: &Context, inputs: &Inputs) -> Result<Output> {
        if let (Some(rows), Some(batch)) = (&cx.rows, inputs.batch()) {
            if rows.len() != batch {
                return Err(Error::Argument(format!("adapterNames: {} names for a batch of {batch}", rows.len())));
            }
        }
        let shifted;
        let mut args = inputs.args();
        if let (TaskType::Seq2Seq, None, Some(labels)) = (self.keys.task, &inputs.decoder_input_ids, &inputs.labels) {
            shifted = t5::shift_right(&Config::new(&self.config)?, labels)?;
            args = args.with("decoder_input_ids", shifted);
        }
        // A tuner around the model may want its logits.
        let loss_only = inputs.loss_only && self.root.tuners.is_empty() && inputs.target.is_none();
        if let (TaskType::CausalLm, true, Some(labels)) = (self.keys.task, loss_only, &inputs.labels) {
            args = args.with("labels", Value::Ints(labels.clone()));
        }
        let value = match &inputs.intervention_locations {
            Some(locations) => {
                let cx = Context { locations: Some(locations.clone()), ..cx.clone() };
                self.root.call(&cx, args)?
            }
            None => self.root.call(cx, args)?,
        };
        let take = |name: &str| match value.field(name) {
            Some(Value::Tensor(t)) => Some(t.clone()),
            _ => None,
        };
        let mut output = Output {
            logits: take("logits"),
            last_hidden_state: take("last_hidden_state"),
            sample: take("sample"),
            loss: take("loss"),
        };
        if output.loss.is_none() {
            output.loss = self.loss(&output, inputs)?;
        }
        Ok(output)
    }

    fn loss(&self, output: &Output, inputs: &Inputs) -> Result<Option<Tensor>> {
        if let Some(target) = &inputs.target {
            return Ok(Some(layers::mse(output.main()?, target)?));
        }
        let (Some(logits), true) = (&output.logits, inputs.labels.is_some() || inputs.float_labels.is_some()) else {
            return Ok(None);
        };
        match self.keys.task {
            TaskType::CausalLm | TaskType::Seq2Seq => {
                let Some(labels) = &inputs.labels else {
                    return Err(Error::Argument("labels: token ids must be integers".into()));
                };
                let shift = self.keys.task == TaskType::CausalLm;
                Ok(Some(token_loss(logits, labels, shift)?))
            }
            _ => {
                let problem = self.config.get("problem_type").and_then(|p| p.as_str());
                classification_loss(logits, inputs.labels.as_ref(), inputs.float_labels.as_ref(), problem).map(Some)
            }
        }
    }

    pub fn parameters(&self) -> Vec<(String, &Param)> {
        named_parameters(&self.root)
    }

    /// By any of its names.
    pub fn parameter(&self, name: &str) -> Option<Param> {
        all_parameters(&self.root).into_iter().find(|(n, _)| n == name).map(|(_, p)| p.clone())
    }
}

/// The loss of classification heads by `problem_type`: mean cross-entropy, mean squared error or binary cross-entropy.
fn classification_loss(
    logits: &Tensor,
    ints: Option<&Ints>,
    floats: Option<&Tensor>,
    problem: Option<&str>,
) -> Result<Tensor> {
    let classes = logits.last_dim();
    let problem = match problem {
        Some(p) => p,
        None if classes == 1 => "regression",
        None if ints.is_some() => "single_label_classification",
        None => "multi_label_classification",
    };
    let as_floats = || -> Result<Tensor> {
        match (floats, ints) {
            (Some(t), _) => t.to_dtype(logits.dtype()),
            (None, Some(i)) => {
                let values: Vec<f64> = i.data.iter().map(|&v| v as f64).collect();
                let array = Array::from_vec(values, i.shape.clone(), &Device::Cpu)?;
                Ok(array.to_dtype(logits.dtype())?.to_device(logits.device())?.into())
            }
            (None, None) => Err(Error::Argument("labels are missing".into())),
        }
    };
    Ok(match problem {
        "regression" => layers::mse(logits, &as_floats()?.reshape(logits.dims())?)?,
        "single_label_classification" => match ints {
            Some(labels) => crate::ops::cross_entropy(logits, &labels.data)?,
            None => return Err(Error::Argument("labels: class ids must be integers".into())),
        },
        "multi_label_classification" => {
            // max(x, 0) − x y + log(1 + e^-|x|)
            let y = as_floats()?.reshape(logits.dims())?;
            let tail = logits.abs()?.neg()?.exp()?.affine(1., 1.)?.log()?;
            logits.relu()?.sub(&logits.mul(&y)?)?.add(&tail)?.mean(None, false)?
        }
        other => return Err(Error::UnsupportedModel(format!("problem_type {:?}", crate::error::printable(other, 60)))),
    })
}

/// Token ids or embeddings, and the batch and sequence sizes.
pub(crate) fn token_shape(args: &Args) -> Result<(usize, usize)> {
    match (args.ints("input_ids"), args.optional_tensor("inputs_embeds")) {
        (Some(ids), None) => match ids.shape[..] {
            [batch, seq] if seq > 0 && batch > 0 => Ok((batch, seq)),
            _ => Err(Error::Argument(format!("inputIds: expected [batch, seq], found {:?}", ids.shape))),
        },
        (None, Some(x)) if x.rank() == 3 => Ok((x.dim(0), x.dim(1))),
        (None, Some(x)) => {
            Err(Error::Argument(format!("inputsEmbeds: expected [batch, seq, hidden], found {:?}", x.dims())))
        }
        (Some(_), Some(_)) => Err(Error::Argument("give inputIds or inputsEmbeds, not both".into())),
        (None, None) => Err(Error::Argument("this model needs inputIds or inputsEmbeds".into())),
    }
}

/// The padding mask over `keys` positions, checked against the batch.
pub(crate) fn padding_mask(args: &Args, batch: usize, keys: usize, device: &Device) -> Result<Option<Array>> {
    let Some(mask) = args.ints("attention_mask") else {
        return Ok(None);
    };
    if mask.shape != [batch, keys] {
        return Err(Error::Shape {
            path: "attentionMask".into(),
            expected: vec![batch, keys],
            actual: mask.shape.clone(),
        });
    }
    crate::ops::Mask::padding(&mask.data, batch, device)
}

/// Position ids given by the caller as `[rows, seq]`, or `start..start + seq`.
pub(crate) fn positions(args: &Args, batch: usize, seq: usize, start: usize) -> Result<Ints> {
    match args.ints("position_ids") {
        Some(p) if p.shape == [seq] => Ints::new(vec![1, seq], p.data.to_vec()),
        Some(p) if p.shape == [1, seq] || p.shape == [batch, seq] => Ok(p.clone()),
        Some(p) => {
            Err(Error::Shape { path: "positionIds".into(), expected: vec![batch, seq], actual: p.shape.clone() })
        }
        None => Ints::new(vec![1, seq], (start as i64..(start + seq) as i64).collect()),
    }
}

/// Mean cross-entropy over tokens. `shift`: position i predicts label i + 1, as causal language models do.
fn token_loss(logits: &Tensor, labels: &Ints, shift: bool) -> Result<Tensor> {
    check_labels(logits, labels)?;
    if shift {
        crate::ops::cross_entropy(logits, &shifted(labels))
    } else {
        crate::ops::cross_entropy(logits, &labels.data)
    }
}

fn check_labels(x: &Tensor, labels: &Ints) -> Result<()> {
    if x.dims()[..2] != labels.shape[..] {
        return Err(Error::Shape {
            path: "labels".into(),
            expected: x.dims()[..2].to_vec(),
            actual: labels.shape.clone(),
        });
    }
    Ok(())
}

fn shifted(labels: &Ints) -> Vec<i64> {
    let seq = labels.shape[1];
    labels.data.chunks(seq).flat_map(|row| row[1..].iter().copied().chain([-100])).collect()
}

/// What a decoder's head gives for `hidden [batch, seq, width]`: the logits, or the loss alone where that is what is asked for
/// and nothing is attached to the head.
fn decoder_output(cx: &Context, head: &Node, hidden: &Tensor, args: &Args) -> Result<Value> {
    if let (Some(labels), true) = (args.ints("labels"), head.tuners.is_empty()) {
        if let Some(Weights::Linear { weight, bias: None, layout: WeightLayout::OutIn }) = head.module().weights() {
            let weight = weight.weight(cx.grad)?;
            check_labels(hidden, labels)?;
            cx.check_cancelled()?;
            if let Some(loss) = crate::ops::linear_cross_entropy(hidden, &weight, &shifted(labels))? {
                return Ok(Value::Map(vec![("loss", loss.into())]));
            }
        }
    }
    Ok(logits_output(head.apply(cx, hidden)?)) // [batch, seq, vocab]
}

/// `{ logits }`, as `transformers` names what a head gives.
fn logits_output(logits: Tensor) -> Value {
    Value::Map(vec![("logits", logits.into())])
}

fn hidden_output(hidden: Tensor) -> Value {
    Value::Map(vec![("last_hidden_state", hidden.into())])
}

/// Runs a block of a stack; with gradient checkpointing its inner results are computed again for the backward pass.
fn run_block(cx: &Context, block: &Node, args: Args) -> Result<Tensor> {
    if cx.checkpointing && cx.training && cx.grad {
        crate::module::checkpointed(cx, block, args)?.into_tensor()
    } else {
        block.call(cx, args)?.into_tensor()
    }
}
