//! Replays PEFT's cases on the core alone: outputs, names, loss, gradients, files, rows, weighted sums and merged weights. Optimizer
//! steps are replayed through the whole library (`__test__/reference.spec.ts`).

mod support;

use candle_core::DType;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use support::{base, by_rows, fixtures, inference, ints, logits, loss_of, values, worst, Temp};
use swift_tuners_nn::checkpoint::{json, safetensors, Tensors};
use swift_tuners_nn::module::{Ints, Value};
use swift_tuners_nn::{Array, Context, Error, Inputs, Result};
use swift_tuners_tuners::formats::{FromPretrainedOptions, SaveOptions};
use swift_tuners_tuners::lifecycle::{Combination, Format, SignMethod, WeightedOptions};
use swift_tuners_tuners::TunedModel;

/// A test for each case, in a module for each tuner: `cargo test --test replay hra`.
macro_rules! cases {
    ($($tuner:ident $prefix:literal { $($case:ident)* })*) => {
        $(mod $tuner {
            $(#[test]
            fn $case() {
                super::check(&super::spelled($prefix, stringify!($case)));
            })*
        })*

        fn listed() -> Vec<String> {
            vec![$($(spelled($prefix, stringify!($case))),*),*]
        }
    };
}

cases! {
    lora "" {
        all_linear alora arch_bert arch_gemma3 arch_gpt2 arch_llama_tied_bias arch_mistral arch_phi3 arch_qwen2 arch_qwen3 arch_qwen3_moe
        arch_roberta_classifier arrow arrow_gks arch_t5 arch_vit base_bfloat16 base_float16 basic bdlora bdlora_loose bias_all
        bias_lora_only bias_none conv1d convert_olora convert_pissa tokens_dict tokens_list tokens_tied
        default_targets dora dora_bias dora_conv1d dora_conv2d dora_embedding embedding embedding_tied embedding_tied_ensure exclude
        gemma_embedding gemma_embedding_dora tied_saved_embedding
        init_false init_gaussian init_mica init_olora init_orthogonal init_pissa init_pissa_niter_4 init_true kasa layer_replication layers left_padding lora_bias loraplus mixed_batch
        mixed_batch_classifier mixed_batch_conv monteclora modules_to_save_head no_padding patterns patterns_rslora regex_targets rslora
        target_parameters target_parameters_mixed target_parameters_router two_active velora_batch_average
        velora_batch_average_once velora_random
    }
    adalora "adalora-" { basic conv1d conv2d schedule }
    adamss "adamss-" { basic }
    adaption_prompt "adaption-prompt-" { basic gpt2 }
    beft "beft-" { basic }
    boft "boft-" { bias block_num block_size butterfly conv }
    c3a "c3a-" { basic pattern }
    cartridge "cartridge-" { basic }
    cpt "cpt-" { basic }
    deft "deft-" { para qr relu }
    delora "delora-" { basic patterns }
    fourierft "fourierft-" { basic pattern }
    frod "frod-" { basic }
    glora "glora-" { constant lora none vector }
    gralora "gralora-" { basic hybrid }
    hira "hira-" { basic patterns }
    hra "hra-" { basic conv gram_schmidt }
    ia3 "ia3-" { basic bias classifier conv1d conv2d t5 weighted }
    lily "lily-" { basic }
    ln_tuning "ln-tuning-" { basic layernorm }
    loha "loha-" { basic conv conv_effective patterns }
    lokr "lokr-" { basic conv conv_effective decompose_both factor lycoris_init }
    miss "miss-" { basic bat mini uneven }
    multitask_prompt_tuning "multitask-prompt-tuning-" { basic t5 }
    oft "oft-" { block_share block_size cayley_neumann coft conv rank }
    osf "osf-" { basic }
    p_tuning "p-tuning-" { basic_lstm basic_mlp classifier_lstm classifier_mlp t5_lstm t5_mlp }
    peanut "peanut-" { basic deep }
    poly "poly-" { basic t5 }
    prefix_tuning "prefix-tuning-" { basic basic_projection classifier classifier_projection t5 t5_projection }
    prompt_tuning "prompt-tuning-" { basic classifier t5 }
    psoft "psoft-" { basic pissa }
    pvera "pvera-" { basic }
    randlora "randlora-" { basic mlp sparse }
    road "road-" { mixed_batch road_1 road_2 road_4 }
    shadow "shadow-" { basic classifier gpt2 pretrained projected shared }
    shira "shira-" { basic }
    supertuning "supertuning-" { basic bottom no_indices supra }
    tinylora "tinylora-" { basic }
    trainable_tokens "trainable-tokens-" { basic tied }
    unilora "unilora-" { basic no_indices }
    vblora "vblora-" { basic topk_only }
    vera "vera-" { basic conv1d mixed_shapes no_projection }
    waveft "waveft-" { basic family no_idwt }
    xlora "xlora-" { basic }
}

