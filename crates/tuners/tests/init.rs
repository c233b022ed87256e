//! `seed` gives the initial values that Python's seed gives (`fixtures/init`), PEFT's on the core alone: `INIT=hra cargo test --test init`
//! takes the cases whose names contain it. `__test__/init.spec.ts` has all of them.

mod support;

use candle_core::DType;
use serde_json::Value as Json;
use std::path::Path;
use support::{base, fixtures, values, worst};
use swift_tuners_nn::checkpoint::{json, safetensors};
use swift_tuners_nn::Result;
use swift_tuners_tuners::lifecycle::PrepareOptions;

/// Relative to the larger of a value and 1.
const CLOSE: f64 = 1e-6;

#[test]
fn as_in_python() {
    let wanted = std::env::var("INIT").unwrap_or_default();
    let mut names: Vec<String> = std::fs::read_dir(fixtures().join("init"))
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .filter(|name| name.starts_with("peft-") && name.contains(&wanted))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no case has {wanted} in its name");
    let problems: Vec<String> = names.iter().filter_map(|name| Some(format!("{name}: {}", problem(name)?))).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn problem(name: &str) -> Option<String> {
    differs(&fixtures().join("init").join(name)).unwrap_or_else(|e| Some(e.to_string()))
}

/// What the first tensor that differs differs by.
fn differs(file: &Path) -> Result<Option<String>> {
    let case = json::read(&file.with_extension("json"))?;
    let mut model = base(case["base"].as_str().unwrap_or_default(), DType::F32)?;
    let configs: Vec<(String, Json)> =
        case["configs"].as_object().into_iter().flatten().map(|(name, c)| (name.clone(), c.clone())).collect();
    model.prepare(0, &configs, &PrepareOptions { seed: case["seed"].as_u64().unwrap_or(0), ..Default::default() })?;
    for (key, expected) in safetensors::read(&file.with_extension("safetensors"))? {
        let actual = model.parameter(&key)?.array()?;
        if serde_json::json!(actual.dims()) != case["shapes"][&key] {
            return Ok(Some(format!("{key}: {:?} for {}", actual.dims(), case["shapes"][&key])));
        }
        // Of large tensors the case has the first values.
        let (actual, expected) = (values(&actual)?, values(&expected)?);
        for pair in actual.iter().zip(&expected) {
            let (off, scale) = worst(std::iter::once(pair));
            if off > CLOSE * scale {
                return Ok(Some(format!("{key}: {} for {}", pair.0, pair.1)));
            }
        }
    }
    Ok(None)
}
