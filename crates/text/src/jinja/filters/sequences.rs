//! Filters on what has elements.

use super::super::args::{required, truth, whole, CallArgs};
use super::super::compare;
use super::super::limits;
use super::super::methods::pieces;
use super::super::object::{Iter, Object};
use super::super::operators;
use super::super::print;
use super::super::syntax::ast::Binary;
use super::super::text::Text;
use super::super::value::{Key, Value};
use super::attributes::Getter;
use crate::error::{Error, Result};
use indexmap::IndexSet;

pub fn apply(name: &str, value: &Value, args: CallArgs) -> Result<Value> {
    match name {
        "length" | "count" => {
            let [] = args.bind(name, [])?;
            Ok(Value::Int(value.length()? as i128))
        }
        "list" => {
            let [] = args.bind(name, [])?;
            Value::list(value.iterate()?)
        }
        "first" => {
            let [] = args.bind(name, [])?;
            let first = match value {
                Value::Object(o) if matches!(&**o, Object::Iterator(_)) => match &**o {
                    Object::Iterator(i) => i.next()?,
                    _ => None,
                },
                Value::Str(text) => {
                    text.chars().next().map(|c| text.part(0, c.len_utf8()).map(Value::Str)).transpose()?
                }
                Value::List(s) | Value::Tuple(s) => s.items.first().cloned(),
                other => other.iterate()?.into_iter().next(),
            };
            Ok(first.unwrap_or_else(|| Value::undefined("No first item, sequence was empty.")))
        }
        "last" => {
            let [] = args.bind(name, [])?;
            let last = match value {
                Value::Str(text) => text
                    .char_indices()
                    .next_back()
                    .map(|(at, _)| text.part(at, text.len()).map(Value::Str))
                    .transpose()?,
                Value::List(s) | Value::Tuple(s) => s.items.last().cloned(),
                Value::Object(o) if matches!(&**o, Object::Iterator(_)) => {
                    return Err(Error::typed(format!("'{}' object is not reversible", value.type_name())));
                }
                other => other.iterate()?.pop(),
            };
            Ok(last.unwrap_or_else(|| Value::undefined("No last item, sequence was empty.")))
        }
        "items" => {
            let [] = args.bind(name, [])?;
            let pairs = match value {
                Value::Undefined(_) => Vec::new(),
                Value::Dict(dict) => super::super::object::View::Items.items(dict)?,
                _ => return Err(Error::typed("Can only get item pairs from a mapping.")),
            };
            Iter::of(pairs, "generator")
        }
        "reverse" => {
            let [] = args.bind(name, [])?;
            if let Value::Str(text) = value {
                return Value::str(text.chars().rev().collect::<String>());
            }
            let mut items = value.iterate()?;
            items.reverse();
            match value {
                Value::Object(o) if matches!(&**o, Object::Iterator(_)) => Value::list(items),
                _ => Iter::of(items, "list_reverseiterator"),
            }
        }
        "join" => {
            let [sep, attribute] = args.bind(name, ["d", "attribute"])?;
            let sep = sep.map_or_else(|| Text::new(String::new()), |s| print::text(&s))?;
            let getter = Getter::new(attribute.as_ref(), None, false)?;
            let items = value.iterate()?.iter().map(|item| getter.get(item)).collect::<Result<_>>()?;
            pieces::join(&sep, items, true)
        }
        "batch" | "slice" => pieces_of(name, value, args),
        "sum" => {
            let [attribute, start] = args.bind(name, ["attribute", "start"])?;
            let getter = Getter::new(attribute.as_ref(), None, false)?;
            let mut total = start.unwrap_or(Value::Int(0));
            if matches!(total, Value::Str(_)) {
                return Err(Error::typed("sum() can't sum strings [use ''.join(seq) instead]"));
            }
            for item in value.iterate()? {
                total = operators::binary(Binary::Add, &total, &getter.get(&item)?)?;
            }
            Ok(total)
        }
        _ => ordered(name, value, args),
    }
}

