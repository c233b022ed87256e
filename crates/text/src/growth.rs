//! How much longer a tokenizer's file may make a text before it is cut into tokens.

use serde_json::Value;

/// What no tokenizer needs: texts that grow more than so many times are a file's way to take all memory.
pub const MOST: f64 = 4096.;

/// An upper bound of how many times as long `normalizer` and `pre_tokenizer` of a `tokenizer.json` make a text. Chains of steps that each double
/// it are what it is for.
pub fn growth(tokenizer: &Value) -> f64 {
    ["normalizer", "pre_tokenizer"].iter().map(|name| of(&tokenizer[name])).product()
}

fn of(step: &Value) -> f64 {
    let chars = |value: &Value| value.as_str().map_or(0., |text| text.chars().count() as f64);
    match step["type"].as_str() {
        Some("Sequence") => {
            let steps = ["normalizers", "pretokenizers"].iter().filter_map(|name| step[name].as_array());
            steps.flatten().map(of).product()
        }
        // A pattern of a regular expression may match each character.
        Some("Replace") => (chars(&step["content"]) / chars(&step["pattern"]["String"]).max(1.)).max(1.),
        Some("Prepend") => 1. + chars(&step["prepend"]),
        // A byte becomes a character, and a character of two bytes two of them.
        Some("ByteLevel") => 2.,
        // Ligatures and the like come apart.
        Some("NFKC" | "NFKD" | "Precompiled") => 4.,
        _ => 1.,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn chains_that_double_are_told_from_what_tokenizers_do() {
        let doubling = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aa" });
        let chain = |step: &Value, n: usize, list: &str| json!({ "type": "Sequence", list: vec![step; n] });
        assert_eq!(growth(&json!({ "normalizer": chain(&doubling, 24, "normalizers") })), f64::from(1 << 24));
        let bytes = json!({ "type": "ByteLevel" });
        assert_eq!(growth(&json!({ "pre_tokenizer": chain(&bytes, 40, "pretokenizers") })), 2f64.powi(40));
        let llama = json!({
            "normalizer": { "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" }, { "type": "Replace", "pattern": { "String": " " }, "content": "▁" }] },
            "pre_tokenizer": null,
        });
        assert_eq!(growth(&llama), 2.);
        let t5 = json!({
            "normalizer": { "type": "Sequence", "normalizers": [{ "type": "Precompiled" }, { "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": "▁" }] },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [{ "type": "WhitespaceSplit" }, { "type": "Metaspace" }] },
        });
        assert!(growth(&t5) <= 4. && growth(&json!({})) == 1.);
    }
}
