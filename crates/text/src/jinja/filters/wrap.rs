//! `truncate` and `wordwrap`.

use super::super::args::{truth, whole, CallArgs};
use super::super::limits;
use super::super::methods::{pieces, string};
use super::super::text::Text;
use super::super::value::Value;
use crate::error::{Error, Result};

pub fn truncate(text: &Text, args: CallArgs) -> Result<Value> {
    let [length, kill, end, leeway] = args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = whole(length, "truncate")?.unwrap_or(255);
    let end = end.map_or_else(|| Text::new("...".into()), |e| string::given(Some(e), "truncate", "end"))?;
    let leeway = whole(leeway.filter(|l| !matches!(l, Value::None)), "truncate")?.unwrap_or(5);
    let dots = end.chars().count() as i128;
    if length < dots || leeway < 0 {
        return Err(Error::value(format!("expected length >= {dots}, got {length}")));
    }
    if text.chars().count() as i128 <= length.saturating_add(leeway) {
        return Ok(Value::Str(text.part(0, text.len())?));
    }
    let mut kept: String = text.chars().take(usize::try_from(length - dots).unwrap_or(0)).collect();
    if !truth(&kill) {
        if let Some(at) = kept.rfind(' ') {
            kept.truncate(at);
        }
    }
    Value::str(kept + &end.text)
}

/// `textwrap.wrap` of each line, words broken where they are too long.
pub fn wordwrap(text: &Text, args: CallArgs) -> Result<Value> {
    let [width, long, wrap, hyphens] =
        args.bind("wordwrap", ["width", "break_long_words", "wrapstring", "break_on_hyphens"])?;
    let width = whole(width, "wordwrap")?.unwrap_or(79);
    let width =
        usize::try_from(width).ok().filter(|w| *w > 0).ok_or_else(|| Error::value("invalid width (must be > 0)"))?;
    let wrap = match wrap.filter(|w| !matches!(w, Value::None)) {
        Some(w) => string::given(Some(w), "wordwrap", "wrapstring")?.text.clone(),
        None => "\n".to_owned(),
    };
    let (long, hyphens) = (long.is_none_or(|l| l.truth()), hyphens.is_none_or(|h| h.truth()));
    let mut lines = Vec::new();
    for line in pieces::lines(text, false) {
        limits::step(line.len())?;
        lines.push(wrapped(&line, width, long, hyphens).join(&wrap));
    }
    limits::text(lines.iter().map(|l| l.len() + wrap.len()).sum())?;
    Value::str(lines.join(&wrap))
}

/// Words and the white space between them; words end behind a hyphen between letters, too.
fn chunks(line: &str, hyphens: bool) -> Vec<Vec<char>> {
    let chars: Vec<char> = line.chars().collect();
    let mut out: Vec<Vec<char>> = Vec::new();
    for (at, &c) in chars.iter().enumerate() {
        let letter = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphabetic());
        let joins = out.last().is_some_and(|last| {
            let space = last[0].is_whitespace();
            let cut = hyphens && last.ends_with(&['-']) && letter(at.checked_sub(2)) && letter(Some(at));
            space == c.is_whitespace() && !cut
        });
        match out.last_mut().filter(|_| joins) {
            Some(last) => last.push(c),
            None => out.push(vec![c]),
        }
    }
    out
}

fn wrapped(line: &str, width: usize, long: bool, hyphens: bool) -> Vec<String> {
    let mut rest: std::collections::VecDeque<Vec<char>> = chunks(line, hyphens).into();
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let mut now: Vec<Vec<char>> = Vec::new();
        let mut used = 0;
        if !lines.is_empty() && rest[0].iter().all(|c| c.is_whitespace()) {
            rest.pop_front();
        }
        while let Some(chunk) = rest.front().filter(|c| used + c.len() <= width) {
            used += chunk.len();
            now.extend(rest.pop_front());
        }
        if let Some(chunk) = rest.front_mut().filter(|c| c.len() > width) {
            let room = width - used;
            if long && room > 0 {
                now.push(chunk.drain(..room).collect());
            } else if now.is_empty() {
                now.extend(rest.pop_front());
            }
        }
        if now.last().is_some_and(|c| c.iter().all(|c| c.is_whitespace())) {
            now.pop();
        }
        if !now.is_empty() {
            lines.push(now.concat().into_iter().collect());
        }
    }
    lines
}
