//! Merging adapters into a model, file to file.

use crate::formats::{FromPretrainedOptions, LoadReport, NameSelection, SaveOptions};
use crate::lifecycle::TunedModel;
use candle_core::DType;
use std::path::Path;
use swift_tuners_nn::{checkpoint, CancelFlag, Error, Result};

#[derive(Clone, Debug)]
pub struct MergeFilesOptions {
    /// As stored when absent.
    pub dtype: Option<DType>,
    /// Which adapters, by which names, and whether every tensor must fit.
    pub load: FromPretrainedOptions,
    /// safetensors, or PyTorch's `.bin`.
    pub safe: bool,
    /// Bytes.
    pub max_shard: u64,
}

#[derive(Clone, Debug)]
pub struct MergeReport {
    pub loads: Vec<LoadReport>,
    /// Tensors of the model that its architecture has no place for.
    pub surplus: Vec<String>,
}

/// Merges the LoRAs of the folder `adapters` into the model of the folder `model` and writes a plain model with its tokenizer to
/// `output`, one tensor in memory at a time, whole or not at all.
///
/// Refuses an `output` that is one of the inputs, and adapters that cannot be merged.
pub fn merge_files(
    model: &Path,
    adapters: &Path,
    output: &Path,
    options: &MergeFilesOptions,
    cancel: &CancelFlag,
) -> Result<MergeReport> {
    if [model, adapters].iter().any(|input| same_folder(input, output)) {
        return Err(Error::config("outputDir", format!("{} is one of the inputs", output.display())));
    }
    cancel.check()?;
    let (base, surplus) = checkpoint::open_model(model, options.dtype)?;
    let mut tuned = TunedModel::new(base, true);
    let names = match &options.load.names {
        NameSelection::All => None,
        NameSelection::Named(pairs) => Some(pairs.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()),
    };
    tuned.from_pretrained(0, adapters, &options.load)?;
    let save = SaveOptions { safe: options.safe, max_shard: options.max_shard, ..Default::default() };
    let companions = |to: &Path| checkpoint::copy_companions(model, to);
    tuned.save_merged(0, names.as_deref(), output, &save, cancel, &companions)?;
    Ok(MergeReport { loads: std::mem::take(&mut tuned.load_reports), surplus })
}

fn same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::PrepareOptions;
    use candle_core::Device;
    use serde_json::json;
    use std::path::PathBuf;
    use swift_tuners_nn::Array;

    /// A model folder, an adapter folder and the merged weight, `W + 2 B A` of `[2, 3]`.
    fn folders(name: &str) -> (PathBuf, PathBuf, Array) {
        let root = std::env::temp_dir().join(format!("swift-tuners-merge-{name}-{}", std::process::id()));
        let (model, adapters) = (root.join("model"), root.join("adapters"));
        let only = json!({ "type": "Linear", "in_features": 3, "out_features": 2, "bias": false });
        let module = json!({ "type": "Sequential", "modules": { "only": only } });
        let config = json!({ "architectures": ["CustomModel"], "model_type": "custom", "module": module });
        let base = checkpoint::new_model(config, DType::F32, &Device::Cpu, 3).unwrap();
        checkpoint::save_model(&base, &model, true, 1 << 30).unwrap();
        std::fs::write(model.join("tokenizer.json"), "{}").unwrap();
        let mut tuned = TunedModel::new(base, true);
        let lora = json!({ "swift_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": ["only"] });
        tuned.prepare(0, &[("a".into(), lora)], &PrepareOptions::default()).unwrap();
        let (a, b) = (array(&[1., -2., 3.], (1, 3)), array(&[0.5, -1.], (2, 1)));
        let at = |part: &str| format!("base_model.only.{part}.a.weight");
        tuned.load_state_dict(&[(at("lora_A"), a.clone()), (at("lora_B"), b.clone())], false).unwrap();
        let (_, weight) = tuned.state_dict(None).unwrap().swap_remove(0);
        let options = SaveOptions { safe: true, max_shard: 1 << 30, ..Default::default() };
        tuned.save_pretrained(&adapters, &options).unwrap();
        (model, adapters, (weight + (b.matmul(&a).unwrap() * 2.).unwrap()).unwrap())
    }

    fn array(values: &[f32], shape: (usize, usize)) -> Array {
        Array::from_vec(values.to_vec(), shape, &Device::Cpu).unwrap()
    }

    fn options() -> MergeFilesOptions {
        let load = FromPretrainedOptions { inference_mode: true, ..Default::default() };
        MergeFilesOptions { dtype: None, load, safe: true, max_shard: 1 << 30 }
    }

    #[test]
    fn the_output_is_a_plain_model_with_the_merged_weight() {
        let (model, adapters, expected) = folders("plain");
        let output = model.with_file_name("output");
        let report = merge_files(&model, &adapters, &output, &options(), &CancelFlag::default()).unwrap();
        assert_eq!((report.loads.len(), report.loads[0].missing.len(), report.surplus.len()), (1, 0, 0));
        let (merged, _) = checkpoint::load_model(&output, None, &Device::Cpu, None, None).unwrap();
        let weight = merged.parameter("only.weight").unwrap().array().unwrap();
        let gap = (weight - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(gap < 1e-6, "{gap}");
        assert!(output.join("tokenizer.json").exists());
        std::fs::remove_dir_all(model.parent().unwrap()).unwrap();
    }

    #[test]
    fn an_input_is_never_the_output() {
        let (model, adapters, _) = folders("inputs");
        let aside = adapters.join("../model/.");
        for output in [&model, &adapters, &aside] {
            let refused = merge_files(&model, &adapters, output, &options(), &CancelFlag::default()).unwrap_err();
            assert!(matches!(&refused, Error::Config { option, .. } if option == "outputDir"), "{refused}");
        }
        std::fs::remove_dir_all(model.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_was_cancelled_writes_nothing() {
        let (model, adapters, _) = folders("cancelled");
        let (output, cancel) = (model.with_file_name("output"), CancelFlag::default());
        cancel.cancel();
        assert!(matches!(merge_files(&model, &adapters, &output, &options(), &cancel), Err(Error::Aborted)));
        assert!(!output.exists());
        std::fs::remove_dir_all(model.parent().unwrap()).unwrap();
    }
}
