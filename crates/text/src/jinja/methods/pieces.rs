//! Texts taken apart and put together.

use super::super::compare;
use super::super::limits;
use super::super::print;
use super::super::python::is_space;
use super::super::text::{Text, Writer};
use super::super::value::Value;
use crate::error::{Error, Result};

/// `text.split(sep, max)`; from the right with `right`.
pub fn split(text: &Text, sep: Option<&str>, max: i128, right: bool) -> Result<Value> {
    let most = usize::try_from(max).unwrap_or(usize::MAX - 1);
    let parts: Vec<(usize, usize)> = match sep {
        Some("") => return Err(Error::value("empty separator")),
        Some(sep) => between(text, sep, most, right),
        None => words(text, most, right),
    };
    limits::step(parts.len())?;
    drop(limits::Weight::new(parts.len() * 120)?);
    Value::list(parts.into_iter().map(|(from, to)| text.part(from, to).map(Value::Str)).collect::<Result<_>>()?)
}

fn between(text: &str, sep: &str, most: usize, right: bool) -> Vec<(usize, usize)> {
    let mut cuts: Vec<usize> = if right {
        text.rmatch_indices(sep).take(most).map(|(at, _)| at).collect()
    } else {
        text.match_indices(sep).take(most).map(|(at, _)| at).collect()
    };
    cuts.sort_unstable();
    let mut from = 0;
    let mut parts = Vec::with_capacity(cuts.len() + 1);
    for at in cuts {
        parts.push((from, at));
        from = at + sep.len();
    }
    parts.push((from, text.len()));
    parts
}

/// Places of the words; what is left behind the last split keeps its inner white space.
fn words(text: &str, most: usize, right: bool) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let (mut from, mut to) = (0, text.len());
    loop {
        let inside = &text[from..to];
        let inside = if right { inside.trim_end_matches(is_space) } else { inside.trim_start_matches(is_space) };
        if inside.is_empty() {
            break;
        }
        if right {
            to = from + inside.len();
            let cut = inside.rfind(is_space).filter(|_| parts.len() < most);
            let begin = cut.map_or(0, |at| at + inside[at..].chars().next().map_or(0, char::len_utf8));
            let begin =
                if parts.len() < most { begin } else { inside.len() - inside.trim_start_matches(is_space).len() };
            // What is left loses the white space before it, too.
            parts.push((from + if parts.len() < most { begin } else { 0 }, to));
            to = from + begin;
            if cut.is_none() {
                break;
            }
        } else {
            from = to - inside.len();
            let cut = inside.find(is_space).filter(|_| parts.len() < most);
            let end = cut.unwrap_or(inside.len());
            parts.push((from, from + end));
            from += end;
            if cut.is_none() {
                break;
            }
        }
    }
    if right {
        parts.reverse();
    }
    parts
}

/// `text.splitlines(keepends)`: Python's line ends, of which there are more than two.
pub fn lines(text: &str, keep: bool) -> Vec<String> {
    let ends = |c: char| {
        matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c' | '\x1d' | '\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let end = if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(1, char::len_utf8) };
        out.push(rest[..at + if keep { end } else { 0 }].to_owned());
        rest = &rest[at + end..];
    }
    if !rest.is_empty() {
        out.push(rest.to_owned());
    }
    out
}

/// `text.partition(sep)`.
pub fn partition(text: &Text, sep: &Text, right: bool) -> Result<Value> {
    if sep.is_empty() {
        return Err(Error::value("empty separator"));
    }
    let found = if right { text.rfind(&**sep) } else { text.find(&**sep) };
    let empty = || Value::str("");
    let whole = || text.part(0, text.len()).map(Value::Str);
    Value::tuple(match found {
        Some(at) => {
            let end = at + sep.len();
            [(0, at), (at, end), (end, text.len())]
                .map(|(a, b)| text.part(a, b).map(Value::Str))
                .into_iter()
                .collect::<Result<_>>()?
        }
        None if right => vec![empty()?, empty()?, whole()?],
        None => vec![whole()?, empty()?, empty()?],
    })
}

/// `sep.join(items)`; the filter makes texts of what is none.
pub fn join(sep: &Text, items: Vec<Value>, any: bool) -> Result<Value> {
    let mut out = Writer::new()?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_text(sep)?;
        }
        if !any && !matches!(item, Value::Str(_)) {
            return Err(Error::typed(format!("sequence item {i}: expected str instance, {} found", item.type_name())));
        }
        print::write(item, &mut out)?;
    }
    Ok(Value::Str(out.finish(false)?))
}

/// Sorts by Python's `<`.
pub fn sort(keys: &mut [(Vec<Value>, Value)], reverse: bool) -> Result<()> {
    let mut failed = None;
    keys.sort_by(|(a, _), (b, _)| {
        if failed.is_some() {
            return std::cmp::Ordering::Equal;
        }
        for (x, y) in a.iter().zip(b) {
            match compare::order(x, y, "<") {
                Ok(Some(order)) if order.is_ne() => return if reverse { order.reverse() } else { order },
                Ok(_) => {}
                Err(e) => {
                    failed = Some(e);
                    return std::cmp::Ordering::Equal;
                }
            }
        }
        std::cmp::Ordering::Equal
    });
    failed.map_or(Ok(()), Err)
}
