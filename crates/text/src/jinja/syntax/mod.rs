//! From a template's text to its tree.

pub mod ast;
mod expressions;
mod filters;
mod lexer;
mod literals;
mod parser;
mod statements;
mod targets;
mod token;

pub use parser::{parse, Parsed};
