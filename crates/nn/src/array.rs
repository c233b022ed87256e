//! Arrays without a tape.

/// candle's array, which here never records a graph of its own.
pub type Array = candle_core::Tensor;
