//! What adapter files hold: under Python's names, in Python's types and shapes, and integers only within their range.

mod support;

use candle_core::{DType, Device};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::{base, fixtures, Temp};
use swift_tuners_nn::checkpoint::{files::write_file, json, safetensors};
use swift_tuners_nn::{Array, Result};
use swift_tuners_tuners::formats::{FromPretrainedOptions, SaveOptions};
use swift_tuners_tuners::TunedModel;

const FILE: &str = "adapter_model.safetensors";

fn loaded(case: &Path, dir: &Path) -> Result<TunedModel> {
    let config = json::read(&case.join("case.json"))?;
    let mut model = base(config["base"].as_str().unwrap_or_default(), DType::F32)?;
    model.from_pretrained(0, dir, &FromPretrainedOptions::default())?;
    Ok(model)
}

/// Type and shape of every tensor of a file.
fn header(file: &Path) -> BTreeMap<String, (Json, Json)> {
    let bytes = std::fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Json = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let entries = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    entries.map(|(name, e)| (name.clone(), (e["dtype"].clone(), e["shape"].clone()))).collect()
}

fn cases(tuners: &[&str]) -> Vec<PathBuf> {
    let all = std::fs::read_dir(fixtures().join("peft")).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        tuners.iter().any(|t| name.starts_with(&format!("{t}-")))
    };
    all.filter(of).collect()
}

#[test]
fn what_is_written_has_python_s_names_types_and_shapes() {
    let tuners = [
        "fourierft",
        "waveft",
        "shira",
        "randlora",
        "pvera",
        "vblora",
        "unilora",
        "tinylora",
        "frod",
        "supertuning",
        "lily",
        "vera",
    ];
    for case in cases(&tuners) {
        let temp = Temp::new().unwrap();
        let options = SaveOptions { names: None, peft_format: false, safe: true, max_shard: u64::MAX, initial: None };
        loaded(&case, &case.join("checkpoint")).unwrap().save_pretrained(&temp.0.join("saved"), &options).unwrap();
        let mut expected = header(&case.join("checkpoint").join(FILE));
        // The bases that all layers share, which Python repeats with each of them.
        expected
            .retain(|name, _| !["randlora_A", "randlora_B"].iter().any(|end| name.ends_with(&format!("proj.{end}"))));
        assert_eq!(header(&temp.0.join("saved").join(FILE)), expected, "{}", case.display());
    }
}

/// A copy of a checkpoint in which the last number of the tensor that is called so is another.
fn with_number(case: &Path, tensor: &str, number: i64) -> Temp {
    let temp = Temp::new().unwrap();
    let from = case.join("checkpoint");
    write_file(&temp.0.join("adapter_config.json"), &std::fs::read(from.join("adapter_config.json")).unwrap()).unwrap();
    let mut tensors: Vec<(String, Array)> = safetensors::read(&from.join(FILE)).unwrap().into_iter().collect();
    let (_, array) = tensors.iter_mut().find(|(name, _)| name.contains(tensor)).expect(tensor);
    let mut values: Vec<i64> = array.to_dtype(DType::I64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    *values.last_mut().unwrap() = number;
    *array = Array::from_vec(values, array.dims(), &Device::Cpu).unwrap();
    safetensors::write(&temp.0.join(FILE), &tensors, &Default::default()).unwrap();
    temp
}

#[test]
fn integers_outside_of_what_they_point_into_are_refused() {
    for (case, tensor) in [
        ("shira-basic", "shira_indices"),
        ("supertuning-basic", "supertuning_indices"),
        ("vblora-topk-only", "vblora_logits_A_topk_indices"),
        ("unilora-basic", "unilora_indices_B"),
        ("frod-basic", "frod_s_indices"),
    ] {
        let case = fixtures().join("peft").join(case);
        for number in [-1, 1 << 20, 1 << 33] {
            let error = loaded(&case, &with_number(&case, tensor, number).0).err().expect(tensor);
            assert_eq!(error.code(), "ERR_CHECKPOINT_MISMATCH");
            let text = error.to_string();
            assert!(
                text.contains(&format!("the index {number} is not in 0.."))
                    && text.contains("_indices") | text.contains("logits"),
                "{text}"
            );
        }
        loaded(&case, &with_number(&case, tensor, 0).0).unwrap();
    }
}

#[test]
fn states_hold_saved_buffers_and_no_others() {
    let state = |case: &str| {
        let case = fixtures().join("peft").join(case);
        loaded(&case, &case.join("checkpoint")).unwrap()
    };
    let model = state("supertuning-basic");
    let name = "base_model.model.model.layers.1.self_attn.o_proj.supertuning_indices.default".to_owned();
    let before = model.state_dict(Some(std::slice::from_ref(&name))).unwrap();
    assert_eq!(before[0].1.dtype(), DType::I64);
    let all = model.state_dict(None).unwrap();
    assert!(all.iter().any(|(n, _)| name.ends_with(n.as_str())));
    model.load_state_dict(&all, true).unwrap();
    // Out of range, and then what is there stays.
    let bad = [(name.clone(), before[0].1.affine(1., 1e6).unwrap())];
    assert!(model.load_state_dict(&bad, false).is_err());
    let after = model.state_dict(Some(&[name])).unwrap();
    assert_eq!(before[0].1.to_vec1::<i64>().unwrap(), after[0].1.to_vec1::<i64>().unwrap());

    let names = |model: &TunedModel| {
        let naming = model.naming(model.flavor.prefix());
        model.state_dict(None).unwrap().into_iter().map(|(n, _)| naming.full(&n)).collect::<Vec<_>>()
    };
    assert!(names(&state("unilora-no-indices")).iter().all(|n| !n.contains("indices")));
    assert!(names(&state("unilora-basic")).iter().any(|n| n.ends_with("q_proj.unilora_indices_A.default")));
    // An attribute in Python.
    assert!(names(&state("shira-basic")).iter().all(|n| !n.contains("indices")));
    let shared = names(&state("vblora-basic"));
    assert_eq!(shared.iter().filter(|n| n.ends_with("vblora_vector_bank.default")).count(), 5);
    assert!(shared.iter().any(|n| n == "base_model.vblora_vector_bank.default"));
    assert!(names(&state("tinylora-basic")).iter().any(|n| n == "base_model.tinylora_v.default.0"));
    assert!(names(&state("frod-basic")).iter().any(|n| n == "base_model.frod_V.self_attn_q_proj.default"));
}
