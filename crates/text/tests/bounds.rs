//! Templates of strangers: no hang, no abort, no overflow, but an error.

use std::time::{Duration, Instant};
use swift_tuners_text::{on_stack, ChatTemplate, Clock, Kind, Request};

const NOW: Clock = Clock { epoch: 0, offset: 0 };

/// The error of a template, and how long it took. `n` is 5, `deep` is nested.
fn error(source: &str) -> (Option<Kind>, Duration) {
    let begun = Instant::now();
    let deep = format!("{}1{}", "[".repeat(150), "]".repeat(150));
    let variables = format!("{{\"n\":5,\"deep\":{deep}}}");
    let result = on_stack(|| {
        let messages = r#"[{"role":"user","content":"x"}]"#;
        let request =
            Request { messages, variables: &variables, clock: NOW, generation_prompt: false, continued: None };
        ChatTemplate::new(source)?.render(&request)
    });
    (result.expect("a thread").err().map(|e| e.kind), begun.elapsed())
}

#[test]
fn bombs_are_errors_in_time() {
    let nested = |open: &str, close: &str, n: usize| format!("{{{{ {}1{} }}}}", open.repeat(n), close.repeat(n));
    let double = |body: &str| format!("{{% set ns = namespace(x={body}) %}}{{% for i in range(99) %}}");
    let mut bombs = vec![
        "{{ 'a' * 10**9 }}".to_owned(),
        "{{ 'a' * 10**9 * 10**9 }}".into(),
        "{{ [0] * 10**9 }}".into(),
        "{{ 2 ** 10 ** 100 }}".into(),
        "{{ 10 ** 40 }}".into(),
        "{{ range(10**9) | list }}".into(),
        "{{ range(-10**30, 10**30, 7) | list }}".into(),
        "{{ 'x' | center(10**9) }}".into(),
        "{{ 'x'.ljust(10**9) }}".into(),
        "{{ 'x'.zfill(10**9) }}".into(),
        "{{ 'x' | indent(10**9, true) }}".into(),
        "{{ '%1000000000d' % 1 }}".into(),
        "{{ '%.1000000000f' % 1 }}".into(),
        "{{ '{:1000000000}'.format(1) }}".into(),
        "{{ '\\t'.expandtabs(10**9) }}".into(),
        "{{ strftime_now('%1000000000d') }}".into(),
        "{{ [1] | batch(10**9, 0) | list }}".into(),
        "{{ [1] | slice(10**9) | list }}".into(),
        "{{ [1] | tojson(indent=10**9) }}{% for i in range(99999) %}{{ [1] | tojson(indent=10**9) }}{% endfor %}".into(),
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}".into(),
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}".into(),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}".into(),
        "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}".into(),
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}".into(),
        format!("{}{{% set ns.x = ns.x ~ ns.x %}}{{% endfor %}}{{{{ ns.x }}}}", double("'aaaa'")),
        format!("{}{{% set ns.x = ns.x + ns.x %}}{{% endfor %}}", double("'aaaa'")),
        format!("{}{{% set ns.x = ns.x + ns.x %}}{{% endfor %}}", double("[1, 2]")),
        format!("{}{{% set ns.x = [ns.x, ns.x] %}}{{% endfor %}}{{{{ ns.x == [ns.x, 1] }}}}{{{{ ns.x }}}}", double("1")),
        format!("{}{{% set ns.x = [ns.x, ns.x] %}}{{% endfor %}}{{{{ ns.x | tojson }}}}", double("[]")),
        format!("{}{{% set ns.x = ns.x.replace('a', ns.x) %}}{{% endfor %}}", double("'aaaa'")),
        format!("{}{{% set ns.x = ns.x | join(ns.x) %}}{{% endfor %}}", double("'aaaa'")),
        format!("{}{{% set ns.x %}}{{{{ ns.x }}}}{{{{ ns.x }}}}{{% endset %}}{{% endfor %}}", double("'aaaa'")),
        "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = ns.l + ['a' * 16000000] %}{% endfor %}".into(),
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}".into(),
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = {'a': ns.l} %}{% endfor %}".into(),
        "{% set ns = namespace(l='a') %}{% for i in range(99999) %}{% set ns.l = [ns.l].count %}{% endfor %}".into(),
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}".into(),
        "{% for i in range(99999) %}{{ range(99999) | sum }}{% endfor %}".into(),
        "{% for i in range(99999) %}{{ ('x' * 9999999) | length }}{% endfor %}".into(),
        "{% set s = 'ab' * 4999999 %}{% for i in range(99999) %}{{ s.find('z') }}{{ 'z' in s }}{% endfor %}".into(),
        "{% set s = 'a ' * 4999999 %}{{ s.split() | length }}{{ s | list | length }}".into(),
        "{{ range(99999) | map('string') | map('list') | list }}{% for i in range(9999) %}{{ range(99999) | sort }}{% endfor %}".into(),
        nested("(", ")", 100_000),
        nested("[", "]", 100_000),
        nested("{'a':", "}", 100_000),
        nested("-", "", 100_000),
        nested("not ", "", 100_000),
        nested("n[", "]", 100_000),
        nested("n(", ")", 100_000),
        nested("1 if 1 else ", "", 100_000),
        nested("n.a", "", 100_000),
        format!("{{{{ n{} }}}}", ".a".repeat(100_000)),
        format!("{{{{ n{} }}}}", "[0]".repeat(100_000)),
        format!("{{{{ n{} }}}}", "()".repeat(100_000)),
        format!("{{{{ n{} }}}}", "|abs".repeat(100_000)),
        format!("{{{{ n{} }}}}", "+1".repeat(100_000)),
        format!("{{{{ n{} }}}}", " and 1".repeat(100_000)),
        format!("{{{{ n{} }}}}", " if 1 else 2".repeat(100_000)),
        "{% if 1 %}".repeat(100_000),
        "{% for i in [1] %}".repeat(100_000),
        "{% macro m() %}".repeat(100_000),
        "{{ '".to_owned(),
        "{% if 1 %}".to_owned() + &"{% elif 1 %}".repeat(50_000),
        "{% set ".to_owned() + &"(".repeat(100_000),
        "{#".repeat(100_000),
        "{% raw %}".repeat(100_000),
        "x".repeat(5 << 20),
    ];
    let (mut wrong, mut slowest) = (Vec::new(), Duration::ZERO);
    for bomb in bombs.drain(..) {
        let (kind, took) = error(&bomb);
        slowest = slowest.max(took);
        if kind.is_none() || took > Duration::from_secs(20) {
            wrong.push(format!("{kind:?} after {took:?}: {}", &bomb[..bomb.len().min(120)]));
        }
    }
    println!("the slowest took {slowest:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What grows without end and is let go of in the end: neither a leak nor a deep drop may end the process.
#[test]
fn long_chains_are_taken_apart() {
    for chain in [
        "{% set h = namespace(x=none) %}{% for i in range(50000) %}{% set h.x = namespace(prev=h.x) %}{% endfor %}ok",
        "{% set h = namespace(x=none) %}{% for i in range(50000) %}{% macro f() %}{{ i }}{% endmacro %}{% set h.x = f %}{% endfor %}{{ h.x() }}",
        "{% set h = namespace(x=none) %}{% macro mk() %}{% macro g() %}{% set h.x = mk2 %}{% endmacro %}{% set h.x = g %}{% endmacro %}{% for i in range(20000) %}{{ mk() }}{% endfor %}ok",
        "{% set h = namespace(x=none) %}{% for i in range(20000) %}{{ loop.changed(h.x) }}{% set h.x = loop %}{% for j in [1] %}{{ loop.changed(h.x) }}{% set h.x = loop %}{% endfor %}{% endfor %}ok",
        "{{ deep }}{{ deep | tojson }}{{ deep == deep }}",
    ] {
        assert_eq!(error(chain).0, None, "{chain}");
    }
}

#[test]
fn json_of_strangers_is_bounded_too() {
    let render = |messages: &str| {
        on_stack(|| {
            let request = Request { messages, variables: "{}", clock: NOW, generation_prompt: false, continued: None };
            ChatTemplate::new("{{ messages }}")?.render(&request)
        })
        .expect("a thread")
    };
    assert!(render(&"[".repeat(1_000_000)).is_err());
    assert!(render(&"{\"a\":".repeat(1_000_000)).is_err());
    for broken in [
        "",
        "[",
        "[1,]",
        "{\"a\"}",
        "[01]",
        "[1.]",
        "[1e]",
        "\"\\x\"",
        "[\"a",
        "nul",
        "[1] 2",
        "{}",
        "[]",
        "[1]",
        "[{\"a\":\"\u{1}\"}]",
    ] {
        assert!(render(broken).is_err(), "{broken}");
    }
    assert_eq!(
        render(r#"[{"a": [1e-07, 21.0, 12345678901234567890, -0.0, "\ud83d\ude00\ud83d"]}]"#).as_deref(),
        Ok("[{'a': [1e-07, 21.0, 12345678901234567890, -0.0, '😀\u{fffd}']}]")
    );
}
