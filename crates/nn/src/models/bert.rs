//! BERT and RoBERTa: encoders, alone or with a classification head.
//!
//! Devlin et al. 2018 (arXiv 1810.04805), Liu et al. 2019 (arXiv 1907.11692); numbers as transformers' modules.

use super::config::Config;
use super::{activation, dropout, hidden_output, logits_output, padding_mask, run_block, token_shape};
use super::{Builder, Keys, TaskType};
use crate::context::Context;
use crate::fields;
use crate::module::{Args, Ints, Module, Node, NodeList, Value};
use crate::ops::{self, Activation, AttentionOptions, Mask};
use crate::{Error, Result};

pub(super) fn build(c: &Config, b: &Builder, keys: &Keys) -> Result<Node> {
    c.refuse("is_decoder", &[false.into()])?;
    c.refuse("add_cross_attention", &[false.into()])?;
    c.refuse("position_embedding_type", &["absolute".into()])?;
    let roberta = keys.model_type == "roberta";
    if keys.task != TaskType::SequenceClassification {
        return Ok(Node::new(encoder(c, b, roberta, true)?));
    }
    let width = c.size("hidden_size")?;
    let labels = c.num_labels()?;
    let rate = match c.get("classifier_dropout") {
        Some(_) => c.rate("classifier_dropout", 0.1)?,
        None => c.rate("hidden_dropout_prob", 0.1)?,
    };
    let body = b.at(keys.model_type);
    Ok(if roberta {
        let h = b.at("classifier");
        let head = RobertaHead {
            dense: h.at("dense").linear(width, width, true)?,
            dropout: dropout(rate),
            out_proj: h.at("out_proj").linear(width, labels, true)?,
        };
        Node::new(RobertaClassifier {
            roberta: Node::new(encoder(c, &body, true, false)?),
            classifier: Node::new(head),
        })
    } else {
        Node::new(BertClassifier {
            bert: Node::new(encoder(c, &body, false, true)?),
            dropout: dropout(rate),
            classifier: b.at("classifier").linear(width, labels, true)?,
        })
    })
}

