//! Chat templates: Jinja as transformers runs it, and which tokens the assistant said.

pub mod chat;
pub mod clock;
mod error;
mod growth;
pub mod jinja;

pub use chat::{ChatTemplate, Encoded, Request, Turn};
pub use clock::Clock;
pub use error::{Error, Kind, Result};
pub use growth::{growth, MOST};
pub use jinja::{on_stack, Rendered, Template};
