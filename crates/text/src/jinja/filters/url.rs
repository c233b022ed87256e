//! Filters for the web; chat templates hardly have them.

use super::super::args::{truth, CallArgs};
use super::super::escape;
use super::super::print;
use super::super::text::Text;
use super::super::value::Value;
use crate::error::{Error, Result};

fn quoted(value: &Value, query: bool) -> Result<String> {
    let text = print::text(value)?;
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(byte as char),
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(out)
}

pub fn apply(name: &str, value: &Value, args: CallArgs) -> Result<Value> {
    match name {
        "urlencode" => {
            let [] = args.bind(name, [])?;
            let pairs = match value {
                Value::Dict(dict) => super::super::object::View::Items.items(dict)?,
                Value::List(s) | Value::Tuple(s) => s.items.clone(),
                other => return Value::str(quoted(other, false)?),
            };
            let mut parts = Vec::new();
            for pair in pairs {
                match &pair.iterate()?[..] {
                    [key, value] => parts.push(format!("{}={}", quoted(key, true)?, quoted(value, true)?)),
                    _ => return Err(Error::value("urlencode: expected pairs")),
                }
            }
            Value::str(parts.join("&"))
        }
        "xmlattr" => {
            let [space] = args.bind(name, ["autospace"])?;
            let Value::Dict(dict) = value else { return Err(Error::typed("xmlattr: expected a mapping")) };
            let mut parts = Vec::new();
            for (key, value) in &dict.map {
                if matches!(value, Value::None | Value::Undefined(_)) {
                    continue;
                }
                let (key, value) = (escape::escape(key.value())?, escape::escape(value)?);
                parts.push(format!("{}=\"{}\"", print::text(&key)?.text, print::text(&value)?.text));
            }
            let text = parts.join(" ");
            Value::str(if space.is_none_or(|s| s.truth()) && !text.is_empty() { format!(" {text}") } else { text })
        }
        "filesizeformat" => {
            let [binary] = args.bind(name, ["binary"])?;
            let bytes = match value {
                Value::Str(text) => super::super::numbers::float(text),
                other => other.number(),
            };
            let bytes: f64 = bytes.ok_or_else(|| Error::typed("filesizeformat: expected a number"))?;
            let binary = truth(&binary);
            let base: f64 = if binary { 1024.0 } else { 1000.0 };
            if bytes == 1.0 {
                return Value::str("1 Byte");
            }
            if bytes < base {
                return Value::str(format!("{} Bytes", bytes.trunc()));
            }
            let units = if binary {
                ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
            } else {
                ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
            };
            let at = (0..7).find(|i| bytes < base.powi(*i + 2)).unwrap_or(7);
            Value::str(format!("{:.1} {}", bytes / base.powi(at + 1), units[at as usize]))
        }
        "striptags" => {
            let [] = args.bind(name, [])?;
            Value::str(stripped(&*print::text(value)?))
        }
        _ => Err(Error::value(format!("the filter '{name}' is not supported"))),
    }
}

/// Without comments, tags and doubled white space, entities as characters.
fn stripped(text: &Text) -> String {
    let mut out = String::new();
    let mut rest: &str = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let (end, skip) =
            if rest[at..].starts_with("<!--") { (rest[at..].find("-->"), 3) } else { (rest[at..].find('>'), 1) };
        match end {
            Some(end) => rest = &rest[at + end + skip..],
            None => {
                out.push_str(&rest[at..]);
                rest = "";
            }
        }
    }
    out.push_str(rest);
    let words: Vec<&str> = out.split_whitespace().collect();
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#34;", "\""), ("&amp;", "&")];
    entities.iter().fold(words.join(" "), |text, (entity, c)| text.replace(entity, c))
}
