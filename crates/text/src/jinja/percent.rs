//! `format % values`.

use super::limits;
use super::numbers::Spec;
use super::print;
use super::text::{Text, Writer};
use super::value::Value;
use crate::error::{Error, Result};

/// `template % args`; `whole` is the operand, which `%(name)s` looks into.
pub fn format(template: &Text, args: &[Value], whole: &Value) -> Result<Value> {
    let mut out = Writer::new()?;
    let mut rest: &str = template;
    let mut at = 0;
    let mut by_name = false;
    while let Some(n) = rest.find('%') {
        out.push(&rest[..n])?;
        rest = &rest[n + 1..];
        limits::step(4)?;
        let mut named = None;
        if let Some(after) = rest.strip_prefix('(') {
            let end = after.find(')').ok_or_else(|| Error::value("incomplete format key"))?;
            let Value::Dict(dict) = whole else { return Err(Error::typed("format requires a mapping")) };
            named = Some(dict.get(&after[..end]).cloned().ok_or_else(|| Error::value(format!("'{}'", &after[..end])))?);
            by_name = true;
            rest = &after[end + 1..];
        }
        let mut spec = Spec { align: None, ..Spec::default() };
        let mut left = false;
        let mut zero = false;
        while let Some(flag) = rest.chars().next().filter(|c| "#0- +".contains(*c)) {
            match flag {
                '#' => spec.alternate = true,
                '0' => zero = true,
                '-' => left = true,
                ' ' if spec.sign == '+' => {}
                sign => spec.sign = sign,
            }
            rest = &rest[1..];
        }
        let mut next = || {
            at += 1;
            args.get(at - 1).cloned().ok_or_else(|| Error::typed("not enough arguments for format string"))
        };
        spec.width = number(&mut rest, &mut next)?.unwrap_or(0);
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            spec.precision = Some(number(&mut rest, &mut next)?.unwrap_or(0));
        }
        rest = rest.trim_start_matches(['l', 'h', 'L']);
        let kind = rest.chars().next().ok_or_else(|| Error::value("incomplete format"))?;
        rest = &rest[kind.len_utf8()..];
        if kind == '%' {
            out.push("%")?;
            continue;
        }
        let value = match named {
            Some(value) => value,
            None => next()?,
        };
        if zero && !left && !matches!(kind, 's' | 'r' | 'a' | 'c') {
            (spec.fill, spec.align) = ('0', Some('='));
        }
        if left {
            spec.align = Some('<');
        }
        out.push(&one(spec, kind, &value)?)?;
    }
    out.push(rest)?;
    let given = match whole {
        Value::Tuple(_) => args.len(),
        Value::Dict(_) | Value::List(_) => at,
        _ => args.len(),
    };
    if !by_name && at < given {
        return Err(Error::typed("not all arguments converted during string formatting"));
    }
    Ok(Value::Str(out.finish(template.safe)?))
}

/// Digits, or `*` for a value.
fn number(rest: &mut &str, next: &mut impl FnMut() -> Result<Value>) -> Result<Option<usize>> {
    let value = if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        let value = next()?.int().ok_or_else(|| Error::typed("* wants int"))?;
        usize::try_from(value).map_err(|_| Error::value("* wants a positive int"))?
    } else {
        let n = rest.bytes().take_while(u8::is_ascii_digit).count();
        if n == 0 {
            return Ok(None);
        }
        let value = rest[..n].parse().map_err(|_| Error::value("width too big"))?;
        *rest = &rest[n..];
        value
    };
    if value > 1 << 16 {
        return Err(Error::value("width too big"));
    }
    Ok(Some(value))
}

fn one(mut spec: Spec, kind: char, value: &Value) -> Result<String> {
    match kind {
        's' | 'r' | 'a' => {
            let text = if kind == 's' {
                print::text(value)?
            } else {
                let mut out = Writer::new()?;
                print::repr(value, &mut out)?;
                out.finish(false)?
            };
            let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
            Ok(spec.padded(&cut, '>'))
        }
        'c' => match value {
            Value::Str(text) if text.chars().count() == 1 => Ok(spec.padded(text, '>')),
            Value::Int(i) => {
                let c = u32::try_from(*i).ok().and_then(char::from_u32);
                Ok(spec.padded(&c.ok_or_else(|| Error::value("%c arg not in range(0x110000)"))?.to_string(), '>'))
            }
            _ => Err(Error::typed("%c requires int or char")),
        },
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let whole = match value {
                Value::Float(f) if matches!(kind, 'd' | 'i' | 'u') => super::numbers::whole(*f),
                other => other.defined()?.int(),
            };
            let whole = whole.ok_or_else(|| {
                Error::typed(format!("%{kind} format: a real number is required, not {}", value.type_name()))
            })?;
            spec.kind = Some(if matches!(kind, 'i' | 'u') { 'd' } else { kind });
            spec.apply(&Value::Int(whole), "")
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let number = value.defined()?.number();
            let number =
                number.ok_or_else(|| Error::typed(format!("must be real number, not {}", value.type_name())))?;
            spec.kind = Some(kind);
            spec.apply(&Value::Float(number), "")
        }
        other => Err(Error::value(format!("unsupported format character '{other}'"))),
    }
}
