//! Where virtual tokens stand.

/// Where virtual tokens go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the embedded tokens.
    Embeddings,
    /// Before the keys and values of every layer.
    Past,
}
