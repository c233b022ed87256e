//! `map`, `select`, `reject`, `selectattr`, `rejectattr`.

use super::super::args::CallArgs;
use super::super::object::Iter;
use super::super::run::Run;
use super::super::tests;
use super::super::value::Value;
use super::attributes::Getter;
use crate::error::{Error, Result};

fn name_of(value: Value, what: &str) -> Result<String> {
    match value {
        Value::Str(name) => Ok(name.text.clone()),
        other => Err(Error::typed(format!("{what} is called by a text, not by {}", other.type_name()))),
    }
}

pub fn apply(run: &mut Run, name: &str, value: &Value, mut args: CallArgs) -> Result<Value> {
    let items = if value.truth() { value.iterate()? } else { Vec::new() };
    if name == "map" {
        return Iter::new(map(run, items, args)?, "generator");
    }
    let getter = if name.ends_with("attr") {
        if args.positional.is_empty() {
            return Err(Error::value("Missing parameter for attribute name"));
        }
        Some(Getter::new(Some(&args.positional.remove(0)), None, false)?)
    } else {
        None
    };
    let test = if args.positional.is_empty() { None } else { Some(name_of(args.positional.remove(0), "a test")?) };
    if let Some(test) = test.as_ref().filter(|t| !tests::exists(t)) {
        return Err(Error::value(format!("No test named '{test}'.")));
    }
    let wanted = name.starts_with("select");
    let mut kept = Vec::new();
    for item in items {
        let looked = getter.as_ref().map_or_else(|| Ok(item.clone()), |g| g.get(&item))?;
        let holds = match &test {
            Some(test) => tests::apply(test, &looked, CallArgs { positional: args.positional.clone(), named: args.named.clone() })?,
            None => looked.truth(),
        };
        if holds == wanted {
            kept.push(item);
        }
    }
    Iter::new(kept, "generator")
}

fn map(run: &mut Run, items: Vec<Value>, mut args: CallArgs) -> Result<Vec<Value>> {
    if args.positional.is_empty() {
        if let Some(attribute) = args.take("attribute") {
            let default = args.take("default").filter(|d| !matches!(d, Value::None));
            if let Some((other, _)) = args.named.first() {
                return Err(Error::value(format!("Unexpected keyword argument '{other}'")));
            }
            let getter = Getter::new(Some(&attribute), default, false)?;
            return items.iter().map(|item| getter.get(item)).collect();
        }
        return Err(Error::value("map requires a filter argument"));
    }
    let name = name_of(args.positional.remove(0), "a filter")?;
    if !super::exists(&name) {
        return Err(Error::value(format!("No filter named '{name}'.")));
    }
    items
        .into_iter()
        .map(|item| super::apply(run, &name, item, CallArgs { positional: args.positional.clone(), named: args.named.clone() }))
        .collect()
}