fn pieces_of(name: &str, value: &Value, args: CallArgs) -> Result<Value> {
    let [count, fill] = args.bind(name, ["count", "fill_with"])?;
    let count = whole(Some(required(count, name, "count")?), name)?.unwrap_or(0);
    let fill = fill.filter(|f| !matches!(f, Value::None));
    let items = value.iterate()?;
    let n = usize::try_from(count).ok().filter(|n| *n > 0 && *n <= limits::RANGE as usize);
    let n = n.ok_or_else(|| Error::value(format!("{name}: {count} is no number of elements")))?;
    limits::step(n)?;
    let mut out = Vec::new();
    if name == "batch" {
        for chunk in items.chunks(n) {
            let mut part = chunk.to_vec();
            if let Some(fill) = &fill {
                limits::step(n - part.len())?;
                part.resize(n, fill.clone());
            }
            out.push(Value::list(part)?);
        }
        return Iter::of(out, "generator");
    }
    let (each, more) = (items.len() / n, items.len() % n);
    let mut from = 0;
    for at in 0..n {
        let to = from + each + usize::from(at < more);
        let mut part = items[from..to].to_vec();
        if let Some(fill) = fill.as_ref().filter(|_| at >= more) {
            part.push(fill.clone());
        }
        out.push(Value::list(part)?);
        from = to;
    }
    Iter::of(out, "generator")
}

/// Items and the keys they are ordered by.
fn keyed(items: Vec<Value>, getters: &[Getter]) -> Result<Vec<(Vec<Value>, Value)>> {
    let keys = |item: &Value| getters.iter().map(|g| g.get(item)).collect::<Result<Vec<_>>>();
    items.into_iter().map(|item| Ok((keys(&item)?, item))).collect()
}

fn ordered(name: &str, value: &Value, args: CallArgs) -> Result<Value> {
    match name {
        "sort" => {
            let [reverse, case, attribute] = args.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let mut keys = keyed(value.iterate()?, &Getter::several(attribute.as_ref(), !truth(&case))?)?;
            pieces::sort(&mut keys, truth(&reverse))?;
            Value::list(keys.into_iter().map(|(_, item)| item).collect())
        }
        "dictsort" => {
            let [case, by, reverse] = args.bind(name, ["case_sensitive", "by", "reverse"])?;
            let at = match &by {
                None => 0,
                Some(Value::Str(by)) if by.text == "key" => 0,
                Some(Value::Str(by)) if by.text == "value" => 1,
                Some(_) => return Err(Error::value("You can only sort by either \"key\" or \"value\"")),
            };
            let Value::Dict(dict) = value.defined()? else {
                return Err(Error::typed(format!("'{}' object has no attribute 'items'", value.type_name())));
            };
            let getter = Getter::new(Some(&Value::Int(at)), None, !truth(&case))?;
            let mut keys = keyed(super::super::object::View::Items.items(dict)?, &[getter])?;
            pieces::sort(&mut keys, truth(&reverse))?;
            Value::list(keys.into_iter().map(|(_, item)| item).collect())
        }
        "unique" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let getter = Getter::new(attribute.as_ref(), None, !truth(&case))?;
            let mut seen = IndexSet::new();
            let mut kept = Vec::new();
            for item in value.iterate()? {
                if seen.insert(Key::new(getter.get(&item)?)?) {
                    kept.push(item);
                }
            }
            Iter::of(kept, "generator")
        }
        "min" | "max" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let getter = Getter::new(attribute.as_ref(), None, !truth(&case))?;
            let mut best: Option<(Value, Value)> = None;
            for item in value.iterate()? {
                let key = getter.get(&item)?;
                let better = match &best {
                    None => true,
                    Some((_, than)) => {
                        let (op, wanted) = if name == "min" {
                            ("<", std::cmp::Ordering::Less)
                        } else {
                            (">", std::cmp::Ordering::Greater)
                        };
                        compare::order(&key, than, op)? == Some(wanted)
                    }
                };
                if better {
                    best = Some((item, key));
                }
            }
            Ok(best.map_or_else(|| Value::undefined("No aggregated item, sequence was empty."), |(item, _)| item))
        }
        _ => {
            let [attribute, default, case] = args.bind(name, ["attribute", "default", "case_sensitive"])?;
            let attribute = required(attribute, name, "attribute")?;
            let sensitive = truth(&case);
            let getter = Getter::new(Some(&attribute), default.clone(), !sensitive)?;
            let shown = Getter::new(Some(&attribute), default, false)?;
            let mut keys = keyed(value.iterate()?, &[getter])?;
            pieces::sort(&mut keys, false)?;
            let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
            for (mut key, item) in keys {
                let key = key.pop().unwrap_or(Value::None);
                match groups.last_mut() {
                    Some((last, items)) if compare::equal(last, &key)? => items.push(item),
                    _ => groups.push((key, vec![item])),
                }
            }
            let groups = groups.into_iter().map(|(_, items)| {
                let key = shown.get(&items[0])?;
                Value::tuple(vec![key, Value::list(items)?])
            });
            Value::list(groups.collect::<Result<_>>()?)
        }
    }
}
