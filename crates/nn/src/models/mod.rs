//! Model architectures, one file each, and the tables that say where things sit per `model_type`.

mod bert;
mod config;
mod gpt2;
mod keys;
mod llama;
mod rope_config;
mod vit;

pub use keys::{Keys, TaskType};

use crate::checkpoint::source::Source;
use crate::context::Context;
use crate::module::{all_parameters, named_parameters, Args, Ints, Node, Value};
use crate::ops::Activation;
use crate::param::Param;
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
}

impl<'a> Builder<'a> {
    fn at(&self, name: impl std::fmt::Display) -> Builder<'a> {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Builder { source: self.source, path, dtype: self.dtype, device: self.device.clone(), deviation: self.deviation }
    }

    fn param(&self, name: &str, shape: &[usize], init: Init) -> Result<Param> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let array = self.source.get(&path, shape, init)?;
        Ok(Param::new(array.to_dtype(self.dtype)?.to_device(&self.device)?, true))
    }

    fn linear(&self, inp: usize, out: usize, bias: bool) -> Result<Node> {
        let weight = self.param("weight", &[out, inp], Init::Normal(self.deviation))?;
        let bias = if bias { Some(self.param("bias", &[out], Init::Zeros)?) } else { None };
        Ok(Node::new(layers::Linear { weight, bias, layout: crate::ops::WeightLayout::OutIn }))
    }

    fn conv1d(&self, inp: usize, out: usize) -> Result<Node> {
        let weight = self.param("weight", &[inp, out], Init::Normal(self.deviation))?;
        let bias = Some(self.param("bias", &[out], Init::Zeros)?);
        Ok(Node::new(layers::Linear { weight, bias, layout: crate::ops::WeightLayout::InOut }))
    }

    fn embedding(&self, rows: usize, width: usize) -> Result<(Node, Param)> {
        let weight = self.param("weight", &[rows, width], Init::Normal(self.deviation))?;
        Ok((Node::new(layers::Embedding { weight: weight.clone() }), weight))
    }

    fn rms_norm(&self, width: usize, eps: f64) -> Result<Node> {
        Ok(Node::new(layers::RmsNorm { weight: self.param("weight", &[width], Init::Ones)?, eps }))
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
    /// Class ids or token ids; floats for regression.
    pub labels: Option<Ints>,
    pub float_labels: Option<Tensor>,
    pub target: Option<Tensor>,
    /// Generation needs the last position's logits only.
    pub last_logits_only: bool,
}

impl Inputs {
    fn args(&self) -> Args {
        let mut named = Vec::new();
        let ints = [
            ("input_ids", &self.input_ids),
            ("attention_mask", &self.attention_mask),
            ("token_type_ids", &self.token_type_ids),
            ("position_ids", &self.position_ids),
            ("labels", &self.labels),
        ];
        for (name, value) in ints {
            if let Some(value) = value {
                named.push((name, Value::Ints(value.clone())));
            }
        }
        let tensors = [
            ("inputs_embeds", &self.inputs_embeds),
            ("pixel_values", &self.pixel_values),
            ("float_labels", &self.float_labels),
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
    pub loss: Option<Tensor>,
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
    pub fn build(config: Json, source: &dyn Source, dtype: DType, device: &Device) -> Result<Self> {
        let c = Config::new(&config)?;
        let keys = Keys::of(&c)?;
        let builder = Builder {
            source,
            path: String::new(),
            dtype,
            device: device.clone(),
            deviation: c.float_or("initializer_range", 0.02)?,
        };
        let root = match keys.model_type {
            "gpt2" => Node::new(gpt2::build(&c, &builder)?),
            "bert" | "roberta" => bert::build(&c, &builder, keys)?,
            "vit" => Node::new(vit::build(&c, &builder)?),
            _ => Node::new(llama::build(&c, &builder)?),
        };
        drop(builder);
        Ok(Self { root, config, keys, dtype, device: device.clone() })
    }

    /// One pass. Adds `loss` when labels or a target are given.
    pub fn forward(&self, cx: &Context, inputs: &Inputs) -> Result<Output> {
        let take = |v: &Value, name: &str| match v.field(name) {
            Some(Value::Tensor(t)) => Some(t.clone()),
            _ => None,
        };
        let value = self.root.call(cx, inputs.args())?;
        let mut output = Output {
            logits: take(&value, "logits"),
            last_hidden_state: take(&value, "last_hidden_state"),
            loss: take(&value, "loss"),
        };
        if let Some(target) = &inputs.target {
            let main = output.logits.as_ref().or(output.last_hidden_state.as_ref());
            let Some(main) = main else {
                return Err(Error::Argument("this model has no output to compare".into()));
            };
            output.loss = Some(layers::mse(main, target)?);
        }
        Ok(output)
    }

    pub fn parameters(&self) -> Vec<(String, &Param)> {
        named_parameters(&self.root)
    }

    /// By any of its names.
    pub fn parameter(&self, name: &str) -> Option<Param> {
        all_parameters(&self.root).into_iter().find(|(n, _)| n == name).map(|(_, p)| p.clone())
    }
}

/// Resolves a HF-style label: mean cross-entropy, mean squared error or binary cross-entropy by `problem_type`.
pub(crate) fn classification_loss(logits: &Tensor, args: &Args, problem: Option<&str>) -> Result<Option<Tensor>> {
    let classes = logits.last_dim();
    let ints = args.ints("labels");
    let floats = args.optional_tensor("float_labels");
    if ints.is_none() && floats.is_none() {
        return Ok(None);
    }
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
            (None, None) => unreachable!("returned above"),
        }
    };
    Ok(Some(match problem {
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
    }))
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

/// Causal language-modelling loss: position i predicts label i + 1.
pub(crate) fn shifted_loss(logits: &Tensor, labels: &Ints) -> Result<Tensor> {
    if logits.dims()[..2] != labels.shape[..] {
        return Err(Error::Shape {
            path: "labels".into(),
            expected: logits.dims()[..2].to_vec(),
            actual: labels.shape.clone(),
        });
    }
    let seq = labels.shape[1];
    let shifted: Vec<i64> = labels.data.chunks(seq).flat_map(|row| row[1..].iter().copied().chain([-100])).collect();
    crate::ops::cross_entropy(logits, &shifted)
}
