//! BERT and RoBERTa: encoders, alone or with a classification head.
//!
//! Devlin et al. 2018 (arXiv 1810.04805), Liu et al. 2019 (arXiv 1907.11692); numbers as transformers' modules.

mod embeddings;
mod heads;
mod layer;

use super::builder::{activation, dropout, Builder};
use super::config::Config;
use super::headed;
use super::keys::{Keys, TaskType};
use super::tokens::{padding_mask, token_shape};
use crate::context::Context;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::{Activation, Mask};
use crate::{fields, Error, Result};
use embeddings::Embeddings;
use heads::{BertClassifier, Pooler, RobertaClassifier, RobertaHead};
use layer::{BertAttention, Encoder, Intermediate, Layer, SelfAttention, SelfOutput};

pub(super) fn build(c: &Config, b: &Builder, keys: &Keys) -> Result<Node> {
    c.refuse("is_decoder", &[false.into()])?;
    c.refuse("add_cross_attention", &[false.into()])?;
    c.refuse("position_embedding_type", &["absolute".into()])?;
    let roberta = keys.model_type == "roberta";
    let width = c.size("hidden_size")?;
    match keys.task {
        TaskType::SequenceClassification => {}
        TaskType::Encoder => return Ok(Node::new(encoder(c, b, roberta, true)?)),
        _ => {
            let body = Node::new(encoder(c, &b.at(keys.model_type), roberta, false)?);
            return Ok(Node::new(headed::build(c, b, keys, body, width)?));
        }
    }
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

/// What lies below the head.
pub(super) fn body(c: &Config, b: &Builder) -> Result<BertModel> {
    encoder(c, b, false, true)
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
                index: i,
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
pub(super) struct BertModel {
    embeddings: Node,
    encoder: Node,
    pooler: Option<Node>,
}

impl Module for BertModel {
    fields!(embeddings, encoder, pooler);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (batch, seq) = token_shape(args)?;
        let hidden = self.embeddings.call(cx, args.clone())?.into_tensor()?;
        let keys = padding_mask(args, batch, cx.past() + seq, hidden.device())?;
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
