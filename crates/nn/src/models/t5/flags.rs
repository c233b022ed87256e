//! Sizes and settings of the network.

use crate::ops;

pub(super) struct Flags {
    pub width: usize,
    pub inner: usize,
    pub heads: usize,
    pub head_dim: usize,
    pub eps: f64,
    pub act: ops::Activation,
    pub gated: bool,
    pub dropout: f64,
    pub buckets: usize,
    pub max_distance: usize,
}
