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

/// What `make` gives of each item, up to the first error.
fn each(
    items: Vec<Value>,
    mut failed: Option<Error>,
    mut make: impl FnMut(Value) -> Result<Option<Value>>,
) -> Result<Value> {
    let mut made = Vec::with_capacity(items.len());
    for item in items {
        match make(item) {
            Ok(value) => made.extend(value),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    Iter::partial(made, failed, "generator")
}

pub fn apply(run: &mut Run, name: &str, value: &Value, mut args: CallArgs) -> Result<Value> {
    let (items, failed) = if value.truth() { value.iterate_partly()? } else { (Vec::new(), None) };
    if name == "map" {
        return map(run, items, failed, args);
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
    each(items, failed, |item| {
        let looked = getter.as_ref().map_or_else(|| Ok(item.clone()), |g| g.get(&item))?;
        let holds = match &test {
            Some(test) => tests::apply(test, &looked, args.again())?,
            None => looked.truth(),
        };
        Ok((holds == wanted).then_some(item))
    })
}

fn map(run: &mut Run, items: Vec<Value>, failed: Option<Error>, mut args: CallArgs) -> Result<Value> {
    if args.positional.is_empty() {
        if let Some(attribute) = args.take("attribute") {
            let default = args.take("default").filter(|d| !matches!(d, Value::None));
            if let Some((other, _)) = args.named.first() {
                return Err(Error::value(format!("Unexpected keyword argument '{other}'")));
            }
            let getter = Getter::new(Some(&attribute), default, false)?;
            return each(items, failed, |item| getter.get(&item).map(Some));
        }
        return Err(Error::value("map requires a filter argument"));
    }
    let name = name_of(args.positional.remove(0), "a filter")?;
    if !super::exists(&name) {
        return Err(Error::value(format!("No filter named '{name}'.")));
    }
    each(items, failed, |item| super::apply(run, &name, item, args.again()).map(Some))
}