fn encoder(c: &Config, b: &Builder, roberta: bool, pooled: bool) -> Result<BertModel> {
    let width = c.size("hidden_size")?;
    let heads = c.size("num_attention_heads")?;
    if width % heads != 0 {
        return Err(Error::config(
            "config.json: num_attention_heads",
            format!("{heads} heads do not divide hidden_size {width}"),
        ));
    }
    let inner = c.size("intermediate_size")?;
    let eps = c.eps("layer_norm_eps", 1e-12)?;
    let act = c.activation("hidden_act", "gelu")?;
    let (hidden_rate, attention_rate) =
        (c.rate("hidden_dropout_prob", 0.1)?, c.rate("attention_probs_dropout_prob", 0.1)?);
    let pad = match c.get("pad_token_id") {
        Some(v) => v.as_i64().unwrap_or(if roberta { 1 } else { 0 }),
        None => i64::from(roberta),
    };
    let e = b.at("embeddings");
    let max = c.size("max_position_embeddings")?;
    let (word_embeddings, _) = e.at("word_embeddings").embedding(c.size("vocab_size")?, width)?;
    let (position_embeddings, _) = e.at("position_embeddings").embedding(max, width)?;
    let (token_type_embeddings, _) =
        e.at("token_type_embeddings").embedding(c.size_or("type_vocab_size", 2)?, width)?;
    let layer_norm = e.at("LayerNorm").layer_norm(width, eps)?;
    let (first_positions, last_positions) =
        if roberta { (None, Some(position_embeddings)) } else { (Some(position_embeddings), None) };
    let embeddings = Embeddings {
        word_embeddings,
        first_positions,
        token_type_embeddings,
        layer_norm,
        dropout: dropout(hidden_rate),
        last_positions,
        max,
        pad: roberta.then_some(pad),
    };
    let layers = (0..c.size("num_hidden_layers")?)
        .map(|i| {
            let l = b.at("encoder").at("layer").at(i);
            let a = l.at("attention");
            let s = a.at("self");
            let attention = SelfAttention {
                query: s.at("query").linear(width, width, true)?,
                key: s.at("key").linear(width, width, true)?,
                value: s.at("value").linear(width, width, true)?,
                head_dim: width / heads,
                dropout: attention_rate,
            };
            let output = |b: &Builder, from: usize| -> Result<Node> {
                Ok(Node::new(SelfOutput {
                    dense: b.at("dense").linear(from, width, true)?,
                    layer_norm: b.at("LayerNorm").layer_norm(width, eps)?,
                    dropout: dropout(hidden_rate),
                }))
            };
            Ok(Node::new(Layer {
                attention: Node::new(BertAttention {
                    inner: Node::new(attention),
                    output: output(&a.at("output"), width)?,
                }),
                intermediate: Node::new(Intermediate {
                    dense: l.at("intermediate").at("dense").linear(width, inner, true)?,
                    intermediate_act_fn: activation(act),
                }),
                output: output(&l.at("output"), inner)?,
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    let pooler = if pooled {
        let dense = b.at("pooler").at("dense").linear(width, width, true)?;
        Some(Node::new(Pooler { dense, activation: activation(Activation::Tanh) }))
    } else {
        None
    };
    Ok(BertModel {
        embeddings: Node::new(embeddings),
        encoder: Node::new(Encoder { layer: NodeList { items: layers } }),
        pooler,
    })
}

#[derive(Clone)]
struct BertModel {
    embeddings: Node,
    encoder: Node,
    pooler: Option<Node>,
}

impl Module for BertModel {
    fields!(embeddings, encoder, pooler);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (batch, seq) = token_shape(args)?;
        let hidden = self.embeddings.call(cx, args.clone())?.into_tensor()?;
        let keys = padding_mask(args, batch, seq, hidden.device())?;
        let mask = Mask { keys, ..Mask::default() };
        let call = Args::one(hidden).with("attention_mask", Value::Mask(mask));
        let hidden = self.encoder.call(cx, call)?.into_tensor()?;
        let mut fields = vec![("last_hidden_state", Value::Tensor(hidden.clone()))];
        if let Some(pooler) = &self.pooler {
            fields.push(("pooler_output", pooler.apply(cx, &hidden)?.into()));
        }
        Ok(Value::Map(fields))
    }
}

#[derive(Clone)]
struct Embeddings {
    word_embeddings: Node,
    /// BERT lists its positions before the token types, RoBERTa last.
    first_positions: Option<Node>,
    token_type_embeddings: Node,
    layer_norm: Node,
    dropout: Node,
    last_positions: Option<Node>,
    max: usize,
    /// RoBERTa counts positions from here, over tokens that are not this one.
    pad: Option<i64>,
}

impl Embeddings {
    fn position_ids(&self, args: &Args, batch: usize, seq: usize) -> Result<Ints> {
        if let Some(given) = args.ints("position_ids") {
            return Ok(given.clone());
        }
        let Some(pad) = self.pad else {
            return Ints::new(vec![1, seq], (0..seq as i64).collect());
        };
        match args.ints("input_ids") {
            Some(ids) => {
                let count = |row: &[i64]| {
                    let mut n = 0;
                    row.iter()
                        .map(|&id| {
                            if id == pad {
                                pad
                            } else {
                                n += 1;
                                n + pad
                            }
                        })
                        .collect::<Vec<_>>()
                };
                Ints::new(vec![batch, seq], ids.data.chunks(seq).flat_map(count).collect())
            }
            None => Ints::new(vec![1, seq], (pad + 1..=pad + seq as i64).collect()),
        }
    }
}

impl Module for Embeddings {
    fields!(
        word_embeddings,
        first_positions as "position_embeddings",
        token_type_embeddings,
        layer_norm as "LayerNorm",
        dropout,
        last_positions as "position_embeddings",
    );

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (batch, seq) = token_shape(args)?;
        let look_up = |node: &Node, ids: Ints| -> Result<crate::Tensor> {
            node.call(cx, Args { positional: vec![Value::Ints(ids)], named: Vec::new() })?.into_tensor()
        };
        let words = match args.ints("input_ids") {
            Some(ids) => look_up(&self.word_embeddings, ids.clone())?,
            None => args.tensor(usize::MAX, "inputs_embeds")?.clone(),
        };
        let types = match args.ints("token_type_ids") {
            Some(types) => types.clone(),
            None => Ints::new(vec![1, seq], vec![0; seq])?,
        };
        let positions = self.position_ids(args, batch, seq)?;
        if positions.data.iter().any(|&p| p < 0 || p >= self.max as i64) {
            return Err(Error::Argument(format!("a position is past max_position_embeddings = {}", self.max)));
        }
        let table = self.first_positions.as_ref().or(self.last_positions.as_ref()).expect("one of them is set");
        let sum = words.add(&look_up(&self.token_type_embeddings, types)?)?.add(&look_up(table, positions)?)?;
        Ok(self.dropout.apply(cx, &self.layer_norm.apply(cx, &sum)?)?.into())
    }
}

#[derive(Clone)]
struct Encoder {
    layer: NodeList,
}

impl Module for Encoder {
    fields!(layer);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let mut hidden = args.tensor(0, "hidden_states")?.clone();
        for layer in &self.layer.items {
            let call =
                Args { positional: vec![hidden.into(), args.named("attention_mask").clone()], named: Vec::new() };
            hidden = run_block(cx, layer, call)?;
        }
        Ok(hidden_output(hidden))
    }
}

#[derive(Clone)]
struct Layer {
    attention: Node,
    intermediate: Node,
    output: Node,
}

impl Module for Layer {
    fields!(attention, intermediate, output);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let attended = self.attention.call(cx, args.clone())?.into_tensor()?;
        self.feed_forward_chunk(cx, &attended)
    }

    fn forward_in(&self, node: &Node, cx: &Context, args: &Args) -> Result<Value> {
        let attended = self.attention.call(cx, args.clone())?.into_tensor()?;
        node.call_method(FEED_FORWARD_CHUNK, cx, Args::one(attended))
    }

    fn methods(&self) -> &'static [&'static str] {
        &[FEED_FORWARD_CHUNK]
    }

    fn method(&self, _: &str, cx: &Context, args: &Args) -> Result<Value> {
        self.feed_forward_chunk(cx, args.tensor(0, "attention_output")?)
    }
}

