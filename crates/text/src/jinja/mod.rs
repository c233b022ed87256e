//! Jinja as transformers runs it: jinja2's immutable sandbox with `trim_blocks`, `lstrip_blocks`, loop controls, Python's printing and
//! `{% generation %}` blocks, in bounds that a template cannot leave.

mod access;
mod args;
mod compare;
mod escape;
mod eval;
mod filters;
mod globals;
mod json;
pub mod limits;
mod methods;
mod numbers;
mod object;
mod operators;
mod percent;
mod print;
mod python;
mod run;
mod scope;
mod syntax;
mod tests;
mod text;
mod value;

use crate::clock::Clock;
use crate::error::Result;
use std::sync::Arc;
use syntax::ast::{Name, Stmt};
use syntax::Parsed;

pub(crate) use json::read as read_json;
pub(crate) use python::is_space;
pub(crate) use value::{Key, Value};

/// A template that was read.
pub struct Template {
    body: Vec<Stmt>,
    names: Vec<Name>,
    generation: bool,
}

/// What a template wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// The places of `{% generation %}` blocks in bytes, in the order in which they end.
    pub spans: Vec<(usize, usize)>,
}

impl Template {
    /// Reads a template's text.
    pub fn new(source: &str) -> Result<Self> {
        let Parsed { body, mut names, generation } = syntax::parse(source)?;
        names.sort_unstable();
        names.dedup();
        Ok(Self { body, names, generation })
    }

    /// Whether the template says what the assistant says.
    pub fn has_generation(&self) -> bool {
        self.generation
    }

    /// Whether the template speaks of a variable.
    pub fn uses(&self, name: &str) -> bool {
        self.names.binary_search_by(|n| (**n).cmp(name)).is_ok()
    }

    /// Runs the template with variables whose values are JSON texts. Needs a stack of [`limits::STACK`] bytes ([`on_stack`]).
    pub fn render(&self, values: &[(String, String)], clock: Clock) -> Result<Rendered> {
        limits::begin(1);
        let values = values.iter().map(|(name, text)| Ok((name.as_str().into(), json::read(text)?)));
        self.run(values.collect::<Result<_>>()?, clock)
    }

    /// Runs the template on the steps that are left.
    pub(crate) fn run(&self, values: Vec<(Arc<str>, Value)>, clock: Clock) -> Result<Rendered> {
        let (text, spans) = run::run(&self.body, values, clock)?;
        Ok(Rendered { text, spans })
    }
}

/// Runs something on a stack that is deep enough for every template; that of the caller may be small.
pub fn on_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("template".into()).stack_size(limits::STACK).spawn_scoped(scope, work)?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}
