//! What only Gemma has.

use super::attention::attend;
use crate::context::Context;
use crate::models::config::Config;
use crate::models::rope_config::RopeConfig;
use crate::module::{Args, Module, Node, Value};
use crate::{fields, Result};

/// Gemma's rotary frequencies for layers that see everything, and for those with a window.
pub(super) fn gemma_ropes(c: &Config, head_dim: usize) -> Result<Vec<RopeConfig>> {
    let both = c.object("rope_parameters")?;
    let at = |name: &str| both.as_ref().map_or(Ok(None), |p| p.object(name));
    match (at("full_attention")?, at("sliding_attention")?) {
        (Some(full), Some(sliding)) => {
            Ok(vec![RopeConfig::of(c, Some(&full), head_dim, 1e6)?, RopeConfig::of(c, Some(&sliding), head_dim, 1e4)?])
        }
        _ => {
            // Before transformers 5; the scaling concerns the layers that see everything.
            let local = c.float_or("rope_local_base_freq", 1e4)?;
            Ok(vec![RopeConfig::new(c, head_dim, 1e6)?, RopeConfig::plain(local, head_dim)?])
        }
    }
}

#[derive(Clone)]
pub(super) struct GemmaLayer {
    pub self_attn: Node,
    pub mlp: Node,
    pub input_layernorm: Node,
    pub post_attention_layernorm: Node,
    pub pre_feedforward_layernorm: Node,
    pub post_feedforward_layernorm: Node,
}

impl Module for GemmaLayer {
    fields!(
        self_attn,
        mlp,
        input_layernorm,
        post_attention_layernorm,
        pre_feedforward_layernorm,
        post_feedforward_layernorm
    );

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let attended = attend(cx, &self.self_attn, args, self.input_layernorm.apply(cx, x)?)?;
        let x = x.add(&self.post_attention_layernorm.apply(cx, &attended)?)?;
        let y = self.mlp.apply(cx, &self.pre_feedforward_layernorm.apply(cx, &x)?)?;
        Ok(x.add(&self.post_feedforward_layernorm.apply(cx, &y)?)?.into())
    }
}
