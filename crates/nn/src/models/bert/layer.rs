//! The stack of layers.

use crate::context::Context;
use crate::models::head::hidden_output;
use crate::models::stack::run_block;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::{self, AttentionOptions};
use crate::{fields, Result};

#[derive(Clone)]
pub(super) struct Encoder {
    pub layer: NodeList,
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
pub(super) struct Layer {
    pub attention: Node,
    pub intermediate: Node,
    pub output: Node,
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
pub(super) struct BertAttention {
    pub inner: Node,
    pub output: Node,
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
pub(super) struct SelfAttention {
    pub query: Node,
    pub key: Node,
    pub value: Node,
    pub head_dim: usize,
    pub dropout: f64,
    pub index: usize,
}

impl Module for SelfAttention {
    fields!(query, key, value);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let heads = |node: &Node| node.apply(cx, x)?.split_last(self.head_dim);
        let q = heads(&self.query)?;
        let (k, v) = cx.with_past(self.index, heads(&self.key)?, heads(&self.value)?)?;
        let options = AttentionOptions {
            scale: 1. / (self.head_dim as f64).sqrt(),
            mask: args.mask(1, "attention_mask"),
            dropout: (cx.training && self.dropout > 0.).then(|| (self.dropout as f32, cx.next_seed())),
        };
        Ok(Value::Tuple(vec![ops::attention(&q, &k, &v, &options)?.merge_last()?.into(), Value::None]))
    }

    fn set_layer_index(&mut self, index: usize) {
        self.index = index;
    }
}

/// `BertSelfOutput` and `BertOutput`: projection, dropout, residual, norm.
#[derive(Clone)]
pub(super) struct SelfOutput {
    pub dense: Node,
    pub layer_norm: Node,
    pub dropout: Node,
}

impl Module for SelfOutput {
    fields!(dense, layer_norm as "LayerNorm", dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let y = self.dropout.apply(cx, &self.dense.apply(cx, args.tensor(0, "hidden_states")?)?)?;
        Ok(self.layer_norm.apply(cx, &y.add(args.tensor(1, "input_tensor")?)?)?.into())
    }
}

#[derive(Clone)]
pub(super) struct Intermediate {
    pub dense: Node,
    pub intermediate_act_fn: Node,
}

impl Module for Intermediate {
    fields!(dense, intermediate_act_fn);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = self.dense.apply(cx, args.tensor(0, "hidden_states")?)?;
        Ok(self.intermediate_act_fn.apply(cx, &x)?.into())
    }
}
