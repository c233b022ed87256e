//! `a.b`, `a[b]` and `a[b:c]` (jinja2's `getattr` and `getitem` in the sandbox).

use super::compare;
use super::methods;
use super::object::{Loop, Object, View};
use super::print;
use super::python;
use super::value::{Key, Value};
use super::{limits, text::Writer};
use crate::error::{Error, Result};
use std::rc::Rc;

fn missing(of: &Value, name: &Value) -> Result<Value> {
    let owner = match of {
        Value::None => "None".to_owned(),
        other => format!("{} object", other.type_name()),
    };
    Ok(Value::undefined(match name {
        Value::Str(name) if matches!(of, Value::None) => format!("'None' has no attribute '{}'", name.text),
        Value::Str(name) => format!("'{owner}' has no attribute '{}'", name.text),
        other => {
            let mut out = Writer::new()?;
            print::repr(other, &mut out)?;
            format!("{owner} has no element {}", out.into_parts().0)
        }
    }))
}

/// A method, a field of an object, or an attribute that the sandbox hides.
fn own(of: &Value, name: &str) -> Result<Option<Value>> {
    if let Value::Object(object) = of {
        match &**object {
            Object::Namespace(names) => {
                let value = names.borrow().get(name).cloned();
                return Ok(value.map(|v| if name.starts_with('_') { of.unsafe_attribute(name) } else { v }));
            }
            Object::Loop(l) => {
                if let Some(value) = loop_field(l, name)? {
                    return Ok(Some(value));
                }
            }
            Object::Cycler { items, at, .. } if name == "current" => return Ok(items.get(at.get()).cloned()),
            Object::Range(r) => match name {
                "start" => return Ok(Some(Value::Int(r.start))),
                "stop" => return Ok(Some(Value::Int(r.stop))),
                "step" => return Ok(Some(Value::Int(r.step))),
                _ => {}
            },
            Object::Macro(m) if name == "name" => return Ok(Some(Value::str(&*m.code.name)?)),
            _ => {}
        }
    }
    if name.starts_with("__") && !of.is_undefined() && dunder(of, name) {
        return Ok(Some(of.unsafe_attribute(name)));
    }
    Ok(match methods::find(of, name) {
        methods::Found::Method(name) => {
            let depth = Value::depth_over(std::slice::from_ref(of))?;
            Some(Value::object(Object::Method { of: of.clone(), name, depth }))
        }
        methods::Found::Unsafe => Some(of.unsafe_attribute(name)),
        methods::Found::Nothing => None,
    })
}

/// Whether Python has such an attribute on every object, or on these.
fn dunder(of: &Value, name: &str) -> bool {
    const ALL: [&str; 22] = [
        "__class__",
        "__delattr__",
        "__dir__",
        "__doc__",
        "__eq__",
        "__format__",
        "__ge__",
        "__getattribute__",
        "__getstate__",
        "__gt__",
        "__hash__",
        "__init__",
        "__init_subclass__",
        "__le__",
        "__lt__",
        "__ne__",
        "__new__",
        "__reduce__",
        "__reduce_ex__",
        "__repr__",
        "__str__",
        "__subclasshook__",
    ];
    const HOLDERS: [&str; 4] = ["__len__", "__iter__", "__getitem__", "__contains__"];
    let holder = matches!(of, Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_));
    ALL.contains(&name) || (holder && HOLDERS.contains(&name))
}

fn loop_field(l: &Loop, name: &str) -> Result<Option<Value>> {
    let (at, n) = (l.at.get(), l.items.len());
    let int = |i: usize| Value::Int(i as i128);
    Ok(Some(match name {
        "index" => int(at + 1),
        "index0" => int(at),
        "revindex" => int(n - at),
        "revindex0" => int(n - at - 1),
        "first" => Value::Bool(at == 0),
        "last" => Value::Bool(at + 1 == n),
        "length" => int(n),
        "depth" => int(l.level + 1),
        "depth0" => int(l.level),
        "previtem" if at > 0 => l.items[at - 1].clone(),
        "previtem" => Value::undefined("there is no previous item"),
        "nextitem" if at + 1 < n => l.items[at + 1].clone(),
        "nextitem" => Value::undefined("there is no next item"),
        _ => return Ok(None),
    }))
}

/// `of.name`: an attribute, else an element.
pub fn attribute(of: &Value, name: &str) -> Result<Value> {
    of.defined()?;
    if let Some(value) = own(of, name)? {
        return Ok(value);
    }
    if let Value::Dict(dict) = of {
        if let Some(value) = dict.get(name) {
            return Ok(value.clone());
        }
    }
    missing(of, &Value::str(name)?)
}

