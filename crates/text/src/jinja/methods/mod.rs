//! Methods of values, and which of them the sandbox keeps.

mod format;
pub mod pieces;
pub mod string;

use super::access;
use super::args::{required, CallArgs};
use super::compare;
use super::globals;
use super::object::{Object, View};
use super::value::{Key, Value};
use crate::error::{Error, Result};
use indexmap::IndexMap;

/// What a name is on a value.
pub enum Found {
    Method(&'static str),
    /// Python has it, and the immutable sandbox does not give it.
    Unsafe,
    Nothing,
}

const DICT: [&str; 6] = ["get", "items", "keys", "values", "copy", "fromkeys"];
const DICT_CHANGES: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const LIST: [&str; 3] = ["count", "index", "copy"];
const LIST_CHANGES: [&str; 8] = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];

/// What `name` is on a value.
pub fn find(of: &Value, name: &str) -> Found {
    let (methods, changes): (&[&'static str], &[&str]) = match of {
        Value::Str(_) => (&string::NAMES, &[]),
        Value::Dict(_) => (&DICT, &DICT_CHANGES),
        Value::List(_) => (&LIST, &LIST_CHANGES),
        Value::Tuple(_) => (&LIST[..2], &[]),
        Value::Int(_) | Value::Bool(_) => (&["bit_length", "is_integer", "conjugate"], &[]),
        Value::Float(_) => (&["is_integer", "conjugate"], &[]),
        Value::Object(o) => match &**o {
            Object::Loop(_) => (&["cycle", "changed"], &[]),
            Object::Cycler { .. } => (&["next", "reset"], &[]),
            Object::Range(_) => (&LIST[..2], &[]),
            Object::Function(super::object::Function::Dict) => (&["fromkeys"], &[]),
            _ => (&[], &[]),
        },
        _ => (&[], &[]),
    };
    match methods.iter().find(|m| **m == name) {
        Some(method) => Found::Method(method),
        None if changes.contains(&name) => Found::Unsafe,
        None => Found::Nothing,
    }
}

/// `of.name(args)`.
pub fn call(of: &Value, name: &'static str, args: CallArgs) -> Result<Value> {
    match of {
        Value::Str(text) => string::call(text, name, args),
        Value::Dict(dict) => match name {
            "get" => {
                let [key, default] = args.bind("get", ["key", "default"])?;
                let key = Key::new(required(key, "get", "key")?)?;
                Ok(dict.map.get(&key).cloned().or(default).unwrap_or(Value::None))
            }
            "items" | "keys" | "values" => {
                let [] = args.bind(name, [])?;
                let view = match name {
                    "items" => View::Items,
                    "keys" => View::Keys,
                    _ => View::Values,
                };
                Ok(access::viewed(dict, view))
            }
            "copy" => Ok(of.clone()),
            _ => from_keys(args),
        },
        Value::Float(f) => Ok(if name == "is_integer" { Value::Bool(f.fract() == 0.0) } else { of.clone() }),
        Value::Int(_) | Value::Bool(_) => Ok(match name {
            "bit_length" => Value::Int(i128::from(128 - of.int().unwrap_or(0).unsigned_abs().leading_zeros())),
            "is_integer" => Value::Bool(true),
            _ => Value::Int(of.int().unwrap_or(0)),
        }),
        Value::Object(o) => match (&**o, name) {
            (Object::Loop(l), "cycle") => globals::cycled(l.at.get(), &args.positional),
            (Object::Loop(_), _) => globals::loop_changed(of, args),
            (Object::Cycler { at, .. }, "reset") => {
                at.set(0);
                Ok(Value::None)
            }
            (Object::Cycler { items, at, .. }, _) => {
                let value = globals::cycled(at.get(), items)?;
                at.set((at.get() + 1) % items.len());
                Ok(value)
            }
            (Object::Function(_), _) => from_keys(args),
            _ => elements(of, name, args),
        },
        _ => elements(of, name, args),
    }
}

fn from_keys(args: CallArgs) -> Result<Value> {
    let [keys, value] = args.bind("fromkeys", ["iterable", "value"])?;
    let value = value.unwrap_or(Value::None);
    let mut map = IndexMap::new();
    for key in required(keys, "fromkeys", "iterable")?.iterate()? {
        map.insert(Key::new(key)?, value.clone());
    }
    Value::dict(map)
}

/// `count` and `index` of what has elements.
fn elements(of: &Value, name: &str, args: CallArgs) -> Result<Value> {
    if name == "copy" {
        return Ok(of.clone());
    }
    let [wanted, start, stop] = args.bind(name, ["value", "start", "stop"])?;
    let wanted = required(wanted, name, "value")?;
    let items = of.iterate()?;
    let place = |value: Option<Value>, usual: usize| -> usize {
        let n = items.len() as i128;
        value.and_then(|v| v.int()).map_or(usual, |i| (if i < 0 { i + n } else { i }).clamp(0, n) as usize)
    };
    let (from, to) = (place(start, 0), place(stop, items.len()));
    let mut found = 0;
    for (at, item) in items.iter().enumerate() {
        if compare::equal(item, &wanted)? {
            if name == "index" && (from..to).contains(&at) {
                return Ok(Value::Int(at as i128));
            }
            found += 1;
        }
    }
    if name == "index" {
        return Err(Error::value(format!("value is not in {}", of.type_name())));
    }
    Ok(Value::Int(found))
}
