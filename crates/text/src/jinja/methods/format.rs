//! `text.format(...)`, with fields that go through the sandbox.

use super::super::access;
use super::super::args::CallArgs;
use super::super::limits;
use super::super::numbers::Spec;
use super::super::print;
use super::super::text::{Text, Writer};
use super::super::value::Value;
use crate::error::{Error, Result};

struct Fields<'a> {
    positional: &'a [Value],
    named: &'a dyn Fn(&str) -> Option<Value>,
    /// The next field without a number.
    at: usize,
}

/// `template.format(*args, **kwargs)`.
pub fn format(template: &Text, args: CallArgs) -> Result<Value> {
    let named = |name: &str| args.named.iter().find(|(n, _)| &**n == name).map(|(_, v)| v.clone());
    let mut fields = Fields { positional: &args.positional, named: &named, at: 0 };
    let mut out = Writer::new()?;
    fields.write(template, &mut out, 0)?;
    Ok(Value::Str(out.finish(template.safe)?))
}

/// `template.format_map(mapping)`.
pub fn format_map(template: &Text, mapping: &Value) -> Result<Value> {
    let Value::Dict(dict) = mapping else { return Err(Error::typed("format_map() needs a mapping")) };
    let named = |name: &str| dict.get(name).cloned();
    let mut out = Writer::new()?;
    Fields { positional: &[], named: &named, at: 0 }.write(template, &mut out, 0)?;
    Ok(Value::Str(out.finish(template.safe)?))
}

/// Length of a field up to its closing brace.
fn field_end(text: &str) -> Option<usize> {
    let mut open = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

impl Fields<'_> {
    fn write(&mut self, template: &str, out: &mut Writer, depth: usize) -> Result<()> {
        if depth > 2 {
            return Err(Error::value("Max string recursion exceeded"));
        }
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            out.push(&rest[..at])?;
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                out.push(brace)?;
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(Error::value("Single '}' encountered in format string"));
            }
            let end = field_end(rest).ok_or_else(|| Error::value("expected '}' before end of string"))?;
            self.field(&rest[..end], out, depth)?;
            rest = &rest[end + 1..];
        }
        out.push(rest)
    }

    fn field(&mut self, field: &str, out: &mut Writer, depth: usize) -> Result<()> {
        limits::step(4)?;
        let (head, spec) = field.split_once(':').unwrap_or((field, ""));
        let (path, conversion) = match head.split_once('!') {
            Some((path, conversion)) => (path, Some(conversion)),
            None => (head, None),
        };
        let value = self.value(path)?;
        let value = match conversion {
            None => value,
            Some("s") => Value::Str(print::text(&value)?),
            Some("r" | "a") => {
                let mut text = Writer::new()?;
                print::repr(&value, &mut text)?;
                Value::Str(text.finish(false)?)
            }
            Some(other) => return Err(Error::value(format!("Unknown conversion specifier '{other}'"))),
        };
        if spec.is_empty() {
            return print::write(&value, out);
        }
        let mut inner = Writer::new()?;
        self.write(spec, &mut inner, depth + 1)?;
        let spec = Spec::parse(&inner.into_parts().0)?;
        if matches!(value, Value::None | Value::List(_) | Value::Dict(_) | Value::Tuple(_)) {
            return Err(Error::typed(format!("unsupported format string passed to {}.__format__", value.type_name())));
        }
        let text = print::text(&value)?;
        out.push(&spec.apply(&value, &text)?)
    }

    /// `name.attribute[index]`.
    fn value(&mut self, path: &str) -> Result<Value> {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (first, mut rest) = path.split_at(end);
        let index = if first.is_empty() {
            self.at += 1;
            Some(self.at - 1)
        } else {
            first.parse().ok()
        };
        let mut value = match index {
            Some(at) => self.positional.get(at).cloned().ok_or_else(|| {
                Error::value(format!("Replacement index {at} out of range for positional args tuple"))
            })?,
            None => (self.named)(first).ok_or_else(|| Error::value(format!("'{first}'")))?,
        };
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                value = access::attribute(&value, &after[..end])?;
                rest = &after[end..];
            } else {
                let after = &rest[1..];
                let end = after.find(']').ok_or_else(|| Error::value("Missing ']' in format string"))?;
                let key = after[..end].parse().map_or_else(|_| Value::str(&after[..end]), |i| Ok(Value::Int(i)))?;
                value = access::item(&value, &key)?;
                rest = &after[end + 1..];
                if !rest.is_empty() && !rest.starts_with(['.', '[']) {
                    return Err(Error::value("Only '.' or '[' may follow ']' in format field specifier"));
                }
            }
        }
        Ok(value)
    }
}
