//! Who an adapter is.

/// Identifies an adapter within its model; never used again after the adapter is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterId(pub u32);
