//! A body with a head on its hidden states: classes of sequences and tokens, spans that answer questions.
//!
//! transformers' `GenericForSequenceClassification`, `GenericForTokenClassification`, `GenericForQuestionAnswering`, and the classes of
//! GPT-2, BERT and RoBERTa that do the same.

use super::builder::{dropout, Builder};
use super::config::Config;
use super::head::logits_output;
use super::keys::{Keys, TaskType};
use crate::context::Context;
use crate::module::{Args, Module, Node, Value, Visitor, VisitorMut};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

/// What the head's outputs mean.
#[derive(Clone, Copy)]
enum Meaning {
    /// Of the last token of each row that is not `pad`; of one row the last, where there is none.
    Sequence {
        pad: Option<i64>,
    },
    Tokens,
    /// The first and the last token of an answer.
    Span,
}

#[derive(Clone)]
pub(super) struct Headed {
    body_name: &'static str,
    body: Node,
    dropout: Option<Node>,
    head_name: &'static str,
    head: Node,
    meaning: Meaning,
}

/// The model of a task that is none of a decoder's own, around its body of this width.
pub(super) fn build(c: &Config, b: &Builder, keys: &Keys, body: Node, width: usize) -> Result<Headed> {
    let body_name = keys.body();
    let decoder = !matches!(keys.model_type, "bert" | "roberta");
    let rate = |default: f64| match (c.get("classifier_dropout"), decoder) {
        (Some(_), _) => c.rate("classifier_dropout", default),
        (None, true) => c.rate("hidden_dropout", default),
        (None, false) => c.rate("hidden_dropout_prob", default),
    };
    let (head_name, meaning, dropped) = match keys.task {
        TaskType::SequenceClassification => {
            let pad = c.get("pad_token_id").and_then(|v| v.as_i64());
            ("score", Meaning::Sequence { pad }, None)
        }
        TaskType::TokenClassification => {
            let name = if decoder && keys.model_type != "gpt2" { "score" } else { "classifier" };
            (name, Meaning::Tokens, Some(dropout(rate(0.1)?)))
        }
        _ => ("qa_outputs", Meaning::Span, None),
    };
    let outputs = match (meaning, decoder) {
        (Meaning::Span, true) => 2,
        _ => c.num_labels()?,
    };
    if matches!(meaning, Meaning::Span) && outputs != 2 {
        return Err(Error::config("config.json: num_labels", format!("answers have two ends, found {outputs}")));
    }
    let biased = !matches!(meaning, Meaning::Sequence { .. });
    let head = b.at(head_name).linear(width, outputs, biased)?;
    Ok(Headed { body_name, body, dropout: dropped, head_name, head, meaning })
}

impl Module for Headed {
    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        v.node(self.body_name, &self.body);
        self.dropout.iter().for_each(|d| v.node("dropout", d));
        v.node(self.head_name, &self.head);
    }

    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        v.node(self.body_name, &mut self.body);
        self.dropout.iter_mut().for_each(|d| v.node("dropout", d));
        v.node(self.head_name, &mut self.head);
    }

    fn boxed_clone(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let mut hidden = self.body.call(cx, args.clone())?.into_tensor()?; // [batch, seq, width]
        if let Some(dropout) = &self.dropout {
            hidden = dropout.apply(cx, &hidden)?;
        }
        match self.meaning {
            Meaning::Tokens => Ok(logits_output(self.head.apply(cx, &hidden)?)),
            Meaning::Sequence { pad } => {
                let logits = self.head.apply(cx, &hidden)?;
                Ok(logits_output(at_ends(&logits, args, pad)?))
            }
            Meaning::Span => {
                let ends = self.head.apply(cx, &hidden)?;
                let end = |i: usize| ends.narrow(-1, i, 1)?.squeeze(-1)?.contiguous();
                Ok(Value::Map(vec![("start_logits", end(0)?.into()), ("end_logits", end(1)?.into())]))
            }
        }
    }
}

/// `[batch, seq, classes]` → `[batch, classes]`: at the last token of each row that is no padding, on whichever side that is.
fn at_ends(logits: &Tensor, args: &Args, pad: Option<i64>) -> Result<Tensor> {
    let (batch, seq) = (logits.dim(0), logits.dim(1));
    if pad.is_none() && batch != 1 {
        let why = "needed to tell where the rows of a batch end; without it a batch has one row";
        return Err(Error::config("config.json: pad_token_id", why));
    }
    let last = |row: &[i64]| row.iter().rposition(|id| Some(*id) != pad).unwrap_or(0);
    // Of a longer sequence than the tokens' (virtual ones came before) the tokens stand at the end.
    let ends: Vec<usize> = match (args.ints("input_ids"), pad) {
        (Some(ids), Some(_)) if ids.shape.len() == 2 && ids.shape[1] <= seq => {
            let before = seq - ids.shape[1];
            ids.data.chunks(ids.shape[1].max(1)).map(|row| before + last(row)).collect()
        }
        _ => vec![seq - 1; batch],
    };
    let at: Vec<u32> = ends.iter().enumerate().map(|(row, end)| (row * seq + end) as u32).collect();
    let flat = logits.reshape((batch * seq, logits.last_dim()))?;
    flat.index_select(&Array::from_vec(at, batch, logits.device())?, 0)
}
