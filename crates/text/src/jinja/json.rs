//! JSON as Python reads and writes it: `21.0` stays a float, integers stay whole, keys stay in order.

use super::limits;
use super::python;
use super::text::Writer;
use super::value::{Key, Value};
use crate::error::{Error, Kind, Result};
use indexmap::IndexMap;

/// Lists inside each other.
const DEPTH: usize = 200;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// The value of a JSON text.
pub fn read(text: &str) -> Result<Value> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = reader.value()?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.error("unexpected text behind the value"));
    }
    Ok(value)
}

impl Reader<'_> {
    fn error(&self, message: &str) -> Error {
        Error::value(format!("JSON, byte {}: {message}", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self) -> Result<Value> {
        limits::step(1)?;
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Value::str(self.string()?),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::None),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.error("expected a value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value>) -> Result<Value> {
        if self.depth >= DEPTH {
            return Err(Error::new(Kind::Limit, "JSON: nested too deeply"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Whether another element follows: after a comma, or as the first.
    fn more(&mut self, close: u8, first: bool) -> Result<bool> {
        self.space();
        match self.peek() {
            Some(c) if c == close => {
                self.at += 1;
                Ok(false)
            }
            Some(_) if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.error("expected a comma or the end")),
        }
    }

    fn array(&mut self) -> Result<Value> {
        let mut items = Vec::new();
        while self.more(b']', items.is_empty())? {
            items.push(self.value()?);
        }
        Value::list(items)
    }

    fn object(&mut self) -> Result<Value> {
        let mut map = IndexMap::new();
        let mut first = true;
        while self.more(b'}', first)? {
            first = false;
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a key"));
            }
            let key = Key::new(Value::str(self.string()?)?)?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.error("expected a colon"));
            }
            self.at += 1;
            map.insert(key, self.value()?);
        }
        Value::dict(map)
    }

    fn number(&mut self) -> Result<Value> {
        let rest = &self.text[self.at..];
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let sign = usize::from(rest.starts_with('-'));
        let whole = digits(&rest[sign..]);
        if whole == 0 || whole > 1 && rest[sign..].starts_with('0') {
            return Err(self.error("this is no number"));
        }
        let mut end = sign + whole;
        if let Some(fraction) = rest[end..].strip_prefix('.') {
            end += match digits(fraction) {
                0 => return Err(self.error("this is no number")),
                n => 1 + n,
            };
        }
        if let Some(power) = rest[end..].strip_prefix(['e', 'E']) {
            let unsigned = power.strip_prefix(['+', '-']).unwrap_or(power);
            end += match digits(unsigned) {
                0 => return Err(self.error("this is no number")),
                n => 1 + power.len() - unsigned.len() + n,
            };
        }
        let text = &rest[..end];
        let value = if end == sign + whole {
            text.parse().map(Value::Int).map_err(|_| self.error("the integer has too many digits"))?
        } else {
            text.parse().map(Value::Float).map_err(|_| self.error("this is no number"))?
        };
        self.at += end;
        Ok(value)
    }

    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let n = rest
                .bytes()
                .position(|b| b == b'"' || b == b'\\' || b < 0x20)
                .ok_or_else(|| self.error("a string has no end"))?;
            out.push_str(&rest[..n]);
            self.at += n + 1;
            match rest.as_bytes()[n] {
                b'"' => return Ok(out),
                b'\\' => self.escape(&mut out)?,
                _ => return Err(self.error("a control character in a string")),
            }
        }
    }

    fn hex(&mut self) -> Result<u32> {
        let code = self.text.get(self.at..self.at + 4).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = code
            .and_then(|h| u32::from_str_radix(h, 16).ok())
            .ok_or_else(|| self.error("expected four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }

    fn escape(&mut self, out: &mut String) -> Result<()> {
        let c = self.peek().ok_or_else(|| self.error("a string has no end"))?;
        self.at += 1;
        out.push(match c {
            b'"' | b'\\' | b'/' => c as char,
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with("\\u") {
                    let before = self.at;
                    self.at += 2;
                    match self.hex()? {
                        low @ 0xdc00..=0xdfff => code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00),
                        _ => self.at = before,
                    }
                }
                // Half of a pair is no character.
                char::from_u32(code).unwrap_or('\u{fffd}')
            }
            _ => return Err(self.error("an unknown escape")),
        });
        Ok(())
    }
}