/// `of[index]`: an element, else an attribute.
pub fn item(of: &Value, index: &Value) -> Result<Value> {
    of.defined()?;
    if let Some(value) = element(of, index)? {
        return Ok(value);
    }
    if let Value::Str(name) = index {
        if let Some(value) = own(of, name)? {
            return Ok(value);
        }
    }
    missing(of, index)
}

fn element(of: &Value, index: &Value) -> Result<Option<Value>> {
    if let Value::Dict(dict) = of {
        return Ok(match index {
            Value::Str(name) => dict.get(name).cloned(),
            Value::List(_) | Value::Dict(_) => None,
            key => dict.map.get(&Key::new(key.clone())?).cloned(),
        });
    }
    let Some(at) = index.int() else { return Ok(None) };
    let place = |n: usize| usize::try_from(if at < 0 { at + n as i128 } else { at }).ok().filter(|at| *at < n);
    Ok(match of {
        Value::List(s) | Value::Tuple(s) => place(s.items.len()).map(|at| s.items[at].clone()),
        Value::Str(text) => {
            let at = if text.is_ascii() {
                limits::bytes(text.len())?;
                place(text.len()).map(|at| (at, at + 1))
            } else {
                limits::step(text.len() / 8)?;
                let n = text.chars().count();
                place(n).and_then(|at| text.char_indices().nth(at)).map(|(at, c)| (at, at + c.len_utf8()))
            };
            at.map(|(from, to)| text.part(from, to).map(Value::Str)).transpose()?
        }
        Value::Object(o) => match &**o {
            Object::Range(r) => r.get(at).map(Value::Int),
            _ => None,
        },
        _ => None,
    })
}

/// `of[start:stop:step]`.
pub fn slice(of: &Value, parts: [Value; 3]) -> Result<Value> {
    of.defined()?;
    let mut bounds = [None; 3];
    for (bound, part) in bounds.iter_mut().zip(&parts) {
        *bound = match part {
            Value::None => None,
            other => match other.int() {
                Some(i) => Some(i),
                None => return missing(of, &Value::str("slice")?),
            },
        };
    }
    let [start, stop, step] = bounds;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::value("slice step cannot be zero"));
    }
    let places = |n: usize| -> Result<Vec<usize>> {
        limits::step(n / 4)?;
        Ok(python::slice(n, start, stop, step))
    };
    match of {
        Value::List(s) => Value::list(places(s.items.len())?.into_iter().map(|at| s.items[at].clone()).collect()),
        Value::Tuple(s) => Value::tuple(places(s.items.len())?.into_iter().map(|at| s.items[at].clone()).collect()),
        Value::Str(text) => {
            limits::step(text.len() / 8)?;
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let chosen = places(ends.len() - 1)?;
            if step == 1 {
                let (from, to) = (chosen.first().copied().unwrap_or(0), chosen.last().map_or(0, |at| at + 1));
                return Ok(Value::Str(text.part(ends[from], ends[to.max(from)])?));
            }
            Value::str(chosen.into_iter().map(|at| &text[ends[at]..ends[at + 1]]).collect::<String>())
        }
        Value::Object(o) => match &**o {
            Object::Range(r) => {
                let (from, to) = python::bounds(r.length() as usize, start, stop, step);
                let (start, stop) = (r.start + from * r.step, r.start + to * r.step);
                let step = r.step.checked_mul(step).ok_or_else(|| Error::value("slice step is too large"))?;
                Ok(Value::object(Object::Range(super::object::Range { start, stop, step })))
            }
            _ => missing(of, &Value::str("slice")?),
        },
        _ => missing(of, &Value::str("slice")?),
    }
}

/// `loop.changed(...)`: whether these are other values than the last time.
pub fn changed(l: &Loop, values: Vec<Value>) -> Result<bool> {
    let mut last = l.changed.borrow_mut();
    let same = match &*last {
        Some(before) if before.len() == values.len() => {
            let mut same = true;
            for (a, b) in before.iter().zip(&values) {
                same = same && compare::equal(a, b)?;
            }
            same
        }
        _ => false,
    };
    *last = Some(values);
    Ok(!same)
}

/// The dictionary behind a view.
pub fn viewed(dict: &Rc<super::value::Dict>, view: View) -> Value {
    Value::object(Object::View(view, dict.clone()))
}