/// Folders are written with hyphens, functions without.
fn spelled(prefix: &str, case: &str) -> String {
    format!("{prefix}{case}").replace('_', "-")
}

fn folders() -> Vec<PathBuf> {
    let dir = fixtures().join("peft");
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap().to_str().unwrap().replace('_', "-")
}

#[test]
fn every_case_is_listed() {
    let mut listed = listed();
    listed.sort();
    assert_eq!(listed, folders().iter().map(|f| name_of(f)).collect::<Vec<_>>());
}

/// What PEFT computes wrongly, which `__test__/reference.spec.ts` explains.
fn is_defect(case: &str, key: &str) -> bool {
    let ends = |ends: &[&str]| ends.iter().any(|end| key.ends_with(end));
    key.starts_with("grad.")
        && (case == "loha-conv-effective" && ends(&["conv1.hada_w1_a.default", "conv1.hada_w2_a.default"])
            || case.starts_with("c3a-") && key.contains(".layers.0."))
}

fn check(case: &str) {
    let folder = folders().into_iter().find(|f| name_of(f) == case).expect("a folder of this name");
    let problems = Replay::new(&folder).and_then(Replay::run).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert!(problems.is_empty(), "{case}:\n{}", problems.join("\n"));
}

struct Replay {
    folder: PathBuf,
    case: Json,
    expected: Tensors,
    inputs: Inputs,
    /// The positions that count, where there is padding.
    mask: Option<Vec<bool>>,
    problems: Vec<String>,
}

impl Replay {
    fn new(folder: &Path) -> Result<Self> {
        let expected = safetensors::read(&folder.join("expected.safetensors"))?;
        let mut inputs = Inputs::default();
        for (name, array) in safetensors::read(&folder.join("inputs.safetensors"))? {
            let tensor = || Some(array.clone().into());
            match name.as_str() {
                "input_ids" => inputs.input_ids = Some(ints(&array)?),
                "attention_mask" => inputs.attention_mask = Some(ints(&array)?),
                "token_type_ids" => inputs.token_type_ids = Some(ints(&array)?),
                "labels" if array.dtype().is_float() => inputs.float_labels = tensor(),
                "labels" => inputs.labels = Some(ints(&array)?),
                "pixel_values" => inputs.pixel_values = tensor(),
                "decoder_input_ids" => inputs.decoder_input_ids = Some(ints(&array)?),
                "sample" => inputs.sample = tensor(),
                "timestep" => inputs.timestep = tensor(),
                "encoder_hidden_states" => inputs.encoder_hidden_states = tensor(),
                "target" => inputs.target = tensor(),
                other => return Err(Error::Argument(format!("an input of the case is called {other}"))),
            }
        }
        let case = json::read(&folder.join("case.json"))?;
        // What only tuners understand.
        for (name, value) in case["extra_forward"].as_object().into_iter().flatten() {
            let numbers: Vec<i64> = value.as_array().into_iter().flatten().filter_map(Json::as_i64).collect();
            inputs.put(name, Value::Ints(Ints::new(vec![numbers.len()], numbers)?));
        }
        let mask = inputs.attention_mask.as_ref().map(|m| m.data.iter().map(|&v| v != 0).collect());
        Ok(Self { folder: folder.to_owned(), case, expected, inputs, mask, problems: Vec::new() })
    }

