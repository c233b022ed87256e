//! Whole templates, with their tokenizers, against what transformers made of the same conversations.

use serde_json::{json, Map, Value};
use std::path::{Path, PathBuf};
use swift_tuners_text::{on_stack, ChatTemplate, Clock, Request};
use tokenizers::Tokenizer;

/// 2026-03-09 08:05:07, as if in UTC.
const NOW: Clock = Clock { epoch: 1_773_043_507_000, offset: 0 };

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../__test__/fixtures/chat-templates")
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("the fixture")).expect("JSON")
}

struct Case<'a> {
    template: &'a ChatTemplate,
    tokenizer: &'a Tokenizer,
    special: &'a Map<String, Value>,
}

impl Case<'_> {
    /// What differs.
    fn check(&self, conversation: &Value, case: &Value) -> Option<String> {
        let mut variables = self.special.clone();
        if let Some(tools) = conversation.get("tools") {
            variables.insert("tools".into(), tools.clone());
        }
        let (mut prompt, mut continued) = (false, None);
        for (name, value) in case["options"].as_object().expect("options") {
            match name.as_str() {
                "add_generation_prompt" => prompt = value == true,
                "continue_final_message" => continued = Some("content"),
                _ => drop(variables.insert(name.clone(), value.clone())),
            }
        }
        let (messages, variables) = (conversation["messages"].to_string(), Value::Object(variables).to_string());
        let request =
            Request { messages: &messages, variables: &variables, clock: NOW, generation_prompt: prompt, continued };
        let got = match (self.template.render(&request), case["text"].as_str()) {
            (Ok(text), Some(wanted)) if text == wanted => text,
            (Err(e), None) if case["kind"] != "TemplateError" || e.message.contains(case["raises"].as_str()?) => {
                return None
            }
            (other, wanted) => return Some(format!("{other:?}\n  wanted {wanted:?} {}", case["raises"])),
        };
        let encoded = match self.template.encode(self.tokenizer, &request) {
            Ok(encoded) => encoded,
            Err(e) => return Some(format!("encode: {e} of {got:?}")),
        };
        if json!(encoded.ids) != case["input_ids"] {
            return Some(format!("ids {:?}\n  wanted {}", encoded.ids, case["input_ids"]));
        }
        let assistant = case.get("assistant")?;
        let turns: Vec<_> = encoded.turns.iter().map(|t| json!([t.start, t.end])).collect();
        let skipped = assistant.get("turns_without_span").cloned().unwrap_or(json!([]));
        (json!(turns) != assistant["tokens"] || json!(encoded.skipped) != skipped)
            .then(|| format!("turns {turns:?}, skipped {:?}\n  wanted {assistant}", encoded.skipped))
    }
}

#[test]
fn conversations_have_the_texts_ids_and_turns_of_transformers() {
    let conversations = read(&fixtures().join("conversations.json"));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for entry in std::fs::read_dir(fixtures()).expect("the folder") {
        let dir = entry.expect("an entry").path();
        if !dir.is_dir() {
            continue;
        }
        let expected = read(&dir.join("expected.json"));
        let config = read(&dir.join("tokenizer_config.json"));
        let special: Map<_, _> = config
            .as_object()
            .expect("an object")
            .iter()
            .filter(|(k, v)| k.ends_with("_token") && v.is_string())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let source = std::fs::read_to_string(dir.join("chat_template.jinja")).expect("the template");
        let tokenizer = Tokenizer::from_file(dir.join("tokenizer.json")).expect("the tokenizer");
        on_stack(|| {
            let template = ChatTemplate::new(&source).expect("a template");
            let run = Case { template: &template, tokenizer: &tokenizer, special: &special };
            for case in expected["cases"].as_array().expect("cases") {
                count += 1;
                let name = case["conversation"].as_str().expect("a name");
                if let Some(what) = run.check(&conversations[name], case) {
                    wrong.push(format!("{}: {name} {}\n  {what}", dir.display(), case["options"]));
                }
            }
        })
        .expect("a thread");
    }
    assert!(count > 300, "{count} cases");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The turns of a template with the tokenizer of `chatml`, as texts.
fn said(source: &str, messages: &str) -> Vec<(usize, String)> {
    let tokenizer = Tokenizer::from_file(fixtures().join("chatml/tokenizer.json")).expect("the tokenizer");
    let request = Request { messages, variables: "{}", clock: NOW, generation_prompt: false, continued: None };
    on_stack(|| {
        let template = ChatTemplate::new(source).expect("a template");
        let encoded = template.encode(&tokenizer, &request).expect("ids");
        let text = |t: &swift_tuners_text::Turn| tokenizer.decode(&encoded.ids[t.start..t.end], false).expect("a text");
        encoded.turns.iter().map(|t| (t.message, text(t))).collect()
    })
    .expect("a thread")
}

#[test]
fn blocks_keep_their_places_in_macros_variables_filters_and_blocks() {
    let messages = r#"[{"role":"user","content":"é"},{"role":"assistant","content":"A<|im_end|>B"}]"#;
    for source in [
        "{{ messages[0].content }}|{% generation %}{{ messages[1].content }}{% endgeneration %}|",
        "{{ messages[0].content }}|{% generation %}{{ messages[1].content[:1] }}{% generation %}{{ messages[1].content[1:] }}{% endgeneration %}{% endgeneration %}|",
        "{% macro say(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}éé{{ say(messages[1]) ~ '|' }}",
        "{% set x %}  é:{% generation %}{{ messages[1].content }}{% endgeneration %}{% endset %}{{ 'éé' + x + '|' }}{# #}",
        "{% set x %}  é:{% generation %}{{ messages[1].content }}{% endgeneration %}|  {% endset %}{{ [x | trim, 'b'] | join('|') }}",
        "{% filter trim %}  |{% generation %}{{ messages[1].content }}{% endgeneration %}|  {% endfilter %}",
        "{% macro m() %}|{{ caller() }}|{% endmacro %}{% call m() %}{% generation %}{{ messages[1].content }}{% endgeneration %}{% endcall %}",
        "{% set ns = namespace(t='') %}{% for m in messages %}{% if m.role == 'assistant' %}{% set x %}{% generation %}{{ m.content }}{% endgeneration %}{% endset %}{% set ns.t = ns.t ~ x ~ '|' %}{% endif %}{% endfor %}{{ ns.t[:-1] }}|",
    ] {
        assert_eq!(said(source, messages), [(1, "A<|im_end|>B".to_owned())], "{source}");
    }
    // An empty block is no turn, and what is lost is none.
    assert_eq!(said("a{% generation %}{% endgeneration %}b", messages), []);
}
