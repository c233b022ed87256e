//! First values that data makes (`fixtures/data`, PEFT 0.21): LoRA-GA, CorDA and EVA.

mod support;

use candle_core::DType;
use serde_json::{json, Value as Json};
use std::path::PathBuf;
use support::{base, fixtures, ints, values};
use swift_tuners_nn::checkpoint::{json as json_files, safetensors, Tensors};
use swift_tuners_nn::{Array, CancelFlag, Inputs, Result};
use swift_tuners_tuners::lifecycle::{Measure, PrepareOptions};
use swift_tuners_tuners::lora::Eva;
use swift_tuners_tuners::registry::{parse, Unknown};
use swift_tuners_tuners::TunedModel;

struct Case {
    case: Json,
    batches: Vec<Inputs>,
    expected: Tensors,
}

impl Case {
    fn read(name: &str) -> Result<Self> {
        let folder: PathBuf = fixtures().join("data").join(name);
        let mut batches: Vec<Inputs> = Vec::new();
        for (key, array) in safetensors::read(&folder.join("batches.safetensors"))? {
            let (at, name) = key.split_once('.').expect("a batch and an input");
            let at: usize = at.parse().expect("a number");
            batches.resize(batches.len().max(at + 1), Inputs::default());
            let value = Some(ints(&array)?);
            match name {
                "input_ids" => batches[at].input_ids = value,
                "attention_mask" => batches[at].attention_mask = value,
                _ => batches[at].labels = value,
            }
        }
        Ok(Self {
            case: json_files::read(&folder.join("case.json"))?,
            batches,
            expected: safetensors::read(&folder.join("expected.safetensors"))?,
        })
    }

    /// The model with the adapter, after the batches were measured.
    fn prepared(&self, measure: Option<Measure>) -> Result<TunedModel> {
        let mut model = base(self.case["base"].as_str().unwrap_or_default(), DType::F32)?;
        let config = parse(&self.case["config"], Unknown::Refuse)?;
        for batch in &self.batches {
            if let Some(measure) = measure {
                model.measure(measure, &config, batch, &CancelFlag::default())?;
            }
        }
        let options = PrepareOptions { seed: self.case["seed"].as_u64().unwrap_or(0), ..Default::default() };
        model.prepare(0, &[("default".to_owned(), self.case["config"].clone())], &options)?;
        Ok(model)
    }

    fn compare(&self, model: &TunedModel, close: f64, of: impl Fn(&Array) -> Result<Vec<f64>>) -> Result<()> {
        assert!(!self.expected.is_empty());
        for (key, expected) in &self.expected {
            let actual = model.parameter(key)?.array()?;
            assert_eq!(actual.dims(), expected.dims(), "{key}");
            let (actual, expected) = (of(&actual)?, of(expected)?);
            let scale = expected.iter().fold(0f64, |m, v| m.max(v.abs())).max(1e-3);
            let off = actual.iter().zip(&expected).fold(0f64, |m, (a, e)| m.max((a - e).abs()));
            assert!(off <= close * scale, "{key}: off by {off:.2e} of {scale:.2e}");
        }
        Ok(())
    }
}

/// The components of a decomposition have no signs of their own.
fn unsigned(x: &Array) -> Result<Vec<f64>> {
    values(&x.abs()?)
}

#[test]
fn lora_ga_starts_along_the_gradient() -> Result<()> {
    for name in ["arb2r", "arbr", "a2rbr", "random"] {
        let case = Case::read(&format!("lora-ga-{name}"))?;
        let model = case.prepared(Some(Measure::Gradient))?;
        case.compare(&model, 2e-3, unsigned)?;
        // What the factors give was taken out of the weight.
        let plain = base("llama", DType::F32)?;
        let (with, without) = (
            support::logits(&model, &support::inference(&model), &case.batches[0])?,
            support::logits(&plain, &support::inference(&plain), &case.batches[0])?,
        );
        assert!(support::gap(&with, &without)?.0 < 1e-4, "{name}");
        assert!(model.model.parameters().iter().all(|(_, p)| p.grad().is_none()));
    }
    Ok(())
}

#[test]
fn without_a_gradient_lora_ga_starts_as_ever() -> Result<()> {
    let case = Case::read("lora-ga-arb2r")?;
    let model = case.prepared(None)?;
    let b = model.parameter("base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight")?.array()?;
    assert!(values(&b)?.iter().all(|&v| v == 0.));
    Ok(())
}

#[test]
fn corda_takes_the_weight_apart_as_its_inputs_see_it() -> Result<()> {
    for name in ["corda-ipm", "corda-kpm"] {
        let case = Case::read(name)?;
        let model = case.prepared(Some(Measure::Covariance))?;
        case.compare(&model, 5e-3, unsigned)?;
    }
    let without = Case::read("corda-ipm")?.prepared(None).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(without.contains("preprocessCorda"), "{without}");
    Ok(())
}

#[test]
fn eva_gives_ranks_where_components_explain_most() -> Result<()> {
    for name in ["eva", "eva-whiten"] {
        let case = Case::read(name)?;
        let mut model = case.prepared(None)?;
        let cancel = CancelFlag::default();
        let mut eva = Eva::new(&mut model, "default", &case.batches[0], &cancel)?;
        let mut batches = case.batches.iter().cycle();
        while !eva.step(&mut model, batches.next().expect("a cycle"), &cancel)? {}
        eva.finish(&mut model)?;
        let config = &model.adapters()["default"].config;
        assert_eq!(config.fields["rank_pattern"], case.case["rank_pattern"], "{name}");
        let (found, wanted) = (&config.fields["alpha_pattern"], &case.case["alpha_pattern"]);
        assert_eq!(found.as_object().map(|m| m.len()), wanted.as_object().map(|m| m.len()), "{name}");
        for (key, alpha) in wanted.as_object().into_iter().flatten() {
            assert!((found[key].as_f64().unwrap_or(0.) - alpha.as_f64().unwrap_or(0.)).abs() < 1e-9, "{key}");
        }
        case.compare(&model, 1e-4, values)?;
        // It is saved and loaded with the ranks that it has earned.
        let temp = support::Temp::new()?;
        let dir = temp.0.join("saved");
        let options =
            swift_tuners_tuners::formats::SaveOptions { safe: true, max_shard: u64::MAX, ..Default::default() };
        model.save_pretrained(&dir, &options)?;
        let mut again = base("llama", DType::F32)?;
        let strict = swift_tuners_tuners::formats::FromPretrainedOptions { strict: true, ..Default::default() };
        again.from_pretrained(0, &dir, &strict)?;
        case.compare(&again, 1e-4, values)?;
        if name == "eva" {
            assert_ne!(case.case["rank_pattern"], json!({}), "ranks have moved");
        }
    }
    Ok(())
}