    /// Absolute, scaled by the expected magnitude where that exceeds 1.
    fn tolerance(&self, group: &str) -> f64 {
        let given = |group: &str| match &self.case["tolerance"] {
            Json::Object(groups) => groups.get(group)?.as_f64(),
            number => number.as_f64().filter(|_| group == "logits"),
        };
        let default = if ["loss", "grad", "merged"].contains(&group) { Some(1e-4) } else { None };
        given(group).or(default).or_else(|| given("logits")).unwrap_or(2e-5)
    }

    fn texts(&self, field: &str) -> Vec<String> {
        texts(&self.case[field])
    }

    /// Decoder inputs of an encoder-decoder are made from its labels.
    fn unlabelled(&self) -> Inputs {
        let labels = self.inputs.labels.clone().filter(|_| self.case["task"] == "seq2seq");
        Inputs { labels, float_labels: None, target: None, ..self.inputs.clone() }
    }

    fn close(&mut self, key: &str, group: &str, actual: Option<&Array>) -> Result<()> {
        let Some(expected) = self.expected.get(key) else { return Ok(()) };
        let Some(actual) = actual else {
            self.problems.push(format!("{key}: missing"));
            return Ok(());
        };
        if actual.elem_count() != expected.elem_count() {
            self.problems.push(format!("{key}: {:?} for {:?}", actual.dims(), expected.dims()));
            return Ok(());
        }
        let rows = expected.dims().iter().take(2).product::<usize>();
        let mask = self.mask.as_ref().filter(|mask| key.ends_with("logits") && mask.len() == rows);
        let (a, e) = (values(actual)?, values(expected)?);
        let width = e.len() / rows.max(1);
        let counts = |i: usize| mask.is_none_or(|mask| mask[i / width]);
        let (off, scale) = worst(a.iter().zip(&e).enumerate().filter(|(i, _)| counts(*i)).map(|(_, pair)| pair));
        let tolerance = self.tolerance(group) * scale;
        if (off > tolerance) != is_defect(&name_of(&self.folder), key) {
            self.problems.push(format!("{key}: off by {off:.2e}, tolerance {tolerance:.1e}"));
        }
        Ok(())
    }

    fn output(&mut self, key: &str, model: &TunedModel) -> Result<()> {
        let actual = logits(model, &inference(model), &self.unlabelled())?;
        self.close(key, "logits", Some(&actual))
    }

    fn untuned(&self) -> Result<TunedModel> {
        base(self.case["base"].as_str().unwrap_or_default(), DType::F32)
    }

    /// With the checkpoint of `dir`, its adapters trainable.
    fn from(&self, dir: &Path, strict: bool) -> Result<TunedModel> {
        let mut model = self.untuned()?;
        model.from_pretrained(0, dir, &FromPretrainedOptions { strict, ..Default::default() })?;
        model.set_adapter(0, &self.texts("active"), false)?;
        Ok(model)
    }

    /// The case's checkpoint; with `memory` also what Python keeps in memory and does not save.
    fn load(&self, memory: bool) -> Result<TunedModel> {
        let model = self.from(&self.folder.join(self.case["checkpoint"].as_str().unwrap_or_default()), false)?;
        let more = ["trainable_file", "classifier_file"].map(|name| self.case[name].as_str().filter(|_| memory));
        for file in more.into_iter().flatten().chain(Some("weights.safetensors").filter(|_| memory)) {
            let file = self.folder.join(file);
            if file.exists() {
                let state: Vec<(String, Array)> = safetensors::read(&file)?.into_iter().collect();
                model.load_state_dict(&state, false)?;
            }
        }
        for (key, value) in self.expected.iter().filter(|_| memory) {
            // Python decomposes in f32, so that close singular vectors are not quite ours.
            let kept = [("psoft_A.", "_psoft_A_cache"), ("psoft_B.", "_psoft_B_cache")];
            for (module, buffer) in kept.iter().filter_map(|(group, buffer)| Some((key.strip_prefix(group)?, buffer))) {
                model.parameter(&format!("base_model.model.{module}.{buffer}.default"))?.set(value)?;
            }
        }
        model.set_adapter(0, &self.texts("active"), false)?;
        Ok(model)
    }

