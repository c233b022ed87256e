//! Arithmetic as Python has it.

use super::escape::escaped;
use super::limits;
use super::percent;
use super::syntax::ast::Binary;
use super::text::Text;
use super::value::Value;
use crate::error::{Error, Kind, Result};
use std::rc::Rc;

fn symbol(op: Binary) -> &'static str {
    match op {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::FloorDiv => "//",
        Binary::Mod => "%",
        Binary::Pow => "** or pow()",
    }
}

fn too_large() -> Error {
    Error::new(Kind::Limit, "the integer is too large")
}

fn by_zero() -> Error {
    Error::value("division by zero")
}

/// `left op right`.
pub fn binary(op: Binary, left: &Value, right: &Value) -> Result<Value> {
    left.defined()?;
    right.defined()?;
    match (op, left, right) {
        (Binary::Add, Value::Str(a), Value::Str(b)) => return concat(a, b),
        (Binary::Add, Value::List(a), Value::List(b)) => {
            return Value::list(a.items.iter().chain(&b.items).cloned().collect());
        }
        (Binary::Add, Value::Tuple(a), Value::Tuple(b)) => {
            return Value::tuple(a.items.iter().chain(&b.items).cloned().collect());
        }
        (Binary::Add, Value::Str(_), other) => {
            return Err(Error::typed(format!("can only concatenate str (not \"{}\") to str", other.type_name())));
        }
        (Binary::Mul, times, seq @ (Value::Str(_) | Value::List(_) | Value::Tuple(_)))
        | (Binary::Mul, seq @ (Value::Str(_) | Value::List(_) | Value::Tuple(_)), times) => {
            let n = times.int().ok_or_else(|| {
                Error::typed(format!("can't multiply sequence by non-int of type '{}'", times.type_name()))
            })?;
            return repeated(seq, n);
        }
        (Binary::Mod, Value::Str(format), value) => {
            let args = if let Value::Tuple(t) = value { t.items.clone() } else { vec![value.clone()] };
            return percent::format(format, &args, value);
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (left.int(), right.int()) {
        return integers(op, a, b);
    }
    if let (Some(a), Some(b)) = (left.number(), right.number()) {
        return floats(op, a, b);
    }
    Err(Error::typed(format!(
        "unsupported operand type(s) for {}: '{}' and '{}'",
        symbol(op),
        left.type_name(),
        right.type_name()
    )))
}

/// `a + b` of texts; what is not safe is escaped beside what is.
pub fn concat(a: &Rc<Text>, b: &Rc<Text>) -> Result<Value> {
    let (a, b) = match (a.safe, b.safe) {
        (true, false) => (a.clone(), escaped(b)?),
        (false, true) => (escaped(a)?, b.clone()),
        _ => (a.clone(), b.clone()),
    };
    limits::text(a.len() + b.len())?;
    let mut text = String::with_capacity(a.len() + b.len());
    text.push_str(&a);
    text.push_str(&b);
    let spans = a.spans.iter().copied().chain(b.spans.iter().map(|(x, y)| (x + a.len(), y + a.len()))).collect();
    Ok(Value::Str(Text::with(text, spans, a.safe)?))
}

fn repeated(seq: &Value, n: i128) -> Result<Value> {
    let n = usize::try_from(n.max(0)).map_err(|_| too_large())?;
    match seq {
        Value::Str(text) => {
            limits::text(text.len().checked_mul(n).ok_or_else(too_large)?)?;
            Ok(Value::Str(Text::with(text.repeat(n), Vec::new(), text.safe)?))
        }
        Value::List(items) | Value::Tuple(items) => {
            let total = items.items.len().checked_mul(n).ok_or_else(too_large)?;
            limits::step(total)?;
            drop(limits::Weight::new(total.saturating_mul(32))?);
            let all = items.items.iter().cycle().take(total).cloned().collect();
            if matches!(seq, Value::List(_)) {
                Value::list(all)
            } else {
                Value::tuple(all)
            }
        }
        other => Ok(other.clone()),
    }
}

fn integers(op: Binary, a: i128, b: i128) -> Result<Value> {
    let value = match op {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::Div if b == 0 => return Err(by_zero()),
        Binary::Div => return Ok(Value::Float(a as f64 / b as f64)),
        Binary::FloorDiv | Binary::Mod if b == 0 => return Err(by_zero()),
        Binary::FloorDiv => a.checked_div(b).map(|q| if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q }),
        Binary::Mod => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        Binary::Pow if b < 0 => return floats(op, a as f64, b as f64),
        Binary::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)).or(match a {
            0 | 1 => Some(a),
            -1 => Some(if b % 2 == 0 { 1 } else { -1 }),
            _ => None,
        }),
    };
    value.map(Value::Int).ok_or_else(too_large)
}

fn floats(op: Binary, a: f64, b: f64) -> Result<Value> {
    if b == 0.0 && matches!(op, Binary::Div | Binary::FloorDiv | Binary::Mod) {
        return Err(by_zero());
    }
    Ok(Value::Float(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::FloorDiv => (a / b).floor(),
        Binary::Mod => {
            let rest = a % b;
            if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
                rest + b
            } else {
                rest
            }
        }
        Binary::Pow if a == 0.0 && b < 0.0 => return Err(Error::value("0.0 cannot be raised to a negative power")),
        Binary::Pow if a < 0.0 && b.fract() != 0.0 => return Err(Error::value("complex numbers are not supported")),
        Binary::Pow => {
            let value = a.powf(b);
            if value.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(Error::value("(34, 'Numerical result out of range')"));
            }
            value
        }
    }))
}

/// `-value`, `+value`.
pub fn signed(value: &Value, negative: bool) -> Result<Value> {
    let sign = if negative { -1 } else { 1 };
    match value.defined()? {
        Value::Float(f) => Ok(Value::Float(if negative { -f } else { *f })),
        other => match other.int() {
            Some(i) => i.checked_mul(sign).map(Value::Int).ok_or_else(too_large),
            None => Err(Error::typed(format!(
                "bad operand type for unary {}: '{}'",
                if negative { "-" } else { "+" },
                other.type_name()
            ))),
        },
    }
}
