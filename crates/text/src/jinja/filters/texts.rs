//! Filters on texts and numbers.

use super::super::access;
use super::super::args::{required, truth, whole, CallArgs};
use super::super::escape;
use super::super::limits;
use super::super::methods::{self, pieces, string};
use super::super::numbers;
use super::super::percent;
use super::super::print;
use super::super::python;
use super::super::text::Text;
use super::super::value::Value;
use super::wrap;
use crate::error::{Error, Result};
use std::rc::Rc;

pub fn apply(name: &str, value: &Value, args: CallArgs) -> Result<Value> {
    match name {
        "d" | "default" => {
            let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
            let missing = value.is_undefined() || truth(&boolean) && !value.truth();
            if missing {
                default.map_or_else(|| Value::str(""), Ok)
            } else {
                Ok(value.clone())
            }
        }
        "int" | "float" | "round" | "abs" => number(name, value, args),
        "e" | "escape" => escape::escape(value),
        "forceescape" => escape::escape(&Value::Str(Text::new(print::text(value)?.text.clone())?)),
        "safe" => escape::safe(value),
        "string" => Ok(Value::Str(print::text(value)?)),
        "attr" => {
            let [attribute] = args.bind(name, ["name"])?;
            let attribute = string::given(attribute, name, "name")?;
            match value {
                // `attr` looks at attributes alone, not at elements.
                Value::Dict(_) if !matches!(methods::find(value, &attribute), methods::Found::Method(_)) => {
                    Ok(Value::undefined(format!("'dict object' has no attribute '{}'", attribute.text)))
                }
                _ => access::attribute(value, &attribute),
            }
        }
        "format" => {
            let text = print::text(value)?;
            if args.named.is_empty() {
                let whole = Value::tuple(args.positional.clone())?;
                return percent::format(&text, &args.positional, &whole);
            }
            if !args.positional.is_empty() {
                return Err(Error::value("can't handle positional and keyword arguments at the same time"));
            }
            let mut map = indexmap::IndexMap::new();
            for (name, value) in args.named {
                map.insert(super::super::value::Key::new(Value::str(&*name)?)?, value);
            }
            percent::format(&text, &[], &Value::dict(map)?)
        }
        "pprint" => {
            let mut out = super::super::text::Writer::new()?;
            print::repr(value, &mut out)?;
            Ok(Value::Str(out.finish(false)?))
        }
        _ => text(name, &print::text(value)?, value, args),
    }
}

