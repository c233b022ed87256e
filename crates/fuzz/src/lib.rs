//! Everything that reads a stranger's file, as a function over its bytes. A target returns whatever the file holds: an error is as good
//! as a value. What must not happen is a panic, a hang, an abort or memory beyond the file's own size class.

mod dictionary;
mod mutate;
mod scratch;
mod seeds;
mod targets;

pub use dictionary::WORDS;
pub use mutate::Mutator;
pub use targets::{find, Target, TARGETS};
