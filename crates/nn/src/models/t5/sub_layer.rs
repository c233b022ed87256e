//! A part of a block with its norm and residual.

use crate::context::Context;
use crate::module::{Args, Module, Node, Value};
use crate::{Error, Result};

/// What a sub-layer wraps with its norm and residual; the name is Python's.
#[derive(Clone)]
pub(super) enum Inner {
    SelfAttention(Node),
    EncDecAttention(Node),
    DenseReluDense(Node),
}

#[derive(Clone)]
pub(super) struct SubLayer {
    pub inner: Inner,
    pub layer_norm: Node,
    pub dropout: Node,
}

impl Inner {
    fn name(&self) -> &'static str {
        match self {
            Self::SelfAttention(_) => "SelfAttention",
            Self::EncDecAttention(_) => "EncDecAttention",
            Self::DenseReluDense(_) => "DenseReluDense",
        }
    }
    fn node(&self) -> &Node {
        match self {
            Self::SelfAttention(n) | Self::EncDecAttention(n) | Self::DenseReluDense(n) => n,
        }
    }
    fn node_mut(&mut self) -> &mut Node {
        match self {
            Self::SelfAttention(n) | Self::EncDecAttention(n) | Self::DenseReluDense(n) => n,
        }
    }
}

impl Module for SubLayer {
    fn visit<'a>(&'a self, v: &mut dyn crate::module::Visitor<'a>) {
        v.node(self.inner.name(), self.inner.node());
        v.node("layer_norm", &self.layer_norm);
        v.node("dropout", &self.dropout);
    }

    fn visit_mut(&mut self, v: &mut dyn crate::module::VisitorMut) {
        let name = self.inner.name();
        v.node(name, self.inner.node_mut());
        v.node("layer_norm", &mut self.layer_norm);
        v.node("dropout", &mut self.dropout);
    }

    fn boxed_clone(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let normed = self.layer_norm.apply(cx, x)?;
        let node = self.inner.node();
        if let Inner::DenseReluDense(_) = self.inner {
            let y = node.apply(cx, &normed)?;
            return Ok(x.add(&self.dropout.apply(cx, &y)?)?.into());
        }
        let mut call = Args::one(normed).with("mask", args.named("attention_mask").clone());
        for name in ["key_value_states", "position_bias"] {
            call = call.with(name, args.named(name).clone());
        }
        let Value::Tuple(mut out) = node.call(cx, call)? else {
            return Err(Error::Argument("t5: attention gives its output and position bias".into()));
        };
        let bias = out.remove(1);
        let y = x.add(&self.dropout.apply(cx, &out.swap_remove(0).into_tensor()?)?)?;
        Ok(Value::Tuple(vec![y.into(), bias]))
    }
}
