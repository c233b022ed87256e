//! What the relatives of Llama differ by.

use crate::models::builder::Builder;
use crate::models::source::Init;
use crate::module::Node;
use crate::ops::Activation;
use crate::{layers, Result};

pub(super) struct Flags {
    pub hidden: usize,
    pub inner: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub eps: f64,
    pub act: Activation,
    pub qkv_bias: bool,
    pub o_bias: bool,
    pub mlp_bias: bool,
    pub qk_norm: bool,
    /// Phi-3 keeps q, k, v in one matrix, and gate and up in another.
    pub fused: bool,
    /// Gemma: norms on both sides of attention and MLP, gains as distances from one.
    pub gemma: bool,
    /// Multiplies attention scores.
    pub scale: f64,
    pub attention_dropout: f64,
    pub resid_dropout: f64,
    pub embd_dropout: f64,
}

impl Flags {
    pub fn norm(&self, b: &Builder, width: usize) -> Result<Node> {
        let (init, offset) = if self.gemma { (Init::Zeros, 1.) } else { (Init::Ones, 0.) };
        Ok(Node::new(layers::RmsNorm { weight: b.param("weight", &[width], init)?, eps: self.eps, offset }))
    }
}
