//! Shadow beside what every kind of tuner is tested for: what is refused and by which name, and passes that run in another way.

mod support;

use candle_core::{DType, Device};
use serde_json::{json, Value as Json};
use support::{base, fixtures, gap, inference, logits, only, values, Temp};
use swift_tuners_nn::checkpoint::{load_model, safetensors};
use swift_tuners_nn::module::Ints;
use swift_tuners_nn::quantized::Packing;
use swift_tuners_nn::{Array, Context, Error, Inputs, Quantization, Result};
use swift_tuners_tuners::formats::{FromPretrainedOptions, NameSelection, SaveOptions};
use swift_tuners_tuners::lifecycle::PrepareOptions;
use swift_tuners_tuners::TunedModel;

fn config(more: Json) -> Json {
    let mut config = json!({ "peft_type": "SHADOW", "task_type": "CAUSAL_LM", "r": 3, "init_weights": false, "shadow_dropout": 0.0 });
    for (field, value) in more.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    config
}

fn prepare(model: &mut TunedModel, name: &str, more: Json) -> Result<()> {
    model.prepare(0, &[(name.to_owned(), config(more))], &PrepareOptions::default()).map(|_| ())
}

fn prepared(base_name: &str, dtype: DType, more: Json) -> Result<TunedModel> {
    let mut model = base(base_name, dtype)?;
    prepare(&mut model, "default", more)?;
    Ok(model)
}

fn inputs() -> Result<Inputs> {
    let ids = Ints::new(vec![2, 6], vec![5, 9, 2, 77, 31, 4, 8, 1, 150, 3, 3, 60])?;
    let attention_mask = Some(Ints::new(vec![2, 6], vec![1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0])?);
    Ok(Inputs { input_ids: Some(ids.clone()), attention_mask, labels: Some(ids), ..Inputs::default() })
}

fn unlabelled() -> Result<Inputs> {
    Ok(Inputs { labels: None, ..inputs()? })
}

#[test]
fn what_cannot_be_done_is_refused_by_its_name() -> Result<()> {
    let refused = [
        (
            "llama",
            json!({ "target_modules": ["layers.0", "layers.2"] }),
            "target_modules",
            "model.layers.1 lies between",
        ),
        ("llama", json!({ "exclude_modules": ["layers.1"] }), "target_modules", "model.layers.1 lies between"),
        ("llama", json!({ "target_modules": ["q_proj"] }), "target_modules", "q_proj is no block"),
        ("llama", json!({ "layers_to_transform": [1] }), "layers_to_transform", "without effect"),
        ("llama", json!({ "shadow_model": "nowhere/at-all" }), "shadow_model", "is no folder of a model"),
        ("llama", json!({ "shadow_model": "a", "shadow_hidden_size": 32 }), "shadow_hidden_size", "leave it out"),
        ("llama", json!({ "shadow_num_attention_heads": 0 }), "shadow_num_attention_heads", "positive"),
        ("llama", json!({ "shadow_num_attention_heads": 3 }), "shadow_model", "3 attention heads"),
        ("bert-classifier", json!({ "task_type": "SEQ_CLS" }), "target_modules", "missing"),
        ("t5", json!({ "target_modules": ["encoder.block.0"] }), "shadow_model", "T5ForConditionalGeneration"),
        ("unet2d", json!({ "target_modules": ["down_blocks.0"] }), "peft_type", "UNet2DConditionModel"),
    ];
    for (name, more, option, why) in refused {
        let Err(Error::Config { option: found, message }) = prepared(name, DType::F32, more.clone()) else {
            panic!("{name} {more} is taken")
        };
        assert!(found == option && message.contains(why), "{more}: {found}: {message}");
    }
    // Numbers of layers choose nothing, as they must be followed by a dot.
    let cut = prepared("llama", DType::F32, json!({ "target_modules": ["layers.1"], "layers_to_transform": [1] }));
    assert!(matches!(cut, Err(Error::Target { .. })));
    Ok(())
}

