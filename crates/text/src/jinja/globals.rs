//! Functions that every template has, and calls of what can be called.

use super::access;
use super::args::{required, whole, CallArgs};
use super::limits;
use super::methods;
use super::object::{Function, Object, Range};
use super::print;
use super::run::Run;
use super::value::{Key, Value};
use crate::error::{Error, Kind, Result};
use indexmap::IndexMap;
use std::cell::{Cell, RefCell};

/// A function by its name.
pub fn find(name: &str) -> Option<Value> {
    let function = match name {
        "range" => Function::Range,
        "dict" => Function::Dict,
        "namespace" => Function::Namespace,
        "cycler" => Function::Cycler,
        "joiner" => Function::Joiner,
        "raise_exception" => Function::RaiseException,
        "strftime_now" => Function::StrftimeNow,
        _ => return None,
    };
    Some(Value::object(Object::Function(function)))
}

impl Run {
    /// `callee(args)`.
    pub fn call(&mut self, callee: &Value, args: CallArgs) -> Result<Value> {
        limits::step(1)?;
        let Value::Object(object) = callee.defined()? else {
            return Err(Error::typed(format!("'{}' object is not callable", callee.type_name())));
        };
        match &**object {
            Object::Macro(m) => self.call_macro(m, args),
            Object::Function(function) => self.function(*function, args),
            Object::Method { of, name, .. } => {
                if *name == "changed" {
                    self.hold_value(of)?;
                }
                methods::call(of, name, args)
            }
            Object::Joiner { separator, used } => {
                Ok(if used.replace(true) { separator.clone() } else { Value::str("")? })
            }
            Object::Loop(l) => {
                let Some((code, scope)) = &l.code else {
                    let message = "The loop must have the 'recursive' marker to be called recursively.";
                    return Err(Error::typed(message));
                };
                let [items] = args.bind("loop", ["iterable"])?;
                let items = required(items, "loop", "iterable")?;
                self.captured_loop(code, &items, scope, l.level + 1)
            }
            _ => Err(Error::typed(format!("'{}' object is not callable", callee.type_name()))),
        }
    }

    fn function(&mut self, function: Function, args: CallArgs) -> Result<Value> {
        match function {
            Function::Range => range(args),
            Function::Dict => Value::dict(pairs(args, "dict")?),
            Function::Namespace => {
                let mut names = IndexMap::new();
                for (key, value) in pairs(args, "namespace")? {
                    let name = print::text(key.value())?;
                    names.insert(name.text.clone(), value);
                }
                let value = Value::object(Object::Namespace(RefCell::new(names)));
                self.hold_value(&value)?;
                Ok(value)
            }
            Function::Cycler if args.positional.is_empty() => Err(Error::value("at least one item has to be provided")),
            Function::Cycler => {
                let items = args.positional;
                let depth = Value::depth_over(&items)?;
                Ok(Value::object(Object::Cycler { items, at: Cell::new(0), depth }))
            }
            Function::Joiner => {
                let [separator] = args.bind("joiner", ["sep"])?;
                let separator = separator.map_or_else(|| Value::str(", "), |s| print::text(&s).map(Value::Str))?;
                Ok(Value::object(Object::Joiner { separator, used: Cell::new(false) }))
            }
            Function::RaiseException => {
                let [message] = args.bind("raise_exception", ["message"])?;
                let message = required(message, "raise_exception", "message")?;
                Err(Error::new(Kind::Raised, print::text(&message)?.text.clone()))
            }
            Function::StrftimeNow => {
                let [format] = args.bind("strftime_now", ["format"])?;
                match required(format, "strftime_now", "format")? {
                    Value::Str(format) => {
                        limits::step(format.len())?;
                        Value::str(self.clock.format(&format)?)
                    }
                    other => Err(Error::typed(format!("strftime() argument 1 must be str, not {}", other.type_name()))),
                }
            }
        }
    }
}

fn range(args: CallArgs) -> Result<Value> {
    let [a, b, step] = args.bind("range", ["start", "stop", "step"])?;
    let first = whole(Some(required(a, "range", "stop")?), "range")?.unwrap_or(0);
    let (start, stop) = match whole(b, "range")? {
        Some(stop) => (first, stop),
        None => (0, first),
    };
    let step = whole(step, "range")?.unwrap_or(1);
    if step == 0 {
        return Err(Error::value("range() arg 3 must not be zero"));
    }
    if [start, stop, step].iter().any(|v| v.abs() > i128::from(i64::MAX)) {
        return Err(Error::new(Kind::Limit, "range() takes integers of 64 bits"));
    }
    let range = Range { start, stop, step };
    if range.length() > limits::RANGE {
        let message = format!("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", limits::RANGE);
        return Err(Error::new(Kind::Limit, message));
    }
    Ok(Value::object(Object::Range(range)))
}

/// What `dict(...)` makes of its arguments.
fn pairs(mut args: CallArgs, function: &str) -> Result<IndexMap<Key, Value>> {
    let mut map = IndexMap::new();
    match (args.positional.pop(), args.positional.is_empty()) {
        (None, _) => {}
        (Some(_), false) => return Err(Error::typed(format!("{function} expected at most 1 argument"))),
        (Some(Value::Dict(dict)), true) => map = dict.map.clone(),
        (Some(other), true) => {
            for pair in other.iterate()? {
                let pair = pair.iterate()?;
                let [key, value] = &pair[..] else {
                    return Err(Error::value("dictionary update sequence element has no length 2"));
                };
                map.insert(Key::new(key.clone())?, value.clone());
            }
        }
    }
    for (name, value) in args.named {
        map.insert(Key::new(Value::str(&*name)?)?, value);
    }
    Ok(map)
}

/// `loop.cycle(...)` and `cycler.next()`.
pub fn cycled(at: usize, items: &[Value]) -> Result<Value> {
    if items.is_empty() {
        return Err(Error::typed("no items for cycling given"));
    }
    Ok(items[at % items.len()].clone())
}

/// `loop.changed(...)`.
pub fn loop_changed(of: &Value, args: CallArgs) -> Result<Value> {
    match of {
        Value::Object(o) => match &**o {
            Object::Loop(l) => Ok(Value::Bool(access::changed(l, args.positional)?)),
            _ => Err(Error::typed("no loop")),
        },
        _ => Err(Error::typed("no loop")),
    }
}
