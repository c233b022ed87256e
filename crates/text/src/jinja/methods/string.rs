//! Methods of texts; places count characters.

use super::super::args::{required, truth, whole, CallArgs};
use super::super::limits;
use super::super::print;
use super::super::python::{self, is_space};
use super::super::text::Text;
use super::super::value::Value;
use super::{format, pieces};
use crate::error::{Error, Result};
use std::rc::Rc;

pub const NAMES: [&str; 45] = [
    "upper",
    "lower",
    "capitalize",
    "title",
    "swapcase",
    "casefold",
    "strip",
    "lstrip",
    "rstrip",
    "split",
    "rsplit",
    "splitlines",
    "replace",
    "startswith",
    "endswith",
    "find",
    "rfind",
    "index",
    "rindex",
    "count",
    "join",
    "partition",
    "rpartition",
    "zfill",
    "center",
    "ljust",
    "rjust",
    "isdigit",
    "isdecimal",
    "isnumeric",
    "isalpha",
    "isalnum",
    "isspace",
    "isupper",
    "islower",
    "istitle",
    "isascii",
    "isidentifier",
    "isprintable",
    "format",
    "format_map",
    "removeprefix",
    "removesuffix",
    "expandtabs",
    "translate",
];

fn cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase()
}

/// `str.islower`.
pub fn is_lower(text: &str) -> bool {
    text.chars().any(cased) && !text.chars().any(char::is_uppercase)
}

/// `str.isupper`.
pub fn is_upper(text: &str) -> bool {
    text.chars().any(cased) && !text.chars().any(char::is_lowercase)
}

/// `str.capitalize`.
pub fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(python::capital).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.push_str(&python::capital(c));
        }
        inside = cased(c);
    }
    out
}

fn is_title(text: &str) -> bool {
    let (mut inside, mut any) = (false, false);
    for c in text.chars() {
        if c.is_uppercase() && inside || c.is_lowercase() && !inside {
            return false;
        }
        inside = cased(c);
        any |= inside;
    }
    any
}

/// `strip`, `lstrip` or `rstrip` of white space, or of some characters.
pub fn strip(text: &Rc<Text>, chars: Option<&str>, left: bool, right: bool) -> Result<Value> {
    limits::bytes(text.len())?;
    let goes = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let from = if left { text.len() - text.trim_start_matches(goes).len() } else { 0 };
    let to = if right { from + text[from..].trim_end_matches(goes).len() } else { text.len() };
    if from == 0 && to == text.len() {
        return Ok(Value::Str(text.clone()));
    }
    Ok(Value::Str(text.part(from, to)?))
}

/// A text among arguments.
pub fn given(value: Option<Value>, name: &str, what: &str) -> Result<Rc<Text>> {
    match required(value, name, what)?.defined()? {
        Value::Str(text) => Ok(text.clone()),
        other => Err(Error::typed(format!("{name}() argument must be str, not {}", other.type_name()))),
    }
}

/// A text among arguments, `None` like nothing.
fn maybe(value: Option<Value>, name: &str) -> Result<Option<Rc<Text>>> {
    match value {
        None | Some(Value::None) => Ok(None),
        some => given(some, name, "").map(Some),
    }
}

/// `text.replace(old, new, count)`; less than none is all.
pub fn replace(text: &Text, old: &str, new: &str, count: i128) -> Result<Value> {
    limits::bytes(text.len())?;
    let n = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() }.min(n);
    limits::step(found)?;
    limits::text((text.len() - old.len() * found).saturating_add(new.len().saturating_mul(found)))?;
    Ok(Value::Str(Text::with(text.replacen(old, new, n), Vec::new(), text.safe)?))
}

/// Byte places of the characters `start..stop`, or nothing where `start` is behind the end.
fn window(text: &str, start: Option<i128>, stop: Option<i128>) -> Option<(usize, usize)> {
    if start.is_none() && stop.is_none() {
        return Some((0, text.len()));
    }
    let n = text.chars().count() as i128;
    let place = |at: i128| (if at < 0 { (at + n).max(0) } else { at }).min(n + 1);
    let (from, to) = (place(start.unwrap_or(0)), place(stop.unwrap_or(n)).min(n));
    if from > n || from > to {
        return None;
    }
    let byte = |at: i128| text.char_indices().nth(at as usize).map_or(text.len(), |(at, _)| at);
    Some((byte(from), byte(to)))
}

