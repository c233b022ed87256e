//! Many conversations at once, on threads of their own.

use super::{Chat, ChatTemplate, Encoded, Variables, RUNS};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::jinja::{limits, read_json, Value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use tokenizers::Tokenizer;

/// The template of all rows, and that of those with tools where it is another.
#[derive(Clone, Copy)]
pub struct Templates<'a> {
    pub plain: &'a ChatTemplate,
    pub with_tools: Option<&'a ChatTemplate>,
}

/// Rows `{ messages, tools?, documents?, chat_template_kwargs? }` as JSON texts, each a conversation. `variables` are for all of them;
/// a row's own win. Stops when `cancelled` says so. An error tells the first row that has one.
pub fn encode_rows(
    templates: Templates,
    tokenizer: &Tokenizer,
    rows: &[String],
    variables: &str,
    clock: Clock,
    generation_prompt: bool,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> std::result::Result<Vec<Encoded>, (usize, Error)> {
    let next = AtomicUsize::new(0);
    // The first row that failed so far: those behind it need not be looked at.
    let failed = AtomicUsize::new(usize::MAX);
    let done: Mutex<Vec<(usize, Result<Encoded>)>> = Mutex::new(Vec::with_capacity(rows.len()));
    let work = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at >= rows.len() || at > failed.load(Ordering::Relaxed) || cancelled() {
            return;
        }
        let result = encode_row(templates, tokenizer, &rows[at], variables, clock, generation_prompt);
        if result.is_err() {
            failed.fetch_min(at, Ordering::Relaxed);
        }
        done.lock().unwrap_or_else(|e| e.into_inner()).push((at, result));
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(rows.len());
    let started = std::thread::scope(|scope| {
        let spawn =
            || std::thread::Builder::new().name("template".into()).stack_size(limits::STACK).spawn_scoped(scope, work);
        let all: Vec<_> = (0..threads).map_while(|_| spawn().ok()).collect();
        let started = all.len();
        let panics: Vec<_> = all.into_iter().filter_map(|thread| thread.join().err()).collect();
        if let Some(panic) = panics.into_iter().next() {
            std::panic::resume_unwind(panic);
        }
        started
    });
    if started == 0 && !rows.is_empty() {
        return Err((0, Error::new(Kind::Limit, "no thread could be started")));
    }
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(at, result)| result.map_err(|e| (at, e))).collect()
}

fn encode_row(
    templates: Templates,
    tokenizer: &Tokenizer,
    row: &str,
    variables: &str,
    clock: Clock,
    generation_prompt: bool,
) -> Result<Encoded> {
    limits::begin(RUNS);
    let Value::Dict(row) = read_json(row)? else { return Err(Error::typed("a row is an object")) };
    let given = |name: &str| row.get(name).filter(|value| !matches!(value, Value::None));
    let messages = given("messages").ok_or_else(|| Error::value("the row has no messages"))?;
    let mut all = Variables::new(variables)?;
    for name in ["tools", "documents"] {
        if let Some(value) = given(name) {
            all.0.push((name.into(), value.clone()));
        }
    }
    if let Some(own) = given("chat_template_kwargs") {
        all.add(own)?;
    }
    let template = templates.with_tools.filter(|_| given("tools").is_some()).unwrap_or(templates.plain);
    template.encode_chat(tokenizer, &Chat::new(messages, all, clock)?, generation_prompt)
}
