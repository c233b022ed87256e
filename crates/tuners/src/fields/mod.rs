//! Fields of configurations, each declared once: its name in Python, type, default, range and what it means.
//!
//! From the declaration come the typed value, the checks, the defaults in JSON and the TypeScript class.

mod declared;
mod field_type;
mod required;
mod scalar;
mod several;

pub use declared::{check_range, doc, object_fields, Declared, Fields};
pub use field_type::FieldType;
pub use required::{Probability, Required, Unsupported};
pub use several::{Names, OneOrMore, Patterns, Sizes};
