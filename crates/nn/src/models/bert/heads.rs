//! Pooling and classification.

use crate::context::Context;
use crate::models::head::logits_output;
use crate::module::{Args, Module, Node, Value};
use crate::{fields, Error, Result};

#[derive(Clone)]
pub(super) struct Pooler {
    pub dense: Node,
    pub activation: Node,
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
pub(super) struct BertClassifier {
    pub bert: Node,
    pub dropout: Node,
    pub classifier: Node,
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
pub(super) struct RobertaClassifier {
    pub roberta: Node,
    pub classifier: Node,
}

impl Module for RobertaClassifier {
    fields!(roberta, classifier);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let body = self.roberta.call(cx, args.clone())?;
        Ok(logits_output(self.classifier.apply(cx, &body.into_tensor()?)?))
    }
}

#[derive(Clone)]
pub(super) struct RobertaHead {
    pub dense: Node,
    pub dropout: Node,
    pub out_proj: Node,
}

impl Module for RobertaHead {
    fields!(dense, dropout, out_proj);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = self.dropout.apply(cx, &first_token(args.tensor(0, "features")?)?)?;
        let x = self.dropout.apply(cx, &self.dense.apply(cx, &x)?.tanh()?)?;
        Ok(self.out_proj.apply(cx, &x)?.into())
    }
}
