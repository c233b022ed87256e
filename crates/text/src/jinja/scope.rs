//! Names and their values, from the inside out.

use super::limits;
use super::syntax::ast::Name;
use super::value::Value;
use crate::error::Result;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

#[derive(Default)]
pub struct Scope {
    names: RefCell<HashMap<Name, Value>>,
    parent: Option<Rc<Scope>>,
}

impl Scope {
    pub fn root() -> Rc<Self> {
        Rc::default()
    }

    pub fn inside(self: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), parent: Some(self.clone()) })
    }

    pub fn set(&self, name: &Name, value: Value) {
        self.names.borrow_mut().insert(name.clone(), value);
    }

    /// The innermost value of a name. Scopes of macros may be many, so that each costs a step.
    pub fn get(&self, name: &str) -> Result<Option<Value>> {
        let mut scope = self;
        loop {
            if let Some(value) = scope.names.borrow().get(name) {
                return Ok(Some(value.clone()));
            }
            limits::step(1)?;
            let Some(parent) = scope.parent.as_deref() else { return Ok(None) };
            scope = parent;
        }
    }

    /// Lets go of all values: macros in a scope hold that scope.
    pub fn clear(&self) {
        let names = self.names.take();
        drop(names);
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // One after the other: a chain may be longer than the stack is deep.
        let mut parent = self.parent.take();
        while let Some(scope) = parent {
            parent = Rc::try_unwrap(scope).ok().and_then(|mut scope| scope.parent.take());
        }
    }
}
