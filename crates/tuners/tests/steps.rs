//! What adapters do at the steps of a training run: AdaLoRA's schedule with PEFT's numbers, a run that is cut and goes on, COFT's bound.

mod support;

use candle_core::DType;
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use std::path::PathBuf;
use support::{base, bits, fixtures, gap, inference, ints, logits, loss_of, values, Temp};
use swift_tuners_nn::checkpoint::{json as files, safetensors, Tensors};
use swift_tuners_nn::{Array, Context, Inputs, Result};
use swift_tuners_tuners::formats::{FromPretrainedOptions, SaveOptions};
use swift_tuners_tuners::lifecycle::PrepareOptions;
use swift_tuners_tuners::TunedModel;

fn folder() -> PathBuf {
    fixtures().join("peft/adalora-schedule")
}

fn inputs() -> Result<Inputs> {
    let read = safetensors::read(&folder().join("inputs.safetensors"))?;
    let of = |name: &str| read.get(name).map(ints).transpose();
    Ok(Inputs {
        input_ids: of("input_ids")?,
        attention_mask: of("attention_mask")?,
        labels: of("labels")?,
        ..Inputs::default()
    })
}

/// One step of plain gradient descent, which gives the loss before it.
fn step(model: &mut TunedModel, inputs: &Inputs, number: u64, lr: f64) -> Result<f64> {
    let cx = Context { active: model.active_ids(0), ..Context::default() };
    let loss = loss_of(&model.model.forward(&cx, inputs)?)?;
    loss.backward()?;
    model.before_step()?;
    for (_, p) in model.model.parameters().into_iter().filter(|(_, p)| p.requires_grad()) {
        if let Some(grad) = p.grad() {
            p.take(&(p.array()? - (grad * lr)?)?)?;
        }
    }
    model.after_step(number)?;
    model.model.parameters().into_iter().for_each(|(_, p)| p.set_grad(None));
    Ok(values(loss.data())?[0])
}

fn untuned() -> Result<TunedModel> {
    base(files::read(&folder().join("case.json"))?["base"].as_str().unwrap(), DType::F32)
}

fn trained() -> Result<TunedModel> {
    let mut model = untuned()?;
    model.from_pretrained(0, &folder().join("checkpoint"), &FromPretrainedOptions::default())?;
    Ok(model)
}

fn close(what: &str, actual: &Array, expected: &Array, tolerance: f64) {
    let (off, _) = gap(actual, expected).unwrap();
    assert!(off < tolerance, "{what}: off by {off:.2e}");
}

#[test]
fn ranks_fall_as_pefts_do() -> Result<()> {
    let (case, inputs) = (files::read(&folder().join("case.json"))?, inputs()?);
    let expected: Tensors = safetensors::read(&folder().join("expected.safetensors"))?;
    let mut model = trained()?;
    let lr = case["schedule"]["lr"].as_f64().unwrap();
    for of in case["schedule"]["steps"].as_array().unwrap() {
        let number = of["step"].as_u64().unwrap();
        let loss = step(&mut model, &inputs, number, lr)?;
        assert!((loss - of["loss"].as_f64().unwrap()).abs() < 1e-5, "step {number}: {loss} for {}", of["loss"]);
        for (key, e) in expected.iter().filter(|(k, _)| k.starts_with(&format!("step{number}.E."))) {
            let module = &key[format!("step{number}.E.").len()..];
            close(key, &model.parameter(&format!("{module}.lora_E.default"))?.array()?, e, 1e-5);
        }
        for (key, e) in expected.iter().filter(|(k, _)| k.starts_with(&format!("importance{number}.exp_"))) {
            let name = &key[format!("importance{number}.").len()..];
            let (kind, tensor) = name.split_once('.').unwrap();
            let state: HashMap<String, Array> = model.step_state().into_iter().collect();
            let found = &state[&format!("default.{}.{kind}", tensor.strip_suffix(".default").unwrap())];
            close(key, found, e, 1e-6);
        }
        let pattern = &model.adapters()["default"].config.fields["rank_pattern"];
        let named: serde_json::Map<String, Json> =
            pattern.as_object().into_iter().flatten().map(|(k, v)| (format!("{k}.default"), v.clone())).collect();
        let named = if pattern.is_null() { Json::Null } else { Json::Object(named) };
        assert_eq!(named, of["rank_pattern"], "step {number}");
    }
    let unlabelled = Inputs { labels: None, ..inputs.clone() };
    let last = logits(&model, &inference(&model), &unlabelled)?;
    let temp = Temp::new()?;
    let dir = temp.0.join("saved");
    model.save_pretrained(
        &dir,
        &SaveOptions { names: None, peft_format: false, safe: true, max_shard: u64::MAX, initial: None },
    )?;
    let (found, theirs) = (
        safetensors::read(&dir.join("adapter_model.safetensors"))?,
        safetensors::read(&folder().join("final/adapter_model.safetensors"))?,
    );
    assert_eq!(found.len(), theirs.len());
    for (key, e) in &theirs {
        close(key, &found[key], e, 1e-5);
    }
    let config = |dir: &std::path::Path| files::read(&dir.join("adapter_config.json"));
    assert_eq!(config(&dir)?["rank_pattern"], config(&folder().join("final"))?["rank_pattern"]);
    for (dir, tolerance) in [(dir, 1e-5), (folder().join("final"), 2e-4)] {
        let mut again = untuned()?;
        again.from_pretrained(0, &dir, &FromPretrainedOptions { strict: true, ..Default::default() })?;
        close("reloaded", &logits(&again, &inference(&again), &unlabelled)?, &last, tolerance);
    }
    Ok(())
}

