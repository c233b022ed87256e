//! Attention with biases by relative position.

use crate::context::Context;
use crate::module::{Args, Ints, Module, Node, Value};
use crate::ops::{self, AttentionOptions};
use crate::tensor::{Array, Tensor};
use crate::{fields, Result};

#[derive(Clone)]
pub(super) struct T5Attention {
    pub q: Node,
    pub k: Node,
    pub v: Node,
    pub o: Node,
    pub relative_attention_bias: Option<Node>,
    pub head_dim: usize,
    pub buckets: usize,
    pub max_distance: usize,
    pub bidirectional: bool,
    pub dropout: f64,
    /// Its block's place, which is its place in a cache.
    pub index: usize,
}

impl T5Attention {
    /// The bucket of a distance (key position − query position): exact for near ones, logarithmic further on.
    fn bucket(&self, distance: i64) -> i64 {
        let mut buckets = self.buckets as i64;
        let mut first = 0;
        let distance = if self.bidirectional {
            buckets /= 2;
            first = if distance > 0 { buckets } else { 0 };
            distance.abs()
        } else {
            (-distance).max(0)
        };
        let exact = buckets / 2;
        if distance < exact {
            return first + distance;
        }
        // In f32, as Python computes it: at the edges the rounding decides.
        let share = (distance as f32 / exact as f32).ln() / (self.max_distance as f64 / exact as f64).ln() as f32;
        first + (exact + (share * (buckets - exact) as f32) as i64).min(buckets - 1)
    }

    /// `[1, heads, queries, keys]`; the queries are the last of the keys.
    fn compute_bias(&self, cx: &Context, table: &Node, queries: usize, keys: usize) -> Result<Tensor> {
        let first = keys.saturating_sub(queries) as i64;
        let ids = (first..first + queries as i64).flat_map(|q| (0..keys as i64).map(move |k| self.bucket(k - q)));
        let ids = Value::Ints(Ints::new(vec![queries, keys], ids.collect())?);
        let values = table.call(cx, Args { positional: vec![ids], named: Vec::new() })?.into_tensor()?;
        values.permute(&[2, 0, 1])?.contiguous()?.unsqueeze(0)
    }
}

impl Module for T5Attention {
    fields!(q, k, v, o, relative_attention_bias);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let heads = |node: &Node, of: &Tensor| node.apply(cx, of)?.split_last(self.head_dim);
        let q = heads(&self.q, x)?;
        let both = |of: &Tensor| Ok((heads(&self.k, of)?, heads(&self.v, of)?));
        let (k, v) = match (args.optional_tensor("key_value_states"), &cx.cache) {
            (Some(encoded), Some(cache)) => cache.cross(self.index, || both(encoded))?,
            (Some(encoded), None) => both(encoded)?,
            (None, _) => {
                let (k, v) = both(x)?;
                cx.with_past(self.index, k, v)?
            }
        };
        let bias = match (args.named("position_bias"), &self.relative_attention_bias) {
            (Value::Tensor(given), _) => Some(given.clone()),
            (_, Some(table)) => Some(self.compute_bias(cx, table, q.dim(1), k.dim(1))?),
            _ => None,
        };
        let mut mask = args.mask(usize::MAX, "mask");
        let rate = if cx.training { self.dropout } else { 0. };
        let y = match &bias {
            // The tiled kernel takes masks as constants; a bias in training needs its gradient.
            Some(bias) if bias.is_tracked() => {
                let (q, k, v) = (q.transpose(1, 2)?, k.transpose(1, 2)?, v.transpose(1, 2)?);
                let scores = q.contiguous()?.matmul(&k.transpose(2, 3)?.contiguous()?)?.add(bias)?;
                let hidden: Array = mask.to_dense(scores.dim(2), scores.dim(3), scores.device())?;
                let weights = scores.add(&hidden.to_dtype(scores.dtype())?.into())?.softmax(-1)?;
                let y = cx.dropout(&weights, rate)?.matmul(&v.contiguous()?)?;
                y.transpose(1, 2)?.contiguous()?
            }
            _ => {
                mask.dense = bias.as_ref().map(|b| b.data().clone());
                let dropout = (rate > 0.).then(|| (rate as f32, cx.next_seed()));
                ops::attention(&q, &k, &v, &AttentionOptions { scale: 1., mask, dropout })?
            }
        };
        let y = self.o.apply(cx, &y.merge_last()?)?;
        Ok(Value::Tuple(vec![y.into(), bias.map_or(Value::None, Value::Tensor)]))
    }
    fn set_layer_index(&mut self, index: usize) {
        self.index = index;
    }
}
