//! Sizes of an attention call, checked.

use crate::tensor::Tensor;
use crate::{Error, Result};

#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub queries: usize,
    pub keys: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub d: usize,
    pub dv: usize,
}

impl Sizes {
    pub fn new(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Self> {
        match (q.dims(), k.dims(), v.dims()) {
            (&[batch, queries, heads, d], &[kb, keys, kv_heads, kd], &[vb, vk, vh, dv])
                if kb == batch
                    && vb == batch
                    && vk == keys
                    && vh == kv_heads
                    && kd == d
                    && kv_heads > 0
                    && heads % kv_heads == 0 =>
            {
                Ok(Self { batch, queries, keys, heads, kv_heads, d, dv })
            }
            (q, k, v) => Err(Error::Argument(format!("attention: shapes {q:?}, {k:?} and {v:?} do not fit"))),
        }
    }
}
