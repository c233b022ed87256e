//! One error type for the whole core; callers branch on [`Error::code`], never on text.

use std::path::{Path, PathBuf};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the facts that name the culprit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{option}: {message}")]
    Config { option: String, message: String },
    #[error("unsupported model: {0}")]
    UnsupportedModel(String),
    #[error("unsupported tuner: {0}")]
    UnsupportedTuner(String),
    #[error("no module matches {pattern}; the closest names are {}", nearest.join(", "))]
    Target { pattern: String, nearest: Vec<String> },
    #[error("adapter {name:?} does not exist; the model has {}", list(known))]
    AdapterNotFound { name: String, known: Vec<String> },
    #[error("adapter {0:?} exists already")]
    AdapterExists(String),
    #[error("{}: {message}", path.display())]
    Corrupt { path: PathBuf, message: String },
    #[error("{}: {message}", path.display())]
    Mismatch { path: PathBuf, message: String },
    #[error("{}: {message}", path.display())]
    Unsafe { path: PathBuf, message: String },
    #[error("{}: cannot be converted to PEFT format: {message}", path.display())]
    NotConvertible { path: PathBuf, message: String },
    #[error("{path}: expected shape {expected:?}, found {actual:?}")]
    Shape { path: String, expected: Vec<usize>, actual: Vec<usize> },
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Argument(String),
    #[error("device {device}: {message}")]
    Device { device: String, message: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the call was aborted")]
    Aborted,
    #[error("this {0} has been disposed")]
    Disposed(&'static str),
    #[error("{0}")]
    Tensor(#[from] candle_core::Error),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

impl Error {
    /// The stable code that the TypeScript error carries.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "ERR_INVALID_CONFIG",
            Self::UnsupportedModel(_) => "ERR_UNSUPPORTED_MODEL",
            Self::UnsupportedTuner(_) => "ERR_UNSUPPORTED_TUNER",
            Self::Target { .. } => "ERR_TARGET_NOT_FOUND",
            Self::AdapterNotFound { .. } => "ERR_ADAPTER_NOT_FOUND",
            Self::AdapterExists(_) => "ERR_ADAPTER_EXISTS",
            Self::Corrupt { .. } => "ERR_CHECKPOINT_CORRUPT",
            Self::Mismatch { .. } => "ERR_CHECKPOINT_MISMATCH",
            Self::Unsafe { .. } => "ERR_UNSAFE_FILE",
            Self::NotConvertible { .. } => "ERR_NOT_CONVERTIBLE",
            Self::Shape { .. } | Self::Argument(_) => "ERR_SHAPE",
            Self::Tensor(_) => "ERR_SHAPE",
            Self::Invalid(_) => "ERR_INVALID_STATE",
            Self::Device { .. } => "ERR_DEVICE",
            Self::Io { .. } => "ERR_IO",
            Self::Aborted => "ERR_ABORTED",
            Self::Disposed(_) => "ERR_DISPOSED",
        }
    }

    pub fn config(option: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { option: option.into(), message: message.into() }
    }

    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub fn corrupt(path: &Path, message: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), message: message.into() }
    }
}

/// Text from a file, made fit for one line of a message: no control characters, at most `limit` characters.
pub fn printable(text: &str, limit: usize) -> String {
    let mut out: String =
        text.chars().take(limit).map(|c| if c.is_control() || is_direction(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(limit).is_some() {
        out.push('…');
    }
    out
}

fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