    fn run(mut self) -> Result<Vec<String>> {
        let untuned = self.untuned()?;
        self.output("base.logits", &untuned)?;
        let model = self.load(true)?;
        self.output("tuned.logits", &model)?;
        if self.case.get("trainable_names").is_some() {
            self.names(&model);
        }
        self.remade(&model)?;
        self.rows(&model)?;
        self.invoked(&model)?;
        self.restored()?;
        self.gradients(&model)?;
        self.files(&model)?;
        self.weighted()?;
        self.merged()?;
        Ok(self.problems)
    }

    fn names(&mut self, model: &TunedModel) {
        let naming = model.naming(model.flavor.prefix());
        let trained = model.model.parameters().into_iter().filter(|(_, p)| p.requires_grad());
        let mut names: Vec<String> = trained.map(|(name, _)| naming.full(&name)).collect();
        let mut expected = self.texts("trainable_names");
        names.sort();
        expected.sort();
        if names != expected && self.case.get("trainable_names").is_some() {
            self.problems.push(format!("trainable names: {names:?} for {expected:?}"));
        }
    }

    /// What Python makes again from a seed or from the base.
    fn remade(&mut self, model: &TunedModel) -> Result<()> {
        let keys: Vec<String> = self.expected.keys().cloned().collect();
        for key in keys {
            if let Some(name) = key.strip_prefix("projection.") {
                self.close(&key, "indices", Some(&model.parameter(name)?.array()?))?;
                continue;
            }
            let Some((group @ ("indices" | "frod_U"), module)) = key.split_once('.') else { continue };
            let name = |group: &str| format!("base_model.model.{module}.{group}");
            let wanted = [name(group), name("waveft_indices")];
            let slots = model.slots("default")?.into_iter();
            let found = slots.filter(|s| wanted.contains(&s.key(Format::Peft, "default"))).last();
            self.close(&key, group, found.map(|s| s.param.array()).transpose()?.as_ref())?;
        }
        Ok(())
    }

