//! Small templates against what jinja2 3.1.6 in transformers' environment made of them.

use serde_json::Value;
use swift_tuners_text::{on_stack, Clock, Kind, Template};

/// 2026-03-09 08:05:07, as if in UTC.
const NOW: Clock = Clock { epoch: 1_773_043_507_000, offset: 0 };

fn render(source: &str, values: &[(String, String)]) -> swift_tuners_text::Result<String> {
    on_stack(|| Template::new(source)?.render(values, NOW)).expect("a thread").map(|r| r.text)
}

fn check(file: &str) {
    let text = std::fs::read_to_string(file).expect("the fixture");
    // Values go in as they stand in the file: through a JSON library `1.0` would become `1`.
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let values: Vec<_> =
        all["values"].as_object().expect("values").iter().map(|(k, v)| (k.clone(), v.to_string())).collect();
    let mut wrong = Vec::new();
    let cases = all["cases"].as_array().expect("cases");
    assert!(cases.len() > 50);
    for case in cases {
        let template = case["template"].as_str().expect("a template");
        let got = render(template, &values);
        let right = match (&got, case["text"].as_str(), case["raises"].as_str()) {
            (Ok(got), Some(wanted), _) => got == wanted,
            (Err(e), None, Some(message)) => match case["kind"].as_str() {
                Some("TemplateError") => e.kind == Kind::Raised && e.message == message,
                Some("UndefinedError") => e.kind == Kind::Undefined,
                Some("SecurityError") => e.kind == Kind::Security,
                _ => true,
            },
            _ => false,
        };
        if !right {
            wrong.push(format!("{template}\n  got    {got:?}\n  wanted {} {}", case["text"], case["raises"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn expressions_give_what_jinja2_gives() {
    check(concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/fixtures/chat-templates/expressions.json"));
}

#[test]
fn rarer_expressions_give_what_jinja2_gives() {
    check(concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/fixtures/chat-templates/more-expressions.json"));
}
