//! `==`, `<` and `in`.

use super::limits;
use super::object::Object;
use super::value::Value;
use crate::error::{Error, Result};
use std::cmp::Ordering;
use std::rc::Rc;

/// `==` of what may be a key.
pub fn same(a: &Value, b: &Value) -> bool {
    equal(a, b).unwrap_or(false)
}

/// `a == b`.
pub fn equal(a: &Value, b: &Value) -> Result<bool> {
    limits::step(1)?;
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Str(x), Value::Str(y)) => {
            limits::bytes(x.len().min(y.len()))?;
            x.text == y.text
        }
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            if Rc::ptr_eq(x, y) {
                return Ok(true);
            }
            if x.items.len() != y.items.len() {
                return Ok(false);
            }
            for (x, y) in x.items.iter().zip(&y.items) {
                if !equal(x, y)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(x), Value::Dict(y)) => {
            if Rc::ptr_eq(x, y) {
                return Ok(true);
            }
            if x.map.len() != y.map.len() {
                return Ok(false);
            }
            for (key, x) in &x.map {
                match y.map.get(key) {
                    Some(y) if equal(x, y)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Object(x), Value::Object(y)) => match (&**x, &**y) {
            (Object::Range(x), Object::Range(y)) => {
                let n = x.length();
                n == y.length() && (n == 0 || x.start == y.start && (n == 1 || x.step == y.step))
            }
            _ => Rc::ptr_eq(x, y),
        },
        _ => match (a.int(), b.int()) {
            (Some(x), Some(y)) => x == y,
            _ => matches!((a.number(), b.number()), (Some(x), Some(y)) if x == y),
        },
    })
}

/// The order of two values; `None` where numbers have none. Fails where Python does.
pub fn order(a: &Value, b: &Value, op: &str) -> Result<Option<Ordering>> {
    limits::step(1)?;
    a.defined()?;
    b.defined()?;
    match (a, b) {
        (Value::Str(x), Value::Str(y)) => {
            limits::bytes(x.len().min(y.len()))?;
            Ok(Some(x.text.cmp(&y.text)))
        }
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            for (x, y) in x.items.iter().zip(&y.items) {
                if !equal(x, y)? {
                    return order(x, y, op);
                }
            }
            Ok(Some(x.items.len().cmp(&y.items.len())))
        }
        _ => match (a.int(), b.int(), a.number(), b.number()) {
            (Some(x), Some(y), ..) => Ok(Some(x.cmp(&y))),
            (.., Some(x), Some(y)) => Ok(x.partial_cmp(&y)),
            _ => Err(Error::typed(format!(
                "'{op}' not supported between instances of '{}' and '{}'",
                a.type_name(),
                b.type_name()
            ))),
        },
    }
}

/// `needle in hay`.
pub fn contains(hay: &Value, needle: &Value) -> Result<bool> {
    match hay {
        Value::Str(text) => match needle {
            Value::Str(part) => {
                limits::bytes(text.len())?;
                Ok(text.contains(&*part.text))
            }
            other => {
                Err(Error::typed(format!("'in <string>' requires string as left operand, not {}", other.type_name())))
            }
        },
        Value::Dict(dict) => Ok(dict.map.contains_key(&super::value::Key::new(needle.clone())?)),
        Value::Object(o) if matches!(&**o, Object::View(super::object::View::Keys, _)) => {
            let Object::View(_, dict) = &**o else { return Ok(false) };
            Ok(dict.map.contains_key(&super::value::Key::new(needle.clone())?))
        }
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::None => {
            Err(Error::typed(format!("argument of type '{}' is not iterable", hay.type_name())))
        }
        other => {
            for item in other.iterate()? {
                if equal(&item, needle)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}
