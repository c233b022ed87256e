//! An adapter over changed weights as a plain LoRA over the weights as they were: PiSSA's and OLoRA's way back.
//!
//! `W + ΔW = (W - s B₀ A₀) + s B A`, so `ΔW = s [B, -B₀] [A; A₀]`: a LoRA of twice the rank (Meng et al. 2024, appendix C;
//! PEFT's `path_initial_model_for_weight_conversion`).

use crate::config::TunerConfig;
use serde_json::Value as Json;
use swift_tuners_nn::checkpoint::Tensors;
use swift_tuners_nn::{Array, Error, Result};

/// Ways to start that subtract their product from the weight, or start with a product of zero.
const STARTS: [&str; 5] = ["pissa", "corda", "olora", "lora_ga", "true"];

pub fn restored(
    config: &TunerConfig,
    tensors: Vec<(String, Array)>,
    initial: &Tensors,
) -> Result<(TunerConfig, Vec<(String, Array)>)> {
    let rank_stabilised = config.flag("use_rslora")?;
    let patterns = ["rank_pattern", "alpha_pattern"];
    if rank_stabilised && patterns.iter().any(|p| config.get(p).is_some_and(|v| *v != Json::Object(Default::default())))
    {
        return Err(Error::config(
            "use_rslora",
            "with patterns there is no scaling that keeps twice the rank the same",
        ));
    }
    if config.flag("use_dora")? {
        return Err(Error::config("use_dora", "its magnitudes are those of the changed weights"));
    }
    let start = match config.get("init_lora_weights") {
        Some(Json::String(word)) => word.to_lowercase(),
        Some(Json::Bool(on)) => on.to_string(),
        _ => "true".to_owned(),
    };
    if !STARTS.iter().any(|s| start.starts_with(s)) {
        return Err(Error::config("init_lora_weights", format!("{start} leaves the weights as they are")));
    }
    let doubled = |(key, now): (String, Array)| -> Result<(String, Array)> {
        let is = |group: &str| key.ends_with(&format!(".{group}.weight")) || key.ends_with(&format!(".{group}"));
        let up = is("lora_B") || is("lora_embedding_B");
        if !up && !is("lora_A") && !is("lora_embedding_A") {
            return Ok((key, now)); // copies of modules, which PEFT leaves out here
        }
        let Some(then) = initial.get(&key).filter(|then| then.dims() == now.dims()) else {
            return Err(Error::Argument(format!(
                "{key}: what the adapter started with has no such tensor of this shape"
            )));
        };
        let then = then.to_dtype(now.dtype())?.to_device(now.device())?;
        let both = if up { Array::cat(&[now, then.neg()?], 1)? } else { Array::cat(&[now, then], 0)? };
        Ok((key, both.contiguous()?))
    };
    let tensors = tensors.into_iter().map(doubled).collect::<Result<Vec<_>>>()?;
    let mut config = config.clone();
    config.set("init_lora_weights", true);
    config.set("r", 2 * config.size("r")?);
    let alpha = config.float("lora_alpha")?.unwrap_or(8.);
    config.set("lora_alpha", if rank_stabilised { number(alpha * 2f64.sqrt()) } else { number(alpha * 2.) });
    for pattern in patterns {
        if let Some(Json::Object(values)) = config.get(pattern).cloned() {
            let twice = |(k, v): (String, Json)| (k, v.as_f64().map_or(v, |x| number(2. * x)));
            config.set(pattern, Json::Object(values.into_iter().map(twice).collect()));
        }
    }
    Ok((config, tensors))
}

/// Whole numbers without a point, as Python keeps them.
fn number(x: f64) -> Json {
    if x.fract() == 0. {
        (x as i64).into()
    } else {
        x.into()
    }
}
