//! `tokenizer.json` of strangers.

use crate::growth::{growth, MOST};
use serde_json::Value;
use std::panic::{catch_unwind, AssertUnwindSafe};
use tokenizers::Tokenizer;

/// A tokenizer from its file's bytes, which `parsed` is the JSON of. What the library gives up on in a panic (a merge whose result is no token) is an
/// error like any other, and so are steps that make a text longer without end.
pub fn read_tokenizer(bytes: &[u8], parsed: &Value) -> Result<Tokenizer, String> {
    let grows = growth(parsed);
    if grows > MOST {
        return Err(format!("its normalizers and pre-tokenizers may make a text {grows:.0} times as long"));
    }
    match catch_unwind(AssertUnwindSafe(|| Tokenizer::from_bytes(bytes))) {
        Ok(read) => read.map_err(|e| e.to_string()),
        Err(_) => Err("its parts do not fit each other".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_that_gives_no_token_is_an_error() {
        let file = br#"{"version":"1.0","model":{"type":"BPE","vocab":{"h":6,"i":3},"merges":[["h","i"]]}}"#;
        let parsed = serde_json::from_slice(file).unwrap();
        assert!(read_tokenizer(file, &parsed).is_err());
    }
}
