//! The small network, which gives the first state.

use super::pretrained::{self, is_below};
use super::ShadowConfig;
use crate::blocks::Dense;
use crate::init::Init;
use crate::method::Attach;
use candle_core::{DType, Device};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::models::{classification_loss, head_loss, Blank, Body, Draw, Sizes, TaskType};
use swift_tuners_nn::module::{node_below, own_parameters, Args, Ints, Module, Node, Value};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Model, Param, Result, Tensor};

/// `s₀ = P backbone(x)`, and the loss that it has by itself.
pub struct Backbone {
    pub body: Body,
    /// P `[model's width, width]`, between widths that differ.
    pub projection: Option<Dense>,
    /// A classifier's copy of the model's.
    pub head: Option<Node>,
    /// Of the state.
    pub width: usize,
    /// The module of the model whose embeddings it is fed with.
    embedding: Option<&'static str>,
    /// The model's head, of causal language models.
    lm_head: Option<&'static str>,
    weight: f64,
    pretrained: bool,
}

impl Backbone {
    /// `folder` has a network that was trained before; without it a fresh one is made.
    pub fn new(c: &ShadowConfig, folder: Option<&Path>, a: &mut Attach<'_>) -> Result<Self> {
        let width = a.model.attention_size().map_err(|e| Error::config("peft_type", format!("SHADOW: {e}")))?.hidden;
        let same = c.shadow_hidden_size.is_none_or(|given| given == width);
        let shares = folder.is_none() && c.share_embeddings && same;
        let (body, given) = match folder {
            None => (mirror(c, a.model, shares, a.init)?, None),
            Some(dir) => pretrained::load(dir, a)?,
        };
        let projection = match given {
            Some(given) if given.weight.shape() != [width, body.hidden] => {
                let why = format!(
                    "its projection is {:?}; from its width to the model's it would be {:?}",
                    given.weight.shape(),
                    [width, body.hidden]
                );
                return Err(Error::config("shadow_model", why));
            }
            Some(given) => Some(given),
            None if body.hidden == width => None,
            None => Some(a.init.dense(body.hidden, width, false)?),
        };
        let task = a.config.text("task_type")?;
        let head = if task == Some("SEQ_CLS") { classifier(a.model)? } else { None };
        let keys = a.model.keys;
        let lm_head = keys.output_embedding.filter(|_| task == Some("CAUSAL_LM"));
        let embedding = shares.then_some(keys.input_embedding);
        Ok(Self {
            body,
            projection,
            head,
            width,
            embedding,
            lm_head,
            weight: c.auxiliary_loss_weight,
            pretrained: folder.is_some(),
        })
    }

    /// The first state `[batch, seq, width]` of a pass over a model, which is called with `args`.
    pub fn state(&self, cx: &Context, id: AdapterId, base: &dyn Module, args: &Args) -> Result<Tensor> {
        let call = Args::default();
        let mut call = match (args.ints("input_ids"), args.optional_tensor("inputs_embeds"), self.embedding) {
            (_, Some(x), _) => call.with("inputs_embeds", x.clone()),
            (Some(ids), None, Some(path)) => {
                let embedding = node_below(base, path).ok_or_else(|| missing(path))?;
                let ids = Args { positional: vec![Value::Ints(ids.clone())], named: Vec::new() };
                call.with("inputs_embeds", embedding.call(cx, ids)?.into_tensor()?)
            }
            (Some(ids), None, None) => call.with("input_ids", Value::Ints(ids.clone())),
            (None, None, _) => return Err(Error::Argument("this model needs inputIds or inputsEmbeds".into())),
        };
        if let Some(x) = call.optional_tensor("inputs_embeds").filter(|x| x.last_dim() != self.body.hidden) {
            let (expected, actual) = (vec![x.dim(0), x.dim(1), self.body.hidden], x.dims().to_vec());
            return Err(Error::Shape { path: "inputsEmbeds of the shadow network".into(), expected, actual });
        }
        for name in ["attention_mask", "position_ids"] {
            if let Some(given) = args.ints(name) {
                call = call.with(name, Value::Ints(given.clone()));
            }
        }
        // It sees the same new tokens as the model, with a cache of its own.
        let cache = cx.cache.as_ref().map(|cache| cache.beside(id));
        let hidden = self.body.node.call(&Context { cache, prefix: None, ..cx.clone() }, call)?.into_tensor()?;
        match &self.projection {
            Some(projection) => projection.apply(cx, &hidden),
            None => Ok(hidden),
        }
    }

    /// The loss of the first state by the model's head, or by the classifier's copy of the last token that is no padding, weighted.
    pub fn loss(
        &self,
        cx: &Context,
        base: &dyn Module,
        first: &Tensor,
        mask: Option<&Ints>,
        args: &Args,
    ) -> Result<Option<Tensor>> {
        let (labels, floats) = (args.ints("labels"), args.optional_tensor("float_labels"));
        if self.weight <= 0. || labels.is_none() && floats.is_none() {
            return Ok(None);
        }
        if args.optional_tensor("loss_scale").is_some() {
            return Err(Error::Argument("lossScale: not with the shadow network's loss; set its weight to 0".into()));
        }
        let loss = match (&self.head, self.lm_head, labels) {
            (Some(head), ..) => {
                let logits = head.apply(cx, &last(first, mask)?)?;
                classification_loss(&logits, labels, floats, None)?
            }
            (None, Some(path), Some(labels)) => {
                let head = node_below(base, path).ok_or_else(|| missing(path))?;
                head_loss(cx, head, first, labels)?
            }
            _ => return Ok(None),
        };
        loss.affine(self.weight, 0.).map(Some)
    }

