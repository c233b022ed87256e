//! What an attention call is asked for.

use crate::ops::mask::Mask;

/// What an attention call does beside multiplying.
#[derive(Clone, Debug)]
pub struct AttentionOptions {
    /// Multiplies the scores before the mask is added.
    pub scale: f64,
    pub mask: Mask,
    /// Probability and seed of dropping an attention weight (training only).
    pub dropout: Option<(f32, u64)>,
}