    fn rows(&mut self, model: &TunedModel) -> Result<()> {
        for (i, names) in self.case["mixed_batches"].clone().as_array().into_iter().flatten().enumerate() {
            let names = texts(names);
            let cx = by_rows(model, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
            let actual = logits(model, &cx, &self.unlabelled())?;
            self.close(&format!("mixed.{i}.logits"), "logits", Some(&actual))?;
        }
        Ok(())
    }

    /// What is trained, saved for the weights from before its initialisation.
    fn restored(&mut self) -> Result<()> {
        let trained = self.folder.join("trained");
        if !trained.exists() {
            return Ok(());
        }
        let model = self.from(&trained, true)?;
        self.output("tuned.logits", &model)?;
        let temp = Temp::new()?;
        let dir = temp.0.join("saved");
        let initial = Some(self.folder.join("initial"));
        model.save_pretrained(&dir, &SaveOptions { safe: true, initial, max_shard: u64::MAX, ..Default::default() })?;
        let (name, config) = ("adapter_model.safetensors", "adapter_config.json");
        let (found, wanted) = (safetensors::read(&dir.join(name))?, self.folder.join("checkpoint"));
        for (key, expected) in safetensors::read(&wanted.join(name))? {
            self.expected.insert(key.clone(), expected);
            self.close(&key, "logits", found.get(&key))?;
        }
        let (found, wanted) = (json::read(&dir.join(config))?, json::read(&wanted.join(config))?);
        for field in ["r", "lora_alpha", "init_lora_weights", "rank_pattern", "alpha_pattern"] {
            if found[field] != wanted[field] {
                self.problems.push(format!("{field}: {} for {}", found[field], wanted[field]));
            }
        }
        let again = self.from(&dir, true)?;
        self.output("converted.logits", &again)
    }

    /// Outputs for tokens that hold an invocation.
    fn invoked(&mut self, model: &TunedModel) -> Result<()> {
        let Some(ids) = self.expected.get("alora.input_ids") else { return Ok(()) };
        let inputs = Inputs { input_ids: Some(ints(ids)?), ..Inputs::default() };
        let actual = logits(model, &inference(model), &inputs)?;
        self.close("alora.logits", "logits", Some(&actual))
    }

    fn gradients(&mut self, model: &TunedModel) -> Result<()> {
        if !self.expected.contains_key("loss") {
            return Ok(());
        }
        let training = self.case["training_mode"] == "train";
        let cx = Context { active: model.active_ids(0), training, ..Context::default() };
        let output = model.forward(&cx, &self.inputs)?;
        if let Some(penalty) = &output.penalty {
            self.close("penalty", "loss", Some(penalty.data()))?;
        }
        let loss = loss_of(&output)?;
        self.close("loss", "loss", Some(loss.data()))?;
        loss.backward()?;
        let keys: Vec<String> = self.expected.keys().filter(|k| k.starts_with("grad.")).cloned().collect();
        for key in keys {
            let grad = model.parameter(&key["grad.".len()..])?.grad();
            self.close(&key, "grad", grad.as_ref())?;
        }
        Ok(())
    }

    fn files(&mut self, model: &TunedModel) -> Result<()> {
        if self.case["reloads"] == false {
            return Ok(()); // what is left of the base's weight depends on random numbers, which no checkpoint holds
        }
        let temp = Temp::new()?;
        let dir = temp.0.join("saved");
        let options = SaveOptions { safe: true, max_shard: u64::MAX, ..Default::default() };
        model.save_pretrained(&dir, &options)?;
        let again = self.from(&dir, true)?;
        self.output("tuned.logits", &again)
    }

    fn weighted(&mut self) -> Result<()> {
        for sum in self.case["weighted"].clone().as_array().into_iter().flatten() {
            let name = sum["name"].as_str().unwrap_or_default().to_owned();
            let mut model = self.load(true)?;
            model.add_weighted_adapter(
                0,
                &WeightedOptions {
                    adapters: texts(&sum["adapters"]),
                    weights: sum["weights"].as_array().into_iter().flatten().filter_map(Json::as_f64).collect(),
                    name: name.clone(),
                    combination: Combination::Linear,
                    svd_rank: None,
                    svd_clamp: None,
                    density: None,
                    sign: SignMethod::Total,
                    seed: 0,
                },
            )?;
            let prefix = format!("weighted.{name}.");
            let keys: Vec<String> = self.expected.keys().filter(|k| k.starts_with(&prefix)).cloned().collect();
            for key in keys {
                let actual = match &key[prefix.len()..] {
                    "logits" => logits(&model, &inference(&model), &self.unlabelled())?,
                    tensor => model.parameter(&format!("base_model.model.{tensor}.{name}"))?.array()?,
                };
                self.close(&key, "weighted", Some(&actual))?;
            }
        }
        Ok(())
    }

    fn merged(&mut self) -> Result<()> {
        let keys: Vec<String> = self.expected.keys().filter(|k| k.starts_with("merged.")).cloned().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let mut model = self.load(false)?;
        model.merge_and_unload_peft(0, None, false)?;
        for key in keys {
            match &key["merged.".len()..] {
                "logits" => self.output(&key, &model)?,
                // Python's LN tuning leaves a saved module in its wrapper; here the copy takes the module's place.
                name if name.contains(".original_module.") => {}
                name => {
                    let actual = model.parameter(&name.replace(".modules_to_save.default", ""))?.array()?;
                    self.close(&key, "merged", Some(&actual))?;
                }
            }
        }
        Ok(())
    }
}

fn texts(list: &Json) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect()
}