#[test]
fn blocks_are_written_out_and_merging_is_refused_in_both_directions() -> Result<()> {
    let mut model = prepared("llama", DType::F32, json!({}))?;
    let all: Vec<String> = (0..4).map(|i| format!("model.layers.{i}")).collect();
    assert_eq!(model.adapters()["default"].config.fields["target_modules"], json!(all));
    for refused in [model.merge(0, None), model.unmerge(), model.merge_and_unload_peft(0, None, false)] {
        let Err(Error::UnsupportedTuner(why)) = refused else { panic!("it is not refused") };
        assert!(why.contains("SHADOW"), "{why}");
    }
    Ok(())
}

#[test]
fn a_fresh_adapter_changes_nothing_but_the_loss() -> Result<()> {
    let plain = base("llama", DType::F64)?;
    let model = prepared("llama", DType::F64, json!({ "init_weights": true, "auxiliary_loss_weight": 0.5 }))?;
    let (mine, its) =
        (logits(&model, &inference(&model), &unlabelled()?)?, logits(&plain, &only(&[]), &unlabelled()?)?);
    assert_eq!(values(&mine)?, values(&its)?);
    let loss = |model: &TunedModel, cx: &Context| -> Result<f64> {
        model.forward(cx, &inputs()?)?.loss.expect("labels are given").to_scalar_f64()
    };
    assert!(loss(&model, &inference(&model))? > loss(&plain, &only(&[]))? + 1.);
    assert_eq!(loss(&model, &only(&[]))?, loss(&plain, &only(&[]))?);
    let silent = prepared("llama", DType::F64, json!({ "init_weights": true, "auxiliary_loss_weight": 0.0 }))?;
    assert_eq!(loss(&silent, &inference(&silent))?, loss(&plain, &only(&[]))?);
    Ok(())
}

fn gradients(model: &TunedModel, cx: Context, loss_only: bool) -> Result<Vec<(String, Vec<f64>)>> {
    let active = model.active_ids(0);
    let output = model.forward(&Context { active, ..cx }, &Inputs { loss_only, ..inputs()? })?;
    assert_eq!(output.logits.is_none(), loss_only);
    output.loss.expect("labels are given").backward()?;
    let mut all = Vec::new();
    for (name, param) in model.model.parameters() {
        if let Some(grad) = param.grad() {
            all.push((name, values(&grad)?));
            param.set_grad(None);
        }
    }
    Ok(all)
}