/// The half of a layer behind its attention, a method of its own in Python.
const FEED_FORWARD_CHUNK: &str = "feed_forward_chunk";

impl Layer {
    fn feed_forward_chunk(&self, cx: &Context, attended: &crate::Tensor) -> Result<Value> {
        let inner = self.intermediate.apply(cx, attended)?;
        self.output.call(cx, Args { positional: vec![inner.into(), attended.clone().into()], named: Vec::new() })
    }
}

#[derive(Clone)]
struct BertAttention {
    inner: Node,
    output: Node,
}

impl Module for BertAttention {
    fields!(inner as "self", output);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?.clone();
        let attended = self.inner.call(cx, args.clone())?.into_tensor()?;
        self.output.call(cx, Args { positional: vec![attended.into(), x.into()], named: Vec::new() })
    }
}

#[derive(Clone)]
struct SelfAttention {
    query: Node,
    key: Node,
    value: Node,
    head_dim: usize,
    dropout: f64,
}

impl Module for SelfAttention {
    fields!(query, key, value);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let heads = |node: &Node| node.apply(cx, x)?.split_last(self.head_dim);
        let (q, k, v) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let options = AttentionOptions {
            scale: 1. / (self.head_dim as f64).sqrt(),
            mask: args.mask(1, "attention_mask"),
            dropout: (cx.training && self.dropout > 0.).then(|| (self.dropout as f32, cx.next_seed())),
        };
        Ok(Value::Tuple(vec![ops::attention(&q, &k, &v, &options)?.merge_last()?.into(), Value::None]))
    }
}

/// `BertSelfOutput` and `BertOutput`: projection, dropout, residual, norm.
#[derive(Clone)]
struct SelfOutput {
    dense: Node,
    layer_norm: Node,
    dropout: Node,
}

impl Module for SelfOutput {
    fields!(dense, layer_norm as "LayerNorm", dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let y = self.dropout.apply(cx, &self.dense.apply(cx, args.tensor(0, "hidden_states")?)?)?;
        Ok(self.layer_norm.apply(cx, &y.add(args.tensor(1, "input_tensor")?)?)?.into())
    }
}

#[derive(Clone)]
struct Intermediate {
    dense: Node,
    intermediate_act_fn: Node,
}

impl Module for Intermediate {
    fields!(dense, intermediate_act_fn);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = self.dense.apply(cx, args.tensor(0, "hidden_states")?)?;
        Ok(self.intermediate_act_fn.apply(cx, &x)?.into())
    }
}

#[derive(Clone)]
struct Pooler {
    dense: Node,
    activation: Node,
}

impl Module for Pooler {
    fields!(dense, activation);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let first = first_token(args.tensor(0, "hidden_states")?)?;
        Ok(self.activation.apply(cx, &self.dense.apply(cx, &first)?)?.into())
    }
}

/// `[batch, seq, hidden]` → `[batch, hidden]`
fn first_token(hidden: &crate::Tensor) -> Result<crate::Tensor> {
    hidden.narrow(1, 0, 1)?.squeeze(1)
}

#[derive(Clone)]
struct BertClassifier {
    bert: Node,
    dropout: Node,
    classifier: Node,
}

impl Module for BertClassifier {
    fields!(bert, dropout, classifier);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let body = self.bert.call(cx, args.clone())?;
        let Some(Value::Tensor(pooled)) = body.field("pooler_output") else {
            return Err(Error::Argument("bert: no pooled output".into()));
        };
        Ok(logits_output(self.classifier.apply(cx, &self.dropout.apply(cx, pooled)?)?))
    }
}

#[derive(Clone)]
struct RobertaClassifier {
    roberta: Node,
    classifier: Node,
}

impl Module for RobertaClassifier {
    fields!(roberta, classifier);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let body = self.roberta.call(cx, args.clone())?;
        Ok(logits_output(self.classifier.apply(cx, &body.into_tensor()?)?))
    }
}

#[derive(Clone)]
struct RobertaHead {
    dense: Node,
    dropout: Node,
    out_proj: Node,
}

impl Module for RobertaHead {
    fields!(dense, dropout, out_proj);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = self.dropout.apply(cx, &first_token(args.tensor(0, "features")?)?)?;
        let x = self.dropout.apply(cx, &self.dense.apply(cx, &x)?.tanh()?)?;
        Ok(self.out_proj.apply(cx, &x)?.into())
    }
}
