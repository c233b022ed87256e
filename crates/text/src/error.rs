//! What may go wrong with a template.

/// An error of a template: of its text, of its run, or one that it raises itself.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}{}", if *line > 0 { format!(" (line {line})") } else { String::new() })]
pub struct Error {
    pub kind: Kind,
    /// What Python would say, where it is an error there too.
    pub message: String,
    /// Line of the template, from 1; 0 where it has none.
    pub line: u32,
}

/// Python's class of the error, or a bound of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text is no template.
    Syntax,
    /// Something that is not there was used.
    Undefined,
    /// The sandbox forbids it.
    Security,
    /// Wrong types.
    Type,
    /// Wrong values.
    Value,
    /// The template called `raise_exception`.
    Raised,
    /// More steps, memory, output or depth than a template may have.
    Limit,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), line: 0 }
    }

    pub fn typed(message: impl Into<String>) -> Self {
        Self::new(Kind::Type, message)
    }

    pub fn value(message: impl Into<String>) -> Self {
        Self::new(Kind::Value, message)
    }

    /// The line where it happened, unless a place further inside is known.
    pub fn at(mut self, line: u32) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}