    /// Whether a parameter never trains: the embeddings of a network that was trained before.
    pub fn is_frozen(&self, param: &Param) -> bool {
        self.pretrained
            && own_parameters(&self.body.node)
                .iter()
                .any(|(name, p)| p.is(param) && is_below(name, self.body.embedding))
    }

    /// What the state does not depend on: the network's own embeddings beside shared ones, which some families keep, and BERT's pooler.
    pub fn idle(&self) -> Vec<&Param> {
        let own = self.embedding.map(|_| self.body.embedding);
        let modules = own.into_iter().chain(self.body.idle);
        let all = own_parameters(&self.body.node);
        let idle = all.into_iter().filter(|(name, _)| modules.clone().any(|module| is_below(name, module)));
        idle.map(|(_, param)| param).collect()
    }

    /// Every parameter by what follows `shadow_`, with the adapter's name in its place.
    pub fn parameters(&self, adapter: &str) -> Vec<(String, &Param)> {
        let named = |module: &str, params: Vec<(String, _)>| {
            let full = move |(name, param)| (format!("shadow_{module}.{adapter}.{name}"), param);
            params.into_iter().map(full).collect::<Vec<_>>()
        };
        let mut all = named("backbone", own_parameters(&self.body.node));
        all.extend(named("projection", self.projection.iter().map(|p| ("weight".to_owned(), &p.weight)).collect()));
        all.extend(named("head", self.head.as_ref().map(own_parameters).unwrap_or_default()));
        all
    }
}

fn missing(path: &str) -> Error {
    Error::Invalid(format!("this model has no {path}"))
}

/// A fresh network of the model's family, its values as transformers draws them.
fn mirror(c: &ShadowConfig, model: &Model, shares: bool, init: &mut Init) -> Result<Body> {
    let at = |e: Error| Error::config("shadow_model", e.to_string());
    let layers = c.shadow_num_hidden_layers.filter(|&n| n > 0).unwrap_or(1);
    let sizes = Sizes {
        layers,
        hidden: c.shadow_hidden_size,
        heads: c.shadow_num_attention_heads,
        inner: c.shadow_intermediate_size,
    };
    let config = model.resized(&sizes).map_err(at)?;
    let make = |embeds| Body::build(config.clone(), &Blank, "", embeds, model.dtype, &model.device).map_err(at);
    // Python draws embeddings that it then takes out.
    let whole = make(true)?;
    let draws = whole.draws()?;
    let mut body = if shares { make(false)? } else { whole };
    let names: HashSet<String> = own_parameters(&body.node).into_iter().map(|(name, _)| name).collect();
    let mut values = HashMap::new();
    for Draw { keeps, shape, deviation, padding } in draws {
        let Some(deviation) = deviation else {
            init.discard_uniforms(shape.iter().product())?;
            continue;
        };
        match keeps.filter(|name| names.contains(name)) {
            Some(name) => {
                let of = shape.clone();
                values.insert(name, init.param(&shape, move |g| normal(g, &of, deviation, padding))?);
            }
            None => init.discard(|g| g.normal(&shape, 0., deviation))?,
        }
    }
    body.put(values);
    Ok(body)
}

fn normal(g: &mut Generator, shape: &[usize], deviation: f64, zero: Option<usize>) -> Result<Array> {
    let values = g.normal(shape, 0., deviation)?;
    match zero {
        Some(row) => {
            let zeros = Array::zeros((1, values.dims()[1]), DType::F32, &Device::Cpu)?;
            Ok(values.slice_scatter(&zeros, 0, row)?)
        }
        None => Ok(values),
    }
}

/// A trained copy of a classifier's head.
fn classifier(model: &Model) -> Result<Option<Node>> {
    if model.keys.task != TaskType::SequenceClassification {
        return Ok(None);
    }
    let head = model.keys.head_names().iter().rev().find_map(|name| node_below(model.root.module(), name));
    let Some(head) = head else { return Ok(None) };
    let copy = head.deep_copy()?;
    own_parameters(&copy).iter().for_each(|(_, param)| param.set_requires_grad(true));
    Ok(Some(copy))
}

/// `[batch, seq, width]` → `[batch, width]`, at the last position of each row that `mask` counts.
fn last(x: &Tensor, mask: Option<&Ints>) -> Result<Tensor> {
    let (batch, seq) = (x.dim(0), x.dim(1));
    let at = |row: usize| match mask {
        Some(mask) => mask.data[row * seq..(row + 1) * seq].iter().rposition(|&m| m != 0).unwrap_or(0),
        None => seq - 1,
    };
    let index: Vec<u32> = (0..batch).map(|row| (row * seq + at(row)) as u32).collect();
    x.reshape((batch * seq, x.last_dim()))?.index_select(&Array::from_vec(index, batch, x.device())?, 0)
}
