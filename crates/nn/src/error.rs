//! One error type for the whole core; callers branch on [`Error::code`], never on text, and read [`Error::details`].

use crate::adapter_id::AdapterId;
use crate::module::NodeId;
use serde_json::{json, Map, Value as Json};
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
    #[error("no module matches {pattern}{}", after(hint, nearest))]
    Target { pattern: String, nearest: Vec<String>, hint: Option<String> },
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
    /// An error of the call of a module, and whose it was.
    #[error("{}{source}", at.place())]
    Located { at: Culprit, source: Box<Error> },
    #[error("there is no memory for {0} bytes")]
    Memory(usize),
    #[error("the call was aborted")]
    Aborted,
    #[error("this {0} has been disposed")]
    Disposed(&'static str),
    // Its other lines are a backtrace, where one is asked for.
    #[error("{}", first_line(&.0.to_string()))]
    Tensor(#[from] candle_core::Error),
}

/// Where in the tree a call failed: in the module itself, or in what a tuner does around it.
#[derive(Clone, Debug)]
pub struct Culprit {
    pub node: NodeId,
    /// The tuner's adapter.
    pub adapter: Option<AdapterId>,
    /// Both in words, once somebody knows their names: `adapter "a" (LORA) on layers.0.mlp`.
    pub named: Option<String>,
}

impl Culprit {
    fn place(&self) -> String {
        self.named.as_ref().map(|named| format!("{named}: ")).unwrap_or_default()
    }
}

macro_rules! codes {
    ($($variant:ident = $text:literal,)*) => {
        /// What a caller branches on: the `code` of the TypeScript error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode {
            $($variant,)*
        }

        impl ErrorCode {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

codes! {
    InvalidConfig = "ERR_INVALID_CONFIG",
    UnsupportedModel = "ERR_UNSUPPORTED_MODEL",
    UnsupportedTuner = "ERR_UNSUPPORTED_TUNER",
    TargetNotFound = "ERR_TARGET_NOT_FOUND",
    AdapterNotFound = "ERR_ADAPTER_NOT_FOUND",
    AdapterExists = "ERR_ADAPTER_EXISTS",
    CheckpointCorrupt = "ERR_CHECKPOINT_CORRUPT",
    CheckpointMismatch = "ERR_CHECKPOINT_MISMATCH",
    UnsafeFile = "ERR_UNSAFE_FILE",
    NotConvertible = "ERR_NOT_CONVERTIBLE",
    InvalidArgument = "ERR_INVALID_ARGUMENT",
    Shape = "ERR_SHAPE",
    Device = "ERR_DEVICE",
    OutOfMemory = "ERR_OUT_OF_MEMORY",
    Io = "ERR_IO",
    Aborted = "ERR_ABORTED",
    Disposed = "ERR_DISPOSED",
    InvalidState = "ERR_INVALID_STATE",
}

impl PartialEq<&str> for ErrorCode {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == *text
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

impl Error {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Config { .. } => ErrorCode::InvalidConfig,
            Self::UnsupportedModel(_) => ErrorCode::UnsupportedModel,
            Self::UnsupportedTuner(_) => ErrorCode::UnsupportedTuner,
            Self::Target { .. } => ErrorCode::TargetNotFound,
            Self::AdapterNotFound { .. } => ErrorCode::AdapterNotFound,
            Self::AdapterExists(_) => ErrorCode::AdapterExists,
            Self::Corrupt { .. } => ErrorCode::CheckpointCorrupt,
            Self::Mismatch { .. } => ErrorCode::CheckpointMismatch,
            Self::Unsafe { .. } => ErrorCode::UnsafeFile,
            Self::NotConvertible { .. } => ErrorCode::NotConvertible,
            // candle says so in words only.
            Self::Tensor(e) if e.to_string().contains("OUT_OF_MEMORY") => ErrorCode::OutOfMemory,
            Self::Tensor(e)
                if first_line(&e.to_string()).contains("shape") || first_line(&e.to_string()).contains("rank") =>
            {
                ErrorCode::Shape
            }
            Self::Shape { .. } => ErrorCode::Shape,
            Self::Argument(_) | Self::Tensor(_) => ErrorCode::InvalidArgument,
            Self::Memory(_) => ErrorCode::OutOfMemory,
            Self::Invalid(_) => ErrorCode::InvalidState,
            Self::Device { .. } => ErrorCode::Device,
            Self::Io { .. } => ErrorCode::Io,
            Self::Located { source, .. } => source.code(),
            Self::Aborted => ErrorCode::Aborted,
            Self::Disposed(_) => ErrorCode::Disposed,
        }
    }

    /// The facts that the message tells in words, by name; empty for errors that are words alone.
    pub fn details(&self) -> Map<String, Json> {
        let details = match self {
            Self::Config { option, .. } => json!({ "option": option }),
            Self::Target { pattern, nearest, .. } => json!({ "pattern": pattern, "nearest": nearest }),
            Self::AdapterNotFound { name, known } => json!({ "name": name, "known": known }),
            Self::AdapterExists(name) => json!({ "name": name }),
            Self::Corrupt { path, .. }
            | Self::Mismatch { path, .. }
            | Self::Unsafe { path, .. }
            | Self::NotConvertible { path, .. }
            | Self::Io { path, .. } => json!({ "path": path.display().to_string() }),
            Self::Shape { path, expected, actual } => json!({ "path": path, "expected": expected, "actual": actual }),
            Self::Device { device, .. } => json!({ "device": device }),
            Self::Located { source, .. } => return source.details(),
            Self::UnsupportedModel(_)
            | Self::UnsupportedTuner(_)
            | Self::Argument(_)
            | Self::Invalid(_)
            | Self::Memory(_)
            | Self::Aborted
            | Self::Disposed(_)
            | Self::Tensor(_) => Json::Null,
        };
        match details {
            Json::Object(details) => details,
            _ => Map::new(),
        }
    }

    pub fn config(option: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { option: option.into(), message: message.into() }
    }

    /// The same error with its place, if it is about what went into a call and has none yet.
    pub fn located(self, node: NodeId, adapter: Option<AdapterId>) -> Self {
        match self {
            Self::Shape { .. } | Self::Argument(_) | Self::Tensor(_) => {
                Self::Located { at: Culprit { node, adapter, named: None }, source: Box::new(self) }
            }
            other => other,
        }
    }

    /// No module is meant; `nearest` are names that come close.
    pub fn target(pattern: impl Into<String>, nearest: Vec<String>) -> Self {
        Self::Target { pattern: pattern.into(), nearest, hint: None }
    }

    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub fn corrupt(path: &Path, message: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), message: message.into() }
    }
}

/// What may have been meant, behind what was not found.
fn after(hint: &Option<String>, nearest: &[String]) -> String {
    match hint {
        Some(hint) => format!("; {hint}"),
        None if nearest.is_empty() => String::new(),
        None => format!("; the closest names are {}", nearest.join(", ")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_its_facts_by_name() {
        let error = Error::Shape { path: "lm_head.weight".into(), expected: vec![4, 2], actual: vec![2] };
        assert_eq!(error.code(), "ERR_SHAPE");
        let expected = json!({ "path": "lm_head.weight", "expected": [4, 2], "actual": [2] });
        assert_eq!(Json::Object(error.details()), expected);
        assert!(Error::Aborted.details().is_empty());
    }

    #[test]
    fn memory_that_a_gpu_lacks_has_a_code_of_its_own() {
        let of = |text: &str| Error::Tensor(candle_core::Error::Msg(text.into())).code();
        assert_eq!(of("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"), ErrorCode::OutOfMemory);
        assert_eq!(of("unexpected rank"), ErrorCode::Shape);
    }
}