#[test]
fn gradients_are_the_same_without_logits_and_where_blocks_run_again() -> Result<()> {
    for (name, more) in [("llama", json!({ "shadow_dropout": 0.3 })), ("gpt2", json!({ "shadow_hidden_size": 32 }))] {
        let model = prepared(name, DType::F64, more)?;
        let training = || Context { training: true, seed: 5, ..Context::default() };
        let expected = gradients(&model, training(), false)?;
        assert!(expected.len() > 30);
        for (cx, loss_only) in [(training(), true), (Context { checkpointing: true, ..training() }, false)] {
            let found = gradients(&model, cx, loss_only)?;
            assert_eq!(found.len(), expected.len());
            for ((name, a), (_, b)) in found.iter().zip(&expected) {
                let off = a.iter().zip(b).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
                assert!(off < 1e-12, "{name}: off by {off:.2e}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_gets_no_gradient_is_what_no_loss_depends_on() -> Result<()> {
    let classifier = json!({ "task_type": "SEQ_CLS", "target_modules": ["layer.1", "layer.2"] });
    for (name, more) in [("llama", json!({})), ("gpt2", json!({})), ("bert-classifier", classifier)] {
        let model = prepared(name, DType::F32, more)?;
        let labels = if name == "bert-classifier" { Some(Ints::new(vec![2], vec![1, 0])?) } else { inputs()?.labels };
        let cx = Context { active: model.active_ids(0), ..Context::default() };
        model.forward(&cx, &Inputs { labels, ..inputs()? })?.loss.expect("labels are given").backward()?;
        let idle = model.idle();
        for (name, param) in model.model.parameters().into_iter().filter(|(_, p)| p.requires_grad()) {
            assert_eq!(param.grad().is_none(), idle.contains(&param.id()), "{name}");
        }
        assert!(idle.len() >= 8);
    }
    Ok(())
}

#[test]
fn one_adapter_is_active_and_files_do_not_hold_its_name() -> Result<()> {
    let mut model = prepared("qwen2", DType::F32, json!({ "target_modules": ["layers.1", "layers.2"] }))?;
    prepare(&mut model, "other", json!({ "target_modules": ["layers.2", "layers.3"], "shadow_hidden_size": 32 }))?;
    model.set_adapter(0, &["other".to_owned()], false)?;
    let other = logits(&model, &inference(&model), &unlabelled()?)?;
    let trained = |model: &TunedModel| -> Vec<String> {
        let all = model.model.parameters().into_iter().filter(|(_, p)| p.requires_grad());
        all.map(|(name, _)| name).collect()
    };
    assert!(trained(&model).iter().all(|name| name.contains(".other")), "{:?}", trained(&model));
    let both = Context { active: model.ids(&["default".to_owned(), "other".to_owned()])?, ..inference(&model) };
    let Err(Error::Invalid(why)) = model.forward(&both, &unlabelled()?) else { panic!("both run") };
    assert!(why.contains("default and other"), "{why}");

    let temp = Temp::new()?;
    let dir = temp.0.join("saved");
    model.save_pretrained(&dir, &SaveOptions { safe: true, max_shard: u64::MAX, ..Default::default() })?;
    let keys = safetensors::read(&dir.join("other/adapter_model.safetensors"))?;
    assert!(keys.contains_key("base_model.shadow_projection.default.weight"));
    assert!(keys.keys().all(|key| key.contains(".default.")), "{keys:?}");
    let mut again = base("qwen2", DType::F32)?;
    let names = NameSelection::Named(vec![("other".to_owned(), "third".to_owned())]);
    again.from_pretrained(0, &dir, &FromPretrainedOptions { names, strict: true, ..Default::default() })?;
    assert_eq!(values(&logits(&again, &inference(&again), &unlabelled()?)?)?, values(&other)?);

    model.delete("other")?;
    model.set_adapter(0, &["default".to_owned()], false)?;
    assert!(gap(&logits(&model, &inference(&model), &unlabelled()?)?, &other)?.0 > 1e-4);
    Ok(())
}

#[test]
fn half_precision_and_packed_bases_run_as_the_whole_one_does() -> Result<()> {
    let more = || json!({ "shadow_alpha": 0.5, "shadow_intermediate_size": 24 });
    let wide = prepared("llama", DType::F32, more())?;
    let expected = logits(&wide, &inference(&wide), &unlabelled()?)?;
    let plain = base("llama", DType::F32)?;
    assert!(gap(&logits(&plain, &only(&[]), &unlabelled()?)?, &expected)?.0 > 0.05);
    for dtype in [DType::BF16, DType::F16] {
        let narrow = prepared("llama", dtype, more())?;
        let found: Array = logits(&narrow, &inference(&narrow), &unlabelled()?)?;
        assert_eq!(found.dtype(), dtype);
        let (off, scale) = gap(&found.to_dtype(DType::F32)?, &expected)?;
        assert!(off < 0.05 * scale, "{dtype:?}: off by {off:.2e} of {scale:.2e}");
        let of = |name: &str| narrow.parameter(name).map(|p| p.dtype());
        assert_eq!(of("base_model.shadow_backbone.default.norm.weight")?, dtype);
        assert_eq!(of("base_model.model.model.layers.0.shadow_down.default.weight")?, DType::F32);
    }
    let dir = fixtures().join("models/llama");
    let quantization = Quantization { packing: Packing::Q8_0, skip_modules: None };
    let (packed, _) = load_model(&dir, Some(DType::F32), &Device::Cpu, None, Some(&quantization))?;
    let mut packed = TunedModel::new(packed, true);
    prepare(&mut packed, "default", more())?;
    let (off, scale) = gap(&logits(&packed, &inference(&packed), &unlabelled()?)?, &expected)?;
    assert!(off < 0.05 * scale, "off by {off:.2e} of {scale:.2e}");
    Ok(())
}
