//! What the network reads of its config.

use crate::models::config::Config;
use crate::ops::Activation;
use crate::{Error, Result};

pub(super) struct Flags {
    pub groups: usize,
    pub eps: f64,
    pub act: Activation,
    pub dropout: f64,
    pub time: usize,
    pub cross: usize,
    pub linear_projection: bool,
    /// Divides what comes out of a residual block of the middle.
    pub mid_scale: f64,
}

/// Every field that would change the numbers and is not implemented.
pub(super) fn refuse_unsupported(c: &Config) -> Result<()> {
    for name in [
        "addition_embed_type",
        "class_embed_type",
        "num_class_embeds",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "time_cond_proj_dim",
        "time_embedding_act_fn",
        "timestep_post_act",
        "cross_attention_norm",
        "num_attention_heads",
        "reverse_transformer_layers_per_block",
    ] {
        c.refuse(name, &[])?;
    }
    for name in [
        "center_input_sample",
        "dual_cross_attention",
        "only_cross_attention",
        "mid_block_only_cross_attention",
        "resnet_skip_time_act",
        "class_embeddings_concat",
        "upcast_attention",
    ] {
        c.refuse(name, &[false.into()])?;
    }
    c.refuse("attention_type", &["default".into()])?;
    c.refuse("resnet_time_scale_shift", &["default".into()])?;
    c.refuse("time_embedding_type", &["positional".into()])?;
    c.refuse("mid_block_type", &["UNetMidBlock2DCrossAttn".into()])?;
    c.refuse("resnet_out_scale_factor", &[1.0.into(), 1.into()])
}

/// One number for all levels, or one for each.
pub(super) fn per_level(c: &Config, name: &str, default: usize, levels: usize) -> Result<Vec<usize>> {
    let list = match c.get(name) {
        None => return Ok(vec![default; levels]),
        Some(serde_json::Value::Array(list)) => list.clone(),
        Some(_) => return Ok(vec![c.size(name)?; levels]),
    };
    let sizes: Option<Vec<usize>> = list.iter().map(|v| v.as_u64().filter(|&n| n > 0).map(|n| n as usize)).collect();
    match sizes {
        Some(sizes) if sizes.len() == levels => Ok(sizes),
        _ => Err(Error::config(format!("config.json: {name}"), format!("expected {levels} positive integers"))),
    }
}

pub(super) fn kinds(c: &Config, name: &str, levels: usize, plain: &str, crossed: &str) -> Result<Vec<bool>> {
    let Some(list) = c.get(name).and_then(|v| v.as_array()) else {
        return Err(Error::config(format!("config.json: {name}"), "missing"));
    };
    if list.len() != levels {
        return Err(Error::config(format!("config.json: {name}"), format!("expected {levels} entries")));
    }
    let one = |v: &serde_json::Value| match v.as_str() {
        Some(kind) if kind == plain => Ok(false),
        Some(kind) if kind == crossed => Ok(true),
        _ => Err(Error::UnsupportedModel(format!("config.json: {name} has {v}"))),
    };
    list.iter().map(one).collect()
}
