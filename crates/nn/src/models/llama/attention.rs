//! Attention with rotary positions, a cache, windows and shifted groups.

use crate::context::Context;
use crate::module::{Args, Module, Node, Value};
use crate::ops::{self, AttentionOptions, Mask};
use crate::{fields, Error, Result};

/// Calls a layer's attention with what the layer was called with.
pub(super) fn attend(cx: &Context, attention: &Node, args: &Args, normed: crate::Tensor) -> Result<crate::Tensor> {
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
    /// Rotates, appends to the cache, attends; `q`, `k`, `v` are `[batch, seq, heads, head_dim]`.
    fn attend(
        &self,
        cx: &Context,
        args: &Args,
        q: crate::Tensor,
        k: crate::Tensor,
        v: crate::Tensor,
    ) -> Result<crate::Tensor> {
        let table = match args.named("position_embeddings") {
            Value::Tuple(tables) => tables.get(self.rope),
            one => Some(one),
        };
        let (q, k) = match table {
            Some(Value::Rope(table)) => (ops::rope(&q, &table.0)?, ops::rope(&k, &table.0)?),
            _ => (q, k),
        };
        if let Value::Number(ratio) = args.named(GROUP_SIZE_RATIO) {
            return self.attend_shifted(cx, args, &q, &k, &v, *ratio);
        }
        let (k, v) = match &cx.cache {
            Some(cache) => cache.append(self.index, &k, &v)?,
            None => (k, v),
        };
        let mask = args.mask(usize::MAX, "attention_mask");
        ops::attention(&q, &k, &v, &self.options(cx, mask))?.merge_last() // [batch, seq, heads * head_dim]
    }

    fn options(&self, cx: &Context, mut mask: Mask) -> AttentionOptions {
        mask.window = self.window;
        let dropout = (cx.training && self.dropout > 0.).then(|| (self.dropout as f32, cx.next_seed()));
        AttentionOptions { scale: self.scale, mask, dropout }
    }

    /// Causal attention inside groups of `ratio · seq` positions; the second half of the heads sees the groups shifted by
    /// half a group, the last of them wrapping around.
    ///
    /// Chen et al. 2023 (arXiv 2309.12307). Python shifts odd groups back by one place too few; here they return.
    fn attend_shifted(
        &self,
        cx: &Context,
        args: &Args,
        q: &crate::Tensor,
        k: &crate::Tensor,
        v: &crate::Tensor,
        ratio: f64,
    ) -> Result<crate::Tensor> {
        let (batch, seq) = (q.dim(0), q.dim(1));
        let group = (seq as f64 * ratio) as usize;
        if group == 0 || seq % group != 0 {
            return Err(Error::Argument(format!(
                "group_size_ratio: a sequence of {seq} cannot be split into groups of {group}; pad it to a multiple"
            )));
        }
        let mask = args.mask(usize::MAX, "attention_mask");
        let shift = group.div_ceil(2) as isize;
        let half = self.heads / 2;
        let (k, v) = (repeat_heads(k, self.heads)?, repeat_heads(v, self.heads)?);
        let part = |start: usize, count: usize, shift: isize| -> Result<crate::Tensor> {
            let grouped = |x: &crate::Tensor| {
                let x = x.narrow(2, start, count)?.roll(-shift, 1)?.contiguous()?;
                x.reshape((batch * seq / group, group, count, self.head_dim))
            };
            let keys = match &mask.keys {
                Some(keys) => {
                    let keys = crate::Tensor::from(keys.clone()).roll(-shift, 1)?.contiguous()?;
                    Some(keys.reshape((batch * seq / group, group))?.into_data())
                }
                None => None,
            };
            let options = self.options(cx, Mask { keys, ..mask.clone() });
            let y = ops::attention(&grouped(q)?, &grouped(&k)?, &grouped(&v)?, &options)?;
            y.reshape((batch, seq, count, self.head_dim))?.roll(shift, 1)
        };
        if half == 0 {
            return part(0, self.heads, 0)?.merge_last();
        }
        let (first, second) = (part(0, half, 0)?, part(half, self.heads - half, shift)?);
        crate::Tensor::cat(&[&first, &second], 2)?.merge_last() // [batch, seq, heads * head_dim]
    }
}

/// What LongLoRA adds to a call of attention: the share of the sequence that a group has.
pub const GROUP_SIZE_RATIO: &str = "group_size_ratio";

/// `[batch, seq, kv_heads, d]` → `[batch, seq, heads, d]`, each head in turn for the queries that share it.
fn repeat_heads(x: &crate::Tensor, heads: usize) -> Result<crate::Tensor> {
    let &[batch, seq, kv, d] = x.dims() else {
        return Err(Error::Argument(format!("attention: expected four dimensions, found {:?}", x.dims())));
    };
    if kv == heads {
        return Ok(x.clone());
    }
    x.unsqueeze(3)?.broadcast_to(&[batch, seq, kv, heads / kv, d])?.contiguous()?.reshape((batch, seq, heads, d))
}

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
        let x = args.tensor(0, "hidden_states")?;
        let mut q = self.q_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        let mut k = self.k_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        let v = self.v_proj.apply(cx, x)?.split_last(self.shape.head_dim)?;
        if let (Some(qn), Some(kn)) = (&self.q_norm, &self.k_norm) {
            q = qn.apply(cx, &q)?;
            k = kn.apply(cx, &k)?;
        }
        let y = self.o_proj.apply(cx, &self.shape.attend(cx, args, q, k, v)?)?;
        Ok(Value::Tuple(vec![y.into(), Value::None]))
    }

    fn set_layer_index(&mut self, index: usize) {
        self.shape.index = index;
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
        let s = &self.shape;
        let qkv = self.qkv_proj.apply(cx, args.tensor(0, "hidden_states")?)?;
        let (q, kv) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
        let part = |start, length| -> Result<crate::Tensor> {
            qkv.narrow(-1, start, length)?.contiguous()?.split_last(s.head_dim)
        };
        let attended = s.attend(cx, args, part(0, q)?, part(q, kv)?, part(q + kv, kv)?)?;
        Ok(Value::Tuple(vec![self.o_proj.apply(cx, &attended)?.into(), Value::None]))
    }

    fn set_layer_index(&mut self, index: usize) {
        self.shape.index = index;
    }
}