#[test]
fn a_run_that_is_cut_goes_on_to_the_same_bits() -> Result<()> {
    let inputs = inputs()?;
    let steps = files::read(&folder().join("case.json"))?["schedule"]["steps"].as_array().unwrap().len() as u64;
    let whole = || -> Result<TunedModel> {
        let mut model = trained()?;
        (0..steps).try_for_each(|i| step(&mut model, &inputs, i, 0.05).map(|_| ()))?;
        Ok(model)
    };
    let whole = whole()?;
    for cut in [3, 5, 8] {
        let mut first = trained()?;
        (0..cut).try_for_each(|i| step(&mut first, &inputs, i, 0.05).map(|_| ()))?;
        let (weights, state) = (first.state_dict(None)?, first.step_state());
        let mut second = trained()?;
        second.load_state_dict(&weights, false)?;
        second.load_step_state(&state.into_iter().collect())?;
        (cut..steps).try_for_each(|i| step(&mut second, &inputs, i, 0.05).map(|_| ()))?;
        for ((name, a), (_, b)) in whole.state_dict(None)?.iter().zip(&second.state_dict(None)?) {
            assert_eq!(bits(a)?, bits(b)?, "{name}, cut after {cut}");
        }
        let pattern = |m: &TunedModel| m.adapters()["default"].config.fields["rank_pattern"].clone();
        assert_eq!(pattern(&whole), pattern(&second));
    }
    Ok(())
}

#[test]
fn constrained_rotations_start_a_step_from_within_their_bound() -> Result<()> {
    let mut model = base("llama", DType::F32)?;
    let config = json!({
        "peft_type": "OFT", "oft_block_size": 8, "target_modules": ["q_proj"], "coft": true, "eps": 0.01, "init_weights": false,
    });
    model.prepare(0, &[("default".into(), config)], &PrepareOptions::default())?;
    let name = "model.layers.0.self_attn.q_proj.oft_R.default.weight";
    let norms =
        |m: &TunedModel| -> Result<Vec<f64>> { values(&(m.parameter(name)?.array()?.sqr()?.sum(1)? * 2.)?.sqrt()?) };
    let bound = 0.01 / 8f64.sqrt();
    assert!(norms(&model)?.iter().all(|n| *n > bound));
    // Without a gradient it stays, as it does in Python without a pass.
    model.before_step()?;
    assert!(norms(&model)?.iter().all(|n| *n > bound));
    step(&mut model, &inputs()?, 0, 0.)?;
    assert!(norms(&model)?.iter().all(|n| *n <= bound * 1.00001));
    Ok(())
}
