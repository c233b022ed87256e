//! safetensors files: a header that is checked whole before any tensor is read, and tensors read one by one.
//!
//! The reader is our own because it must refuse what common readers let pass (duplicate keys, gaps) and never maps the
//! file: a mapping that somebody truncates ends the process. Writing uses the `safetensors` crate.

mod read;
mod stored;
mod write;

pub use read::{read, SafeTensors};
pub use write::{write, write_deferred, Deferred};
