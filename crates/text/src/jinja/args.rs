//! Arguments of a call, given their names.

use super::syntax::ast::Name;
use super::value::Value;
use crate::error::{Error, Result};

#[derive(Default)]
pub struct CallArgs {
    pub positional: Vec<Value>,
    pub named: Vec<(Name, Value)>,
}

impl CallArgs {
    pub fn of(positional: Vec<Value>) -> Self {
        Self { positional, named: Vec::new() }
    }

    /// The same arguments for another call.
    pub fn again(&self) -> Self {
        Self { positional: self.positional.clone(), named: self.named.clone() }
    }

    /// Takes the argument of a name.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(n, _)| &**n == name)?;
        Some(self.named.remove(at).1)
    }

    /// The arguments in the order of a function's parameters.
    pub fn bind<const N: usize>(mut self, function: &str, names: [&str; N]) -> Result<[Option<Value>; N]> {
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(Error::typed(format!("{function}() takes at most {N} arguments ({given} given)")));
        }
        let mut given = self.positional.drain(..).collect::<Vec<_>>().into_iter();
        let mut bound: [Option<Value>; N] = std::array::from_fn(|_| given.next());
        for (name, value) in self.named.drain(..) {
            let at = names.iter().position(|n| *n == &*name);
            let at =
                at.ok_or_else(|| Error::typed(format!("{function}() got an unexpected keyword argument '{name}'")))?;
            if bound[at].is_some() {
                return Err(Error::typed(format!("{function}() got multiple values for argument '{name}'")));
            }
            bound[at] = Some(value);
        }
        Ok(bound)
    }
}

/// An argument that must be there.
pub fn required(value: Option<Value>, function: &str, name: &str) -> Result<Value> {
    value.ok_or_else(|| Error::typed(format!("{function}() missing 1 required positional argument: '{name}'")))
}

/// A whole number, or nothing where there is none.
pub fn whole(value: Option<Value>, function: &str) -> Result<Option<i128>> {
    match value {
        None => Ok(None),
        Some(v) => match v.defined()?.int() {
            Some(i) => Ok(Some(i)),
            None => Err(Error::typed(format!(
                "{function}(): '{}' object cannot be interpreted as an integer",
                v.type_name()
            ))),
        },
    }
}

/// Truth of an argument, false where there is none.
pub fn truth(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::truth)
}
