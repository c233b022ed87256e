//! Attention with rotary positions, a cache and windows.

use crate::context::Context;
use crate::module::{Args, Module, Node, Value};
use crate::ops::{self, AttentionOptions};
use crate::tensor::Tensor;
use crate::{fields, Result};

/// Calls a layer's attention with what the layer was called with.
pub(super) fn attend(cx: &Context, attention: &Node, args: &Args, normed: Tensor) -> Result<Tensor> {
    let call = Args { positional: Vec::new(), named: vec![("hidden_states", normed.into())] };
    let call = call
        .with("attention_mask", args.named("attention_mask").clone())
        .with("position_embeddings", args.named("position_embeddings").clone());
    attention.call(cx, call)?.into_tensor()
}

#[derive(Clone)]
pub(super) struct AttentionShape {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub index: usize,
    pub window: Option<usize>,
    pub dropout: f64,
    pub scale: f64,
    /// Which of the model's rotary tables.
    pub rope: usize,
}

impl AttentionShape {
    /// Rotates, and attends through the tuners that surround that; `q`, `k`, `v` are `[batch, seq, heads, head_dim]`.
    fn rotate_and_attend(
        &self,
        node: Option<&Node>,
        cx: &Context,
        args: &Args,
        q: Tensor,
        k: Tensor,
        v: Tensor,
    ) -> Result<Tensor> {
        let table = match args.named("position_embeddings") {
            Value::Tuple(tables) => tables.get(self.rope),
            one => Some(one),
        };
        let (q, k) = match table {
            Some(Value::Rope(table)) => (ops::rope(&q, &table.0)?, ops::rope(&k, &table.0)?),
            _ => (q, k),
        };
        let positional = vec![q.into(), k.into(), v.into(), args.named("attention_mask").clone()];
        let call = Args { positional, named: Vec::new() };
        let attended = match node {
            Some(node) => node.call_method(ATTEND, cx, call)?,
            None => self.attend(cx, &call)?,
        };
        attended.into_tensor()
    }

    fn attend(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (q, k, v) = (args.tensor(0, "q")?, args.tensor(1, "k")?, args.tensor(2, "v")?);
        let (k, v) = cx.with_past(self.index, k.clone(), v.clone())?;
        let mut mask = args.mask(3, "attention_mask");
        mask.window = self.window;
        let dropout = (cx.training && self.dropout > 0.).then(|| (self.dropout as f32, cx.next_seed()));
        let options = AttentionOptions { scale: self.scale, mask, dropout };
        Ok(ops::attention(q, &k, &v, &options)?.merge_last()?.into()) // [batch, seq, heads * head_dim]
    }
}

/// What tuners can surround inside of attention: `q`, `k`, `v` `[batch, seq, heads, head_dim]`, rotated, and the mask →
/// `[batch, seq, heads * head_dim]`.
pub const ATTEND: &str = "attend";

#[derive(Clone)]
pub(super) struct Attention {
    pub q_proj: Node,
    pub k_proj: Node,
    pub v_proj: Node,
    pub o_proj: Node,
    pub q_norm: Option<Node>,
    pub k_norm: Option<Node>,
    pub shape: AttentionShape,
}

impl Module for Attention {
    fields!(q_proj, k_proj, v_proj, o_proj, q_norm, k_norm);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        self.run(None, cx, args)
    }

    fn forward_in(&self, node: &Node, cx: &Context, args: &Args) -> Result<Value> {
        self.run(Some(node), cx, args)
    }

    fn method(&self, _: &str, cx: &Context, args: &Args) -> Result<Value> {
        self.shape.attend(cx, args)
    }

    fn set_layer_index(&mut self, index: usize) {
        self.shape.index = index;
    }
}

impl Attention {
    fn run(&self, node: Option<&Node>, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let mut q = self.q_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        let mut k = self.k_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        let v = self.v_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        if let (Some(qn), Some(kn)) = (&self.q_norm, &self.k_norm) {
            q = qn.apply(cx, &q)?;
            k = kn.apply(cx, &k)?;
        }
        let y = self.o_proj.apply(cx, &self.shape.rotate_and_attend(node, cx, args, q, k, v)?)?;
        Ok(Value::Tuple(vec![y.into(), Value::None]))
    }
}

#[derive(Clone)]
pub(super) struct FusedAttention {
    pub o_proj: Node,
    pub qkv_proj: Node,
    pub shape: AttentionShape,
}

impl Module for FusedAttention {
    fields!(o_proj, qkv_proj);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        self.run(None, cx, args)
    }

    fn forward_in(&self, node: &Node, cx: &Context, args: &Args) -> Result<Value> {
        self.run(Some(node), cx, args)
    }

    fn method(&self, _: &str, cx: &Context, args: &Args) -> Result<Value> {
        self.shape.attend(cx, args)
    }

    fn set_layer_index(&mut self, index: usize) {
        self.shape.index = index;
    }
}

impl FusedAttention {
    fn run(&self, node: Option<&Node>, cx: &Context, args: &Args) -> Result<Value> {
        let s = &self.shape;
        let qkv = self.qkv_proj.apply(cx, args.tensor(0, "hidden_states")?)?;
        let (q, kv) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
        let part =
            |start, length| -> Result<Tensor> { qkv.narrow(-1, start, length)?.contiguous()?.split_last(s.head_dim) };
        let (k, v) = (part(q, kv)?, part(q + kv, kv)?);
        let attended = s.rotate_and_attend(node, cx, args, part(0, q)?, k, v)?;
        Ok(Value::Tuple(vec![self.o_proj.apply(cx, &attended)?.into(), Value::None]))
    }
}
