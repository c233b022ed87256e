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
use syntax::ast::Stmt;

/// A template that was read.
pub struct Template(Vec<Stmt>);

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
        Ok(Self(syntax::parse(source)?))
    }

    /// Runs the template with variables whose values are JSON texts. Needs a stack of [`limits::STACK`] bytes ([`on_stack`]).
    pub fn render(&self, values: &[(String, String)], clock: Clock) -> Result<Rendered> {
        limits::begin();
        let values = values.iter().map(|(name, text)| Ok((name.as_str().into(), json::read(text)?)));
        let (text, spans) = run::run(&self.0, values.collect::<Result<_>>()?, clock)?;
        Ok(Rendered { text, spans })
    }
}

/// Runs something on a stack that is deep enough for every template; that of the caller may be small.
pub fn on_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("template".into()).stack_size(limits::STACK).spawn_scoped(scope, work)?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}