/// How `json.dumps` writes.
pub struct Style {
    pub ensure_ascii: bool,
    pub indent: Option<String>,
    pub separators: (String, String),
    pub sort_keys: bool,
}

/// A text as JSON.
pub fn quoted(text: &str, ensure_ascii: bool, out: &mut Writer) -> Result<()> {
    let mut line = String::with_capacity(text.len() + 2);
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\x08' => line.push_str("\\b"),
            '\x0c' => line.push_str("\\f"),
            c if (c as u32) < 0x20 || (ensure_ascii && (c as u32) == 0x7f) => {
                line.push_str(&format!("\\u{:04x}", c as u32))
            }
            c if ensure_ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    line.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => line.push(c),
        }
    }
    line.push('"');
    out.push(&line)
}

fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    python::float(value)
}

impl Style {
    fn line(&self, depth: usize, out: &mut Writer) -> Result<()> {
        let Some(indent) = &self.indent else { return Ok(()) };
        out.push("\n")?;
        (0..depth).try_for_each(|_| out.push(indent))
    }

    /// Writes a value as `json.dumps` does.
    pub fn write(&self, value: &Value, depth: usize, out: &mut Writer) -> Result<()> {
        limits::step(1)?;
        match value {
            Value::None => out.push("null"),
            Value::Bool(b) => out.push(if *b { "true" } else { "false" }),
            Value::Int(i) => out.push(&i.to_string()),
            Value::Float(f) => out.push(&float(*f)),
            Value::Str(text) => quoted(text, self.ensure_ascii, out),
            Value::List(seq) | Value::Tuple(seq) => {
                if seq.items.is_empty() {
                    return out.push("[]");
                }
                out.push("[")?;
                for (i, item) in seq.items.iter().enumerate() {
                    if i > 0 {
                        out.push(&self.separators.0)?;
                    }
                    self.line(depth + 1, out)?;
                    self.write(item, depth + 1, out)?;
                }
                self.line(depth, out)?;
                out.push("]")
            }
            Value::Dict(dict) => {
                if dict.map.is_empty() {
                    return out.push("{}");
                }
                let mut pairs: Vec<_> = dict.map.iter().map(|(k, v)| (k.value(), v)).collect();
                if self.sort_keys {
                    let mut failed = None;
                    pairs.sort_by(|(a, _), (b, _)| match super::compare::order(a, b, "<") {
                        Ok(order) => order.unwrap_or(std::cmp::Ordering::Equal),
                        Err(e) => {
                            failed.get_or_insert(e);
                            std::cmp::Ordering::Equal
                        }
                    });
                    failed.map_or(Ok(()), Err)?;
                }
                out.push("{")?;
                for (i, (key, value)) in pairs.into_iter().enumerate() {
                    if i > 0 {
                        out.push(&self.separators.0)?;
                    }
                    self.line(depth + 1, out)?;
                    self.key(key, out)?;
                    out.push(&self.separators.1)?;
                    self.write(value, depth + 1, out)?;
                }
                self.line(depth, out)?;
                out.push("}")
            }
            Value::Undefined(_) | Value::Object(_) => {
                Err(Error::typed(format!("Object of type {} is not JSON serializable", value.type_name())))
            }
        }
    }

    fn key(&self, key: &Value, out: &mut Writer) -> Result<()> {
        let text = match key {
            Value::Str(text) => return quoted(text, self.ensure_ascii, out),
            Value::None => "null".to_owned(),
            Value::Bool(b) => b.to_string(),
            Value::Int(i) => i.to_string(),
            Value::Float(f) => float(*f),
            other => {
                return Err(Error::typed(format!(
                    "keys must be str, int, float, bool or None, not {}",
                    other.type_name()
                )))
            }
        };
        quoted(&text, self.ensure_ascii, out)
    }
}
