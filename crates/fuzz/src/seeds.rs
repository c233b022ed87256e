//! Files that are as they should be: what fuzzers begin with.

use candle_core::{DType, Device};
use serde_json::{json, Value};
use std::collections::HashMap;
use std::io::{Cursor, Write};
use std::path::Path;
use swift_tuners_nn::checkpoint::{safetensors, torch_bin};
use swift_tuners_nn::Array;
use swift_tuners_tuners::registry::{self, METHODS};
use zip::write::SimpleFileOptions;

/// The configuration of a llama.
pub const MODEL: &[u8] = br#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":32,"hidden_size":8,"intermediate_size":12,"num_hidden_layers":2,"num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":64,"rms_norm_eps":1e-6,"rope_theta":10000.0,"hidden_act":"silu","tie_word_embeddings":false}"#;

fn array(shape: &[usize], dtype: DType) -> Array {
    Array::ones(shape, DType::F32, &Device::Cpu).and_then(|a| a.to_dtype(dtype)).expect("an array")
}

/// What a writer puts into a file.
fn written(write: impl FnOnce(&Path)) -> Vec<u8> {
    let path = std::env::temp_dir().join(format!(
        "swift-tuners-seed-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    write(&path);
    let bytes = std::fs::read(&path).expect("a file");
    let _ = std::fs::remove_file(path);
    bytes
}

fn examples() -> Vec<Vec<(String, Array)>> {
    let of = |name: &str, shape: &[usize], dtype| (name.to_owned(), array(shape, dtype));
    vec![
        vec![],
        vec![of("a.weight", &[2, 3], DType::F32), of("b", &[4], DType::BF16)],
        vec![
            of("x", &[], DType::F64),
            of("y", &[0, 3], DType::F16),
            of("z", &[2], DType::I64),
            of("u", &[3], DType::U8),
        ],
    ]
}

pub fn tensors() -> Vec<Vec<u8>> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file =
        |tensors: Vec<(String, Array)>| written(|path| safetensors::write(path, &tensors, &metadata).expect("a file"));
    examples().into_iter().map(file).collect()
}

pub fn pickled() -> Vec<Vec<u8>> {
    let file = |tensors: Vec<(String, Array)>| written(|path| torch_bin::write(path, &tensors).expect("a file"));
    examples().into_iter().map(file).collect()
}

/// The programs inside of these files.
pub fn pickles() -> Vec<Vec<u8>> {
    let program = |file: Vec<u8>| {
        let mut archive = zip::ZipArchive::new(Cursor::new(file)).expect("a zip");
        let name = archive.file_names().flatten().find(|n| n.ends_with("data.pkl")).expect("a pickle").into_owned();
        let mut bytes = Vec::new();
        std::io::copy(&mut archive.by_name(&name).expect("a pickle"), &mut bytes).expect("its bytes");
        bytes
    };
    pickled().into_iter().map(program).collect()
}

/// A pickle with a few storages, as `torch.save` packs them.
pub fn zipped(pickle: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut put = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), options).and_then(|()| Ok(zip.write_all(bytes)?)).expect("memory");
    };
    put("data.pkl", pickle);
    put("byteorder", b"little");
    for key in ["0", "1", "2", "3"] {
        put(&format!("data/{key}"), &[0; 24]);
    }
    zip.finish().expect("memory").into_inner()
}

