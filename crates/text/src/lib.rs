//! Chat templates: Jinja as transformers runs it, and which tokens the assistant said.

pub mod chat;
pub mod clock;
mod error;
mod growth;
pub mod jinja;
mod tokenizer_file;

pub use chat::{ChatTemplate, Encoded, Request, Turn};
pub use clock::Clock;
pub use error::{Error, Kind, Result};
pub use jinja::{on_stack, Rendered, Template};
pub use tokenizer_file::read_tokenizer;
