//! What adapters add to parameters that modules read by themselves.

use crate::ops::LoraTerm;
use crate::tensor::Tensor;
use crate::Result;
use candle_core::DType;

/// What is added to a value for one pass.
pub trait Update: Send + Sync {
    /// The whole of it, shaped as what it is added to.
    fn delta(&self, grad: bool) -> Result<Tensor>;

    /// What is added to one matrix of a stack `[matrices, out, in]`, as factors of this type.
    fn term(&self, at: usize, dtype: DType, grad: bool) -> Result<LoraTerm>;
}
