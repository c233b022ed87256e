//! Tensors by name.

use crate::tensor::Array;
use indexmap::IndexMap;

/// Tensors by name, in file order.
pub type Tensors = IndexMap<String, Array>;
