//! `is ...` (jinja2's tests.py).

use super::args::{required, CallArgs};
use super::compare;
use super::object::Object;
use super::operators;
use super::print;
use super::syntax::ast::Binary;
use super::value::Value;
use super::{filters, methods};
use crate::error::{Error, Result};
use std::rc::Rc;

const NAMES: [&str; 39] = [
    "odd",
    "even",
    "divisibleby",
    "defined",
    "undefined",
    "filter",
    "test",
    "none",
    "boolean",
    "false",
    "true",
    "integer",
    "float",
    "lower",
    "upper",
    "string",
    "mapping",
    "number",
    "sequence",
    "iterable",
    "callable",
    "sameas",
    "escaped",
    "in",
    "==",
    "eq",
    "equalto",
    "!=",
    "ne",
    ">",
    "gt",
    "greaterthan",
    "ge",
    ">=",
    "<",
    "lt",
    "lessthan",
    "le",
    "<=",
];

/// Whether there is such a test.
pub fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

fn identical(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Str(x), Value::Str(y)) => x.text == y.text,
        (Value::List(x), Value::List(y)) => Rc::ptr_eq(x, y),
        (Value::Tuple(x), Value::Tuple(y)) => Rc::ptr_eq(x, y),
        (Value::Dict(x), Value::Dict(y)) => Rc::ptr_eq(x, y),
        (Value::Object(x), Value::Object(y)) => Rc::ptr_eq(x, y),
        _ => a.type_name() == b.type_name() && compare::same(a, b),
    }
}

fn remainder(value: &Value, by: &Value) -> Result<Value> {
    operators::binary(Binary::Mod, value, by)
}

/// Whether `value is name(args)`.
pub fn apply(name: &str, value: &Value, args: CallArgs) -> Result<bool> {
    let one = |args: CallArgs, param: &str| -> Result<Value> {
        let [other] = args.bind(name, [param])?;
        required(other, name, param)
    };
    let ordered = |args: CallArgs, op: &str, holds: fn(std::cmp::Ordering) -> bool| -> Result<bool> {
        let other = one(args, "other")?;
        Ok(compare::order(value, &other, op)?.is_some_and(holds))
    };
    match name {
        "divisibleby" => return compare::equal(&remainder(value, &one(args, "num")?)?, &Value::Int(0)),
        "sameas" => return Ok(identical(value, &one(args, "other")?)),
        "in" => return compare::contains(&one(args, "seq")?, value),
        "==" | "eq" | "equalto" => return compare::equal(value, &one(args, "other")?),
        "!=" | "ne" => return Ok(!compare::equal(value, &one(args, "other")?)?),
        ">" | "gt" | "greaterthan" => return ordered(args, ">", std::cmp::Ordering::is_gt),
        ">=" | "ge" => return ordered(args, ">=", std::cmp::Ordering::is_ge),
        "<" | "lt" | "lessthan" => return ordered(args, "<", std::cmp::Ordering::is_lt),
        "<=" | "le" => return ordered(args, "<=", std::cmp::Ordering::is_le),
        _ => {}
    }
    let [] = args.bind(name, [])?;
    Ok(match name {
        "odd" => compare::equal(&remainder(value, &Value::Int(2))?, &Value::Int(1))?,
        "even" => compare::equal(&remainder(value, &Value::Int(2))?, &Value::Int(0))?,
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "filter" => matches!(value, Value::Str(s) if filters::exists(s)),
        "test" => matches!(value, Value::Str(s) if exists(s)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "false" => matches!(value, Value::Bool(false)),
        "true" => matches!(value, Value::Bool(true)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.number().is_some(),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => match value {
            Value::Undefined(_) | Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) => true,
            Value::Object(o) => matches!(&**o, Object::Range(_)),
            _ => false,
        },
        "iterable" => match value {
            Value::Undefined(_) | Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) => true,
            Value::Object(o) => {
                matches!(&**o, Object::Range(_) | Object::Iterator(_) | Object::View(..) | Object::Loop(_))
            }
            _ => false,
        },
        "callable" => match value {
            Value::Undefined(_) => true,
            Value::Object(o) => {
                matches!(
                    &**o,
                    Object::Macro(_)
                        | Object::Function(_)
                        | Object::Method { .. }
                        | Object::Joiner { .. }
                        | Object::Loop(_)
                )
            }
            _ => false,
        },
        "escaped" => matches!(value, Value::Str(s) if s.safe),
        "lower" => methods::string::is_lower(&print::text(value)?),
        "upper" => methods::string::is_upper(&print::text(value)?),
        other => return Err(Error::value(format!("No test named '{other}'."))),
    })
}