fn search(text: &Text, name: &str, args: CallArgs) -> Result<Value> {
    let [part, start, stop] = args.bind(name, ["sub", "start", "end"])?;
    let none = |v: Option<Value>| v.filter(|v| !matches!(v, Value::None));
    let (start, stop) = (whole(none(start), name)?, whole(none(stop), name)?);
    limits::bytes(text.len() * 2)?;
    if matches!(name, "startswith" | "endswith") {
        let part = required(part, name, "prefix")?;
        let options = if let Value::Tuple(t) = &part { t.items.clone() } else { vec![part] };
        let Some((from, to)) = window(text, start, stop) else { return Ok(Value::Bool(false)) };
        for option in options {
            let option = given(Some(option), name, "prefix")?;
            let inside = &text[from..to];
            if if name == "startswith" { inside.starts_with(&**option) } else { inside.ends_with(&**option) } {
                return Ok(Value::Bool(true));
            }
        }
        return Ok(Value::Bool(false));
    }
    let part = given(part, name, "sub")?;
    let found = window(text, start, stop).and_then(|(from, to)| {
        let inside = &text[from..to];
        if name == "count" {
            return Some(if part.is_empty() {
                inside.chars().count() + 1
            } else {
                inside.matches(&*part.text).count()
            });
        }
        let at = if name.starts_with('r') { inside.rfind(&*part.text) } else { inside.find(&*part.text) };
        at.map(|at| text[..from + at].chars().count())
    });
    match (found, name) {
        (Some(at), _) => Ok(Value::Int(at as i128)),
        (None, "count") => Ok(Value::Int(0)),
        (None, "index" | "rindex") => Err(Error::value("substring not found")),
        (None, _) => Ok(Value::Int(-1)),
    }
}

fn padded(text: &Text, name: &str, args: CallArgs) -> Result<Value> {
    let [width, fill] = args.bind(name, ["width", "fillchar"])?;
    let width = whole(Some(required(width, name, "width")?), name)?.unwrap_or(0);
    let fill = maybe(fill, name)?.map_or_else(|| " ".to_owned(), |f| f.text.clone());
    if fill.chars().count() != 1 {
        return Err(Error::typed("The fill character must be exactly one character long"));
    }
    let n = text.chars().count() as i128;
    let missing = usize::try_from((width - n).max(0)).unwrap_or(usize::MAX);
    limits::text(text.len().saturating_add(missing.saturating_mul(fill.len())))?;
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        // As CPython rounds.
        _ => missing / 2 + (missing & width as usize & 1),
    };
    Value::str(format!("{}{}{}", fill.repeat(left), &text.text, fill.repeat(missing - left)))
}

fn expanded(text: &str, size: usize) -> Result<Value> {
    let mut out = String::new();
    let mut column = 0;
    for c in text.chars() {
        if c == '\t' {
            let n = if size == 0 { 0 } else { size - column % size };
            limits::text(out.len() + n)?;
            out.extend(std::iter::repeat_n(' ', n));
            column += n;
        } else {
            out.push(c);
            column = if c == '\n' || c == '\r' { 0 } else { column + 1 };
        }
    }
    Value::str(out)
}

fn all(text: &str, holds: impl Fn(char) -> bool) -> Value {
    Value::Bool(!text.is_empty() && text.chars().all(holds))
}

/// Digits of Unicode's category Nd, in runs of ten.
fn decimal(c: char) -> bool {
    const ZEROS: [u32; 24] = [
        0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
        0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0xff10,
    ];
    ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&(c as u32)))
}

fn digit(c: char) -> bool {
    decimal(c) || matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨')
}

