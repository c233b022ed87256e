//! The readers.

use crate::scratch::with_file;
use crate::seeds;
use candle_core::{DType, Device};
use swift_tuners_nn::checkpoint::{self, json, safetensors, torch_bin};
use swift_tuners_nn::models::Blank;
use swift_tuners_nn::Model;
use swift_tuners_text::{on_stack, Clock, Template};
use swift_tuners_tuners::registry::{self, Unknown};
use swift_tuners_tuners::target;

/// A reader and files to begin with.
pub struct Target {
    pub name: &'static str,
    /// Reads bytes as a file of its kind; only a crash is a failure.
    pub run: fn(&[u8]),
    /// Files that it takes.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: &[Target] = &[
    Target { name: "safetensors", run: tensors, seeds: seeds::tensors },
    Target { name: "torch_bin", run: pickled, seeds: seeds::pickled },
    Target { name: "pickle", run: pickle, seeds: seeds::pickles },
    Target { name: "index", run: index, seeds: seeds::indices },
    Target { name: "adapter_config", run: adapter_config, seeds: seeds::adapter_configs },
    Target { name: "model_config", run: model_config, seeds: seeds::model_configs },
    Target { name: "tokenizer", run: tokenizer, seeds: seeds::tokenizers },
    Target { name: "chat_template", run: chat_template, seeds: seeds::chat_templates },
    Target { name: "pattern", run: pattern, seeds: seeds::patterns },
    Target { name: "name", run: name, seeds: seeds::names },
];

pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|t| t.name == name)
}

fn tensors(bytes: &[u8]) {
    with_file(bytes, |path| {
        if let Ok(file) = safetensors::SafeTensors::open(path) {
            let names: Vec<String> = file.names().cloned().collect();
            for name in names {
                let _ = file.read(&name);
            }
        }
    });
}

fn pickled(bytes: &[u8]) {
    let _ = with_file(bytes, torch_bin::read);
}

/// The pickle alone, in the container that PyTorch puts around it: mutations need not find a zip's checksums.
fn pickle(bytes: &[u8]) {
    pickled(&seeds::zipped(bytes));
}

fn index(bytes: &[u8]) {
    with_file(bytes, |path| {
        let folder = path.parent().expect("a folder");
        let _ = checkpoint::open_model(folder, None);
    });
}

fn adapter_config(bytes: &[u8]) {
    let Ok(config) = json::parse(bytes) else { return };
    if let Ok(config) = registry::parse(&config, Unknown::Keep) {
        let _ = registry::unknown(&config);
        let _ = registry::parse(&serde_json::Value::Object(config.fields.clone()), Unknown::Refuse);
    }
}

fn model_config(bytes: &[u8]) {
    let Ok(config) = json::parse(bytes) else { return };
    let _: Result<Model, _> = Model::build(config, &Blank, DType::F32, &Device::Cpu, None);
}

fn tokenizer(bytes: &[u8]) {
    let Ok(parsed) = json::parse(bytes) else { return };
    if let Ok(tokenizer) = swift_tuners_text::read_tokenizer(bytes, &parsed) {
        if let Ok(encoding) = tokenizer.encode("hi there, Wörld 1,1\n", true) {
            let _ = tokenizer.decode(encoding.get_ids(), false);
        }
    }
}

/// A template over a conversation with tools; what stands behind a NUL takes the place of the conversation's JSON.
fn chat_template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (source, messages) = text.split_once('\0').unwrap_or((&text, seeds::MESSAGES));
    let Ok(template) = Template::new(source) else { return };
    let values =
        [("messages", messages), ("tools", seeds::TOOLS), ("bos_token", "\"<s>\""), ("add_generation_prompt", "true")];
    let values = values.map(|(name, json)| (name.to_owned(), json.to_owned()));
    let _ = on_stack(|| template.render(&values, Clock { epoch: 1_773_043_507_000, offset: 0 }));
}

fn pattern(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let given = serde_json::json!({ "peft_type": "LORA", "target_modules": text });
    let Ok(config) = registry::parse(&given, Unknown::Refuse) else { return };
    MODEL.with(|model| {
        let _ = target::resolve(model, &config, &[]);
    });
}

thread_local! {
    /// Names to match.
    static MODEL: Model = {
        let config = serde_json::from_slice(seeds::MODEL).expect("JSON");
        Model::build(config, &Blank, DType::F32, &Device::Cpu, None).expect("a model")
    };
}

fn name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if checkpoint::check_plain_name(&text).is_ok() {
        assert!(!text.contains(['/', '\\', '\0']) && text != ".." && !text.is_empty());
    }
}
