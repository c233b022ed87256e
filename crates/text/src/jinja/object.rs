//! Values that are not data: functions, loops, namespaces, what filters give.

use super::limits;
use super::scope::Scope;
use super::syntax::ast::{For, Macro};
use super::value::{Dict, Value};
use crate::error::{Error, Kind, Result};
use indexmap::IndexMap;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

pub enum Object {
    Namespace(RefCell<IndexMap<String, Value>>),
    Macro(MacroValue),
    Loop(Loop),
    Range(Range),
    Iterator(Iter),
    View(View, Rc<Dict>),
    Method { of: Value, name: &'static str, depth: u16 },
    Function(Function),
    Cycler { items: Vec<Value>, at: Cell<usize>, depth: u16 },
    Joiner { separator: Value, used: Cell<bool> },
}

/// A macro and where it was defined.
pub struct MacroValue {
    pub code: Arc<Macro>,
    pub scope: Rc<Scope>,
    pub safe: bool,
}

#[derive(Clone, Copy)]
pub struct Range {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
}

/// What a generator of Python gives: once. What went wrong in making it shows when somebody gets there.
pub struct Iter {
    items: RefCell<VecDeque<Value>>,
    failed: RefCell<Option<Error>>,
    name: &'static str,
    depth: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    Keys,
    Values,
    Items,
}

/// Functions that every template has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    RaiseException,
    StrftimeNow,
}

/// `loop` inside of a loop.
pub struct Loop {
    pub items: Vec<Value>,
    pub at: Cell<usize>,
    /// Loops of this one inside each other.
    pub level: usize,
    pub depth: u16,
    pub changed: RefCell<Option<Vec<Value>>>,
    /// What `loop(...)` runs, in a recursive one.
    pub code: Option<(Arc<For>, Rc<Scope>)>,
}

impl Range {
    pub fn length(&self) -> i128 {
        let (from, to, step) =
            if self.step > 0 { (self.start, self.stop, self.step) } else { (self.stop, self.start, -self.step) };
        if to <= from {
            return 0;
        }
        (to - from - 1) / step + 1
    }

    pub fn get(&self, at: i128) -> Option<i128> {
        let n = self.length();
        let at = if at < 0 { at + n } else { at };
        (0..n).contains(&at).then(|| self.start + at * self.step)
    }
}

impl Iter {
    /// A generator of values that are there.
    pub fn of(items: Vec<Value>, name: &'static str) -> Result<Value> {
        Self::partial(items, None, name)
    }

    /// What comes before an error.
    pub fn partial(items: Vec<Value>, failed: Option<Error>, name: &'static str) -> Result<Value> {
        if let Some(error) = failed.as_ref().filter(|e| e.kind == Kind::Limit) {
            return Err(error.clone());
        }
        let depth = Value::depth_over(&items)?;
        let iter = Self { items: RefCell::new(items.into()), failed: RefCell::new(failed), name, depth };
        Ok(Value::object(Object::Iterator(iter)))
    }

    /// All that is left, and the error behind it.
    pub fn drain(&self) -> (Vec<Value>, Option<Error>) {
        (self.items.take().into(), self.failed.take())
    }

    /// The next one.
    pub fn next(&self) -> Result<Option<Value>> {
        match self.items.borrow_mut().pop_front() {
            Some(value) => Ok(Some(value)),
            None => self.failed.take().map_or(Ok(None), Err),
        }
    }
}

impl View {
    pub fn items(self, dict: &Dict) -> Result<Vec<Value>> {
        limits::step(dict.map.len())?;
        match self {
            View::Keys => Ok(dict.map.keys().map(|k| k.value().clone()).collect()),
            View::Values => Ok(dict.map.values().cloned().collect()),
            View::Items => dict.map.iter().map(|(k, v)| Value::tuple(vec![k.value().clone(), v.clone()])).collect(),
        }
    }
}

impl Object {
    /// How deep values inside are nested. Those of namespaces and scopes are let go of one by one (`Run`).
    pub fn depth(&self) -> u16 {
        match self {
            Object::Iterator(i) => i.depth,
            Object::Method { depth, .. } | Object::Cycler { depth, .. } => *depth,
            Object::Loop(l) => l.depth,
            Object::View(_, d) => d.depth().saturating_add(1),
            _ => 1,
        }
    }

    pub fn length(&self) -> Option<usize> {
        match self {
            Object::Range(r) => Some(r.length() as usize),
            Object::View(_, d) => Some(d.map.len()),
            Object::Loop(l) => Some(l.items.len()),
            _ => None,
        }
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Object::Namespace(_) => "Namespace",
            Object::Macro(_) => "Macro",
            Object::Loop(_) => "LoopContext",
            Object::Range(_) => "range",
            Object::Iterator(i) => i.name,
            Object::View(View::Keys, _) => "dict_keys",
            Object::View(View::Values, _) => "dict_values",
            Object::View(View::Items, _) => "dict_items",
            Object::Method { .. } => "builtin_function_or_method",
            Object::Function(_) => "function",
            Object::Cycler { .. } => "Cycler",
            Object::Joiner { .. } => "Joiner",
        }
    }

    pub fn iterate(&self) -> Result<Option<Vec<Value>>> {
        Ok(Some(match self {
            Object::Range(r) => {
                limits::step(r.length() as usize)?;
                (0..r.length()).filter_map(|at| r.get(at).map(Value::Int)).collect()
            }
            Object::Iterator(i) => match i.drain() {
                (items, None) => items,
                (_, Some(error)) => return Err(error),
            },
            Object::View(view, dict) => view.items(dict)?,
            _ => return Ok(None),
        }))
    }
}
