//! Factors of a LoRA that combines others: PEFT's `add_weighted_adapter`.

use super::Lora;
use crate::config::TunerConfig;
use crate::method::{Combinations, Made};
use candle_core::DType;
use serde_json::{json, Map, Value as Json};
use swift_tuners_nn::combine::{clamp, Combination, Combining, Method};
use swift_tuners_nn::linalg::svd;
use swift_tuners_nn::{Array, Error, Result};

pub const COMBINATIONS: Combinations = Combinations { rank, config };

/// The rank of the result.
fn rank(configs: &[&TunerConfig], combination: Combination, svd_rank: Option<usize>) -> Result<usize> {
    let mut ranks: Vec<usize> = Vec::new();
    for c in configs {
        for field in ["use_dora", "use_merged_linear"] {
            if c.flag(field)? {
                return Err(Error::config("adapters", format!("adapters with {field} cannot be combined")));
            }
        }
        ranks.push(c.size("r")?);
    }
    match combination {
        Combination::Cat => Ok(ranks.iter().sum()),
        Combination::Svd(_) => Ok(svd_rank.or(ranks.iter().max().copied()).unwrap_or(1)),
        _ if ranks.iter().all(|&r| r == ranks[0]) => Ok(ranks[0]),
        _ => Err(Error::config("adapters", format!("their ranks {ranks:?} must agree; use cat or svd"))),
    }
}

/// The first one's configuration with alpha = r, so that the scaling is 1, and the targets of all.
fn config(configs: &[&TunerConfig], rank: usize, made: &[Made]) -> Result<TunerConfig> {
    let mut config = configs[0].clone();
    let mut targets: Vec<String> = Vec::new();
    for c in configs {
        match c.get("target_modules") {
            Some(Json::String(_)) => targets.extend(made.iter().map(|m| m.path.clone())),
            _ => targets.extend(c.texts("target_modules")?.unwrap_or_default()),
        }
    }
    targets.sort();
    targets.dedup();
    // The factors may have another rank where only some adapters act; the configuration says so.
    let mut odd: Vec<(&str, usize)> = made.iter().map(|m| (m.path.as_str(), m.values[0].dims()[0])).collect();
    odd.retain(|(_, r)| *r != rank);
    odd.sort();
    let pattern: Map<String, Json> =
        odd.into_iter().map(|(path, r)| (fancy_regex::escape(path).into_owned(), r.into())).collect();
    let changes = json!({
        "r": rank, "lora_alpha": rank, "target_modules": targets, "rank_pattern": pattern, "alpha_pattern": pattern,
        "use_rslora": false, "init_lora_weights": true,
    });
    if let Json::Object(changes) = changes {
        changes.into_iter().for_each(|(name, value)| config.set(&name, value));
    }
    Ok(config)
}

/// A and B of the combination of these adapters of one layer, as matrices; nothing when there are none.
///
/// `linear` and the pruning methods combine A and B apart (equal ranks needed), `cat` stacks them, the `svd` kinds combine
/// the deltas and factor the sum. The result's scaling is 1.
pub fn factors(here: &[(&Lora, f64)], how: &mut Combining) -> Result<Option<Vec<Array>>> {
    if here.is_empty() {
        return Ok(None);
    }
    let mut a: Vec<Array> = Vec::new();
    let mut b: Vec<Array> = Vec::new();
    for (x, _) in here {
        a.push((how.read)(&x.a)?.to_dtype(DType::F32)?.flatten_from(1)?);
        b.push((how.read)(&x.b)?.to_dtype(DType::F32)?.flatten_from(1)?);
    }
    let scaled: Vec<f64> = here.iter().map(|(x, w)| w * x.scaling).collect();
    let apart = |how: &mut Combining, method: Method| -> Result<Vec<Array>> {
        let roots: Vec<f64> = scaled.iter().map(|w| w.abs().sqrt()).collect();
        let signed: Vec<f64> = scaled.iter().zip(&roots).map(|(w, r)| r.copysign(*w)).collect();
        if a.iter().any(|x| x.dims() != a[0].dims()) {
            return Err(Error::config("adapters", "their ranks on one module must agree; use cat or svd"));
        }
        Ok(vec![how.mix(&a, &signed, method)?, how.mix(&b, &roots, method)?])
    };
    Ok(Some(match how.combination {
        Combination::Linear => apart(how, Method::Sum)?,
        Combination::Factors(method) => apart(how, method)?,
        Combination::Cat => {
            let rows = a.iter().zip(&scaled).map(|(x, &w)| x * w).collect::<candle_core::Result<Vec<_>>>()?;
            vec![Array::cat(&rows, 0)?, Array::cat(&b, 1)?.contiguous()?]
        }
        Combination::Svd(method) => {
            // The deltas hold the scaling once, the weights once more: as PEFT computes it.
            let delta = |i: usize| -> Result<Array> { Ok((b[i].matmul(&a[i])? * here[i].0.scaling)?) };
            let deltas = (0..here.len()).map(delta).collect::<Result<Vec<_>>>()?;
            let sum = how.mix(&deltas, &scaled, method)?;
            let limit = sum.dims().iter().copied().min().unwrap_or(0);
            let (u, s, vt) = svd(&sum, how.rank.min(limit))?;
            let (b, a) = (u.broadcast_mul(&s.unsqueeze(0)?)?, vt);
            let (a, b) = match how.svd_clamp {
                Some(quantile) => clamp(a, b, quantile)?,
                None => (a, b),
            };
            vec![a, b]
        }
    }))
}
