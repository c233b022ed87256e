//! `str()` and `repr()` of values.

use super::object::{Object, View};
use super::python;
use super::text::{Text, Writer};
use super::value::Value;
use crate::error::Result;
use std::rc::Rc;

/// `str(value)`.
pub fn text(value: &Value) -> Result<Rc<Text>> {
    if let Value::Str(text) = value {
        return Ok(text.clone());
    }
    let mut out = Writer::new()?;
    write(value, &mut out)?;
    out.finish(false)
}

/// Writes `str(value)`.
pub fn write(value: &Value, out: &mut Writer) -> Result<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(text) => out.push_text(text),
        other => repr(other, out),
    }
}

/// `repr` of a text: in single quotes, unless it has some and no double ones.
pub fn quoted(text: &str, out: &mut Writer) -> Result<()> {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut line = String::with_capacity(text.len() + 2);
    line.push(quote);
    for c in text.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c == quote => {
                line.push('\\');
                line.push(c);
            }
            c if printable(c) => line.push(c),
            c if (c as u32) < 0x100 => line.push_str(&format!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x10000 => line.push_str(&format!("\\u{:04x}", c as u32)),
            c => line.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    line.push(quote);
    out.push(&line)
}

/// `str.isprintable` of a character, as far as the standard library knows: its `Debug` escapes what is not.
pub fn printable(c: char) -> bool {
    match c {
        ' ' | '\'' | '"' | '\\' => true,
        c if c.is_ascii() => !c.is_ascii_control(),
        c if c.is_whitespace() || c.is_control() => false,
        // Marks that combine are escaped there and printable here.
        c => c.escape_debug().len() == 1 || c.is_alphanumeric() || combining(c),
    }
}

/// Blocks of marks that combine.
pub fn combining(c: char) -> bool {
    matches!(c as u32, 0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20f0 | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f | 0xe0100..=0xe01ef)
}

fn listed(items: &[Value], open: &str, close: &str, out: &mut Writer) -> Result<()> {
    out.push(open)?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(", ")?;
        }
        repr(item, out)?;
    }
    out.push(close)
}

/// Writes `repr(value)`.
pub fn repr(value: &Value, out: &mut Writer) -> Result<()> {
    super::limits::step(1)?;
    match value {
        Value::Undefined(_) => out.push("Undefined"),
        Value::None => out.push("None"),
        Value::Bool(true) => out.push("True"),
        Value::Bool(false) => out.push("False"),
        Value::Int(i) => out.push(&i.to_string()),
        Value::Float(f) => out.push(&python::float(*f)),
        Value::Str(text) if text.safe => {
            out.push("Markup(")?;
            quoted(text, out)?;
            out.push(")")
        }
        Value::Str(text) => quoted(text, out),
        Value::List(items) => listed(&items.items, "[", "]", out),
        Value::Tuple(items) => listed(&items.items, "(", if items.items.len() == 1 { ",)" } else { ")" }, out),
        Value::Dict(dict) => {
            out.push("{")?;
            for (i, (key, value)) in dict.map.iter().enumerate() {
                if i > 0 {
                    out.push(", ")?;
                }
                repr(key.value(), out)?;
                out.push(": ")?;
                repr(value, out)?;
            }
            out.push("}")
        }
        Value::Object(object) => object_repr(object, out),
    }
}

fn object_repr(object: &Object, out: &mut Writer) -> Result<()> {
    match object {
        Object::Namespace(names) => {
            let _deeper = super::limits::Deeper::new()?;
            out.push("<Namespace {")?;
            for (i, (name, value)) in names.borrow().iter().enumerate() {
                if i > 0 {
                    out.push(", ")?;
                }
                quoted(name, out)?;
                out.push(": ")?;
                repr(value, out)?;
            }
            out.push("}>")
        }
        Object::Macro(m) => out.push(&format!("<Macro '{}'>", m.code.name)),
        Object::Loop(l) => out.push(&format!("<LoopContext {}/{}>", l.at.get() + 1, l.items.len())),
        Object::Range(r) if r.step == 1 => out.push(&format!("range({}, {})", r.start, r.stop)),
        Object::Range(r) => out.push(&format!("range({}, {}, {})", r.start, r.stop, r.step)),
        Object::View(view, dict) => {
            let name = match view {
                View::Keys => "dict_keys([",
                View::Values => "dict_values([",
                View::Items => "dict_items([",
            };
            listed(&view.items(dict)?, name, "])", out)
        }
        Object::Method { of, name, .. } => out.push(&format!("<built-in method {name} of {} object>", of.type_name())),
        other => out.push(&format!("<{} object>", other.type_name())),
    }
}
