//! Sliding windows.

use crate::models::config::Config;
use crate::{Error, Result};

/// The sliding window of each layer, where it has one.
pub(super) fn windows(c: &Config, kind: &str, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = c.optional_size("sliding_window")?;
    if let Some(types) = c.get("layer_types").and_then(|t| t.as_array()) {
        if types.len() != layers {
            return Err(Error::config(
                "config.json: layer_types",
                format!("expected {layers} entries, found {}", types.len()),
            ));
        }
        return types
            .iter()
            .map(|t| match t.as_str() {
                Some("full_attention") => Ok(None),
                Some("sliding_attention") => match window {
                    Some(w) => Ok(Some(w)),
                    None => Err(Error::config("config.json: sliding_window", "missing, but layer_types asks for it")),
                },
                _ => Err(Error::UnsupportedModel(format!("config.json: layer_types has {t}"))),
            })
            .collect();
    }
    if kind == "gemma3_text" {
        let name = if c.get("sliding_window_pattern").is_some() {
            "sliding_window_pattern"
        } else {
            "_sliding_window_pattern"
        };
        let (every, window) = (c.size_or(name, 6)?, window.or(Some(4096)));
        return Ok((0..layers).map(|i| window.filter(|_| (i + 1) % every != 0)).collect());
    }
    let first = match kind {
        "mistral" | "phi3" => 0,
        "qwen2" | "qwen3" | "qwen3_moe" if c.flag("use_sliding_window", false)? => {
            c.size_or("max_window_layers", 28)?
        }
        _ => return Ok(vec![None; layers]),
    };
    Ok((0..layers).map(|i| window.filter(|_| i >= first)).collect())
}

/// What transformers calls the kinds of a model's layers, and their window if some have one.
pub(in crate::models) fn layer_kinds(
    c: &Config,
    kind: &str,
    layers: usize,
) -> Result<(Vec<&'static str>, Option<usize>)> {
    let windows = windows(c, kind, layers)?;
    let name = |w: &Option<usize>| if w.is_some() { "sliding_attention" } else { "full_attention" };
    Ok((windows.iter().map(name).collect(), windows.iter().flatten().next().copied()))
}