fn number(name: &str, value: &Value, args: CallArgs) -> Result<Value> {
    match name {
        "abs" => {
            let [] = args.bind(name, [])?;
            match value.defined()? {
                Value::Float(f) => Ok(Value::Float(f.abs())),
                other => match other.int() {
                    Some(i) => Ok(Value::Int(i.saturating_abs())),
                    None => Err(Error::typed(format!("bad operand type for abs(): '{}'", other.type_name()))),
                },
            }
        }
        "int" => {
            let [default, base] = args.bind(name, ["default", "base"])?;
            let base = u32::try_from(whole(base, name)?.unwrap_or(10)).unwrap_or(10);
            let found = match value {
                Value::Str(text) => numbers::int(text, base).or_else(|| numbers::float(text).and_then(numbers::whole)),
                Value::Float(f) => numbers::whole(*f),
                other => other.defined()?.int(),
            };
            Ok(found.map_or_else(|| default.unwrap_or(Value::Int(0)), Value::Int))
        }
        "float" => {
            let [default] = args.bind(name, ["default"])?;
            let found = match value {
                Value::Str(text) => numbers::float(text),
                other => other.defined()?.number(),
            };
            Ok(found.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
        }
        _ => {
            let [precision, method] = args.bind(name, ["precision", "method"])?;
            let digits = whole(precision, name)?.unwrap_or(0);
            let method = method.map_or_else(|| Ok("common".to_owned()), |m| Ok(print::text(&m)?.text.clone()))?;
            let number = value.defined()?.number();
            let number = number
                .ok_or_else(|| Error::typed(format!("type {} doesn't define __round__ method", value.type_name())))?;
            let unit = 10f64.powi(digits.clamp(-300, 300) as i32);
            match method.as_str() {
                "common" => match value.int() {
                    Some(i) if digits >= 0 => Ok(Value::Int(i)),
                    Some(_) => Ok(Value::Int(numbers::whole(numbers::round(number, digits)).unwrap_or(0))),
                    None => Ok(Value::Float(numbers::round(number, digits))),
                },
                "ceil" => Ok(Value::Float((number * unit).ceil() / unit)),
                "floor" => Ok(Value::Float((number * unit).floor() / unit)),
                _ => Err(Error::value("method must be common, ceil or floor")),
            }
        }
    }
}

/// The filter's own title: words begin behind space, `-` and opening brackets.
fn title(text: &str) -> String {
    let begins = |c: char| c == '-' || python::is_space(c) || "({[<".contains(c);
    let mut first = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if begins(c) {
            out.push(c);
            first = true;
        } else if first {
            out.extend(c.to_uppercase());
            first = false;
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}

fn text(name: &str, text: &Rc<Text>, value: &Value, args: CallArgs) -> Result<Value> {
    limits::bytes(text.len())?;
    match name {
        "upper" | "lower" | "capitalize" | "title" | "wordcount" => {
            let [] = args.bind(name, [])?;
            let made = match name {
                "upper" => text.to_uppercase(),
                "lower" => text.to_lowercase(),
                "capitalize" => string::capitalize(text),
                "title" => title(text),
                _ => {
                    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
                    return Ok(Value::Int(words.count() as i128));
                }
            };
            Ok(Value::Str(Text::with(made, Vec::new(), text.safe)?))
        }
        "trim" => {
            let [chars] = args.bind(name, ["chars"])?;
            let chars = chars.filter(|c| !matches!(c, Value::None));
            let chars = chars.map(|c| string::given(Some(c), name, "chars")).transpose()?;
            string::strip(text, chars.as_deref().map(|c| &*c.text), true, true)
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let old = print::text(&required(old, name, "old")?)?;
            let new = print::text(&required(new, name, "new")?)?;
            let count = whole(count.filter(|c| !matches!(c, Value::None)), name)?;
            string::replace(text, &old, &new, count.unwrap_or(-1))
        }
        "center" => {
            let [width] = args.bind(name, ["width"])?;
            let width = width.unwrap_or(Value::Int(80));
            string::call(text, "center", CallArgs::of(vec![width]))
        }
        "indent" => {
            let [width, first, blank] = args.bind(name, ["width", "first", "blank"])?;
            let indent = match width {
                Some(Value::Str(text)) => text.text.clone(),
                other => {
                    let n = whole(other, name)?.unwrap_or(4);
                    let n = usize::try_from(n.max(0)).unwrap_or(usize::MAX);
                    limits::text(n)?;
                    " ".repeat(n)
                }
            };
            let lines = pieces::lines(&format!("{}\n", text.text), false);
            limits::text(text.len().saturating_add(indent.len().saturating_mul(lines.len() + 1)))?;
            let (blank, mut out) = (truth(&blank), String::new());
            for (i, line) in lines.iter().enumerate() {
                if i > 0 {
                    out.push('\n');
                    if blank || !line.is_empty() {
                        out.push_str(&indent);
                    }
                }
                out.push_str(line);
            }
            Value::str(if truth(&first) { indent + &out } else { out })
        }
        "truncate" => {
            if !matches!(value, Value::Str(_)) {
                value.length()?;
            }
            wrap::truncate(text, args)
        }
        "wordwrap" => wrap::wordwrap(text, args),
        other => Err(Error::value(format!("No filter named '{other}'."))),
    }
}