/// `text.name(args)`.
pub fn call(text: &Rc<Text>, name: &'static str, args: CallArgs) -> Result<Value> {
    limits::bytes(text.len())?;
    let plain = |args: CallArgs, make: &dyn Fn(&str) -> String| -> Result<Value> {
        let [] = args.bind(name, [])?;
        Ok(Value::Str(Text::with(make(text), Vec::new(), text.safe)?))
    };
    match name {
        "upper" => plain(args, &|t| t.to_uppercase()),
        "lower" => plain(args, &|t| t.to_lowercase()),
        "casefold" => plain(args, &|t| t.to_lowercase().replace('ß', "ss").replace('ς', "σ")),
        "capitalize" => plain(args, &capitalize),
        "title" => plain(args, &title),
        "swapcase" => plain(args, &|t| {
            let swap = |c: char| {
                if c.is_uppercase() {
                    c.to_lowercase().collect::<String>()
                } else {
                    c.to_uppercase().collect()
                }
            };
            t.chars().map(swap).collect()
        }),
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            let chars = maybe(chars, name)?;
            strip(text, chars.as_deref().map(|c| &*c.text), name != "rstrip", name != "lstrip")
        }
        "split" | "rsplit" => {
            let [sep, max] = args.bind(name, ["sep", "maxsplit"])?;
            let max = whole(max, name)?.unwrap_or(-1);
            pieces::split(text, maybe(sep, name)?.as_deref().map(|s| &*s.text), max, name == "rsplit")
        }
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            Value::list(pieces::lines(text, truth(&keep)).into_iter().map(Value::str).collect::<Result<_>>()?)
        }
        "partition" | "rpartition" => {
            let [sep] = args.bind(name, ["sep"])?;
            pieces::partition(text, &*given(sep, name, "sep")?, name == "rpartition")
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            replace(text, &given(old, name, "old")?, &given(new, name, "new")?, whole(count, name)?.unwrap_or(-1))
        }
        "startswith" | "endswith" | "find" | "rfind" | "index" | "rindex" | "count" => search(text, name, args),
        "join" => {
            let [items] = args.bind(name, ["iterable"])?;
            pieces::join(text, required(items, name, "iterable")?.iterate()?, false)
        }
        "zfill" => {
            let [width] = args.bind(name, ["width"])?;
            let width = whole(Some(required(width, name, "width")?), name)?.unwrap_or(0);
            let missing = usize::try_from(width - text.chars().count() as i128).unwrap_or(0);
            limits::text(text.len().saturating_add(missing))?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            Value::str(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "center" | "ljust" | "rjust" => padded(text, name, args),
        "removeprefix" | "removesuffix" => {
            let [part] = args.bind(name, ["prefix"])?;
            let part = given(part, name, "prefix")?;
            match if name == "removeprefix" { text.strip_prefix(&**part) } else { text.strip_suffix(&**part) } {
                Some(_) if name == "removeprefix" => Ok(Value::Str(text.part(part.len(), text.len())?)),
                Some(rest) => Ok(Value::Str(text.part(0, rest.len())?)),
                None => Ok(Value::Str(text.clone())),
            }
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"])?;
            expanded(text, usize::try_from(whole(size, name)?.unwrap_or(8)).unwrap_or(0).min(limits::TEXT + 1))
        }
        "format" => format::format(text, args),
        "format_map" => {
            let [map] = args.bind(name, ["mapping"])?;
            format::format_map(text, &required(map, name, "mapping")?)
        }
        "translate" => Err(Error::typed("translate() is not supported")),
        _ => {
            let [] = args.bind(name, [])?;
            Ok(match name {
                "isdigit" => all(text, digit),
                "isdecimal" => all(text, decimal),
                "isnumeric" => all(text, char::is_numeric),
                "isalpha" => all(text, |c| c.is_alphabetic() && !c.is_numeric() && !print::combining(c)),
                "isalnum" => all(text, |c| c.is_alphanumeric() && !print::combining(c)),
                "isspace" => all(text, is_space),
                "isupper" => Value::Bool(is_upper(text)),
                "islower" => Value::Bool(is_lower(text)),
                "istitle" => Value::Bool(is_title(text)),
                "isascii" => Value::Bool(text.is_ascii()),
                "isprintable" => Value::Bool(text.chars().all(print::printable)),
                _ => {
                    let first = |c: char| c.is_alphabetic() || c == '_';
                    Value::Bool(
                        text.chars().next().is_some_and(first) && text.chars().all(|c| c.is_alphanumeric() || c == '_'),
                    )
                }
            })
        }
    }
}