pub fn indices() -> Vec<Vec<u8>> {
    let map = json!({ "metadata": { "total_size": 24 }, "weight_map": { "model.norm.weight": "a.safetensors", "lm_head.weight": "b.safetensors" } });
    vec![map.to_string().into_bytes(), br#"{"weight_map":{}}"#.to_vec()]
}

/// Every type's defaults.
pub fn adapter_configs() -> Vec<Vec<u8>> {
    METHODS.iter().map(|method| Value::Object(registry::defaults(method)).to_string().into_bytes()).collect()
}

pub fn model_configs() -> Vec<Vec<u8>> {
    let of = |architecture: &str, kind: &str, more: Value| {
        let mut all = json!({ "architectures": [architecture], "model_type": kind });
        let (Some(all_fields), Value::Object(more)) = (all.as_object_mut(), more) else {
            unreachable!("both are objects")
        };
        all_fields.extend(more);
        all.to_string().into_bytes()
    };
    let sizes = json!({ "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16 });
    vec![
        MODEL.to_vec(),
        of(
            "Qwen3ForCausalLM",
            "qwen3",
            json!({ "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "rms_norm_eps": 1e-6, "rope_parameters": { "rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0 } }),
        ),
        of(
            "Gemma3ForCausalLM",
            "gemma3_text",
            json!({ "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "rms_norm_eps": 1e-6, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 4, "query_pre_attn_scalar": 4 }),
        ),
        of("BertForSequenceClassification", "bert", sizes.clone()),
        of(
            "GPT2LMHeadModel",
            "gpt2",
            json!({ "vocab_size": 32, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16 }),
        ),
        of(
            "T5ForConditionalGeneration",
            "t5",
            json!({ "vocab_size": 32, "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2 }),
        ),
        of(
            "ViTForImageClassification",
            "vit",
            json!({ "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4 }),
        ),
    ]
}

pub fn tokenizers() -> Vec<Vec<u8>> {
    let words = json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null, "model": { "type": "WordLevel", "vocab": { "<unk>": 0, "hi": 1 }, "unk_token": "<unk>" } });
    let bytes = json!({ "version": "1.0", "added_tokens": [{ "id": 4, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": true, "normalized": false, "special": true }], "normalizer": { "type": "NFC" }, "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true }, "post_processor": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true }, "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }, "model": { "type": "BPE", "vocab": { "h": 0, "i": 1, "t": 2, "hi": 3 }, "merges": [["h", "i"]] } });
    vec![words.to_string().into_bytes(), bytes.to_string().into_bytes()]
}

/// What templates are given.
pub const MESSAGES: &str = r#"[{"role":"system","content":"S"},{"role":"user","content":" u\n"},{"role":"assistant","content":"a","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"x":21.0}}}]}]"#;
pub const TOOLS: &str = r#"[{"name":"f","parameters":{}}]"#;

pub fn chat_templates() -> Vec<Vec<u8>> {
    [
        "{{ bos_token }}{% for message in messages %}{{ '<|' + message.role + '|>' + message['content'] | trim }}{% if not loop.last %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "{%- set ns = namespace(x=1) -%}{%- for i in range(3) -%}{%- set ns.x = ns.x + i -%}{%- if loop.index == 2 %}{% continue %}{% endif -%}{%- endfor -%}{{ ns.x }}",
        "{% macro f(a, b='x') %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) }}{{ f(tools | tojson(indent=2), b=3) }}{{ messages[::-1][0].content.split('a')[0] ~ '%d' % 3 }}",
        "{% for m in messages if m.role != 'system' %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}{{ strftime_now('%d %b %Y') }}{{ messages | map(attribute='role') | join(', ') }}",
        "{% if messages[0].role != 'user' %}{{ raise_exception('First must be user') }}{% endif %}\0[{\"role\":\"user\"}]",
    ]
    .map(|t| t.as_bytes().to_vec())
    .to_vec()
}

pub fn patterns() -> Vec<Vec<u8>> {
    [
        r".*\.(?!k_proj)[qv]_proj",
        r".*(?<=self_attn)\.[qv]_proj",
        r".*?(\d)\.self_attn\.[qv]_proj(?!\1x)",
        "(?ix) .* # comment",
        "all-linear",
        "([a-z0-9_]+\\.?)+!",
    ]
    .map(|p| p.as_bytes().to_vec())
    .to_vec()
}

pub fn names() -> Vec<Vec<u8>> {
    ["default", "a b", "con.txt", "..", "a/b", "öß", "LPT1"].map(|n| n.as_bytes().to_vec()).to_vec()
}
