//! Chat templates: Jinja as transformers runs it.

pub mod clock;
mod error;
pub mod jinja;

pub use clock::Clock;
pub use error::{Error, Kind, Result};
pub use jinja::{on_stack, Rendered, Template};
