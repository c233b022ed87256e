//! Differentiable tensors: candle's arrays under a tape of our own.
//!
//! candle's own backward pass recurses over the graph, cuts gradients silently at its fused operations, and computes the
//! gradients of frozen operands. Here every operation states its backward pass when it is written, operands that nobody
//! trains cost nothing, and the pass walks the tape in reverse order of creation without recursion.
//!
//! Names and meaning of the operations are PyTorch's: those of `torch.Tensor` that models, losses and TypeScript use.

mod arithmetic;
mod convert;
mod indexing;
mod reduce;
mod shape;
mod tape;
mod unary;
mod views;

pub use crate::array::Array;
pub use tape::GradSlot;
pub(crate) use tape::Record;

use crate::ops::add_arrays;
use crate::{Error, Result};
use candle_core::{DType, Device, D};
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tape::{Pending, Role, NEXT_RECORD};

/// An n-dimensional array that remembers how it was computed from the parameters in training.
#[derive(Clone)]
pub struct Tensor {
    data: Array,
    record: Option<Arc<Record>>,
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({:?}, {:?}, tracked: {})", self.dims(), self.dtype(), self.is_tracked())
    }
}

impl From<Array> for Tensor {
    fn from(data: Array) -> Self {
        Self { data, record: None }
    }
}

impl Tensor {
    /// A leaf: what is computed from it accumulates its gradient in `slot`.
    pub(crate) fn leaf(data: Array, record: Arc<Record>) -> Self {
        Self { data, record: Some(record) }
    }

    pub(crate) fn leaf_record(slot: Arc<GradSlot>) -> Arc<Record> {
        let id = NEXT_RECORD.fetch_add(1, Ordering::Relaxed);
        Arc::new(Record { id, role: Role::Leaf(slot), inputs: Vec::new() })
    }

    /// The result of an operation on `inputs`. `backward` maps the output's gradient to the inputs' gradients; it is
    /// dropped at once when no input is tracked.
    pub fn from_op(
        data: Array,
        inputs: &[&Tensor],
        backward: impl FnOnce(&Array) -> Result<Vec<Option<Array>>> + Send + 'static,
    ) -> Self {
        if inputs.iter().all(|t| t.record.is_none()) {
            return data.into();
        }
        Self::from_recomputed(data, inputs, backward)
    }

    /// [`Tensor::from_op`] that is recorded even when no input is tracked, because `backward` reaches parameters by itself.
    pub(crate) fn from_recomputed(
        data: Array,
        inputs: &[&Tensor],
        backward: impl FnOnce(&Array) -> Result<Vec<Option<Array>>> + Send + 'static,
    ) -> Self {
        let record = Record {
            id: NEXT_RECORD.fetch_add(1, Ordering::Relaxed),
            role: Role::Operation(Mutex::new(Some(Box::new(backward)))),
            inputs: inputs.iter().map(|t| t.record.clone()).collect(),
        };
        Self { data, record: Some(Arc::new(record)) }
    }

    pub fn data(&self) -> &Array {
        &self.data
    }

    pub fn into_data(self) -> Array {
        self.data
    }

    /// Whether a parameter in training had a part in this value.
    pub fn is_tracked(&self) -> bool {
        self.record.is_some()
    }

    pub fn dims(&self) -> &[usize] {
        self.data.dims()
    }

    pub fn dim(&self, axis: usize) -> usize {
        self.data.dims()[axis]
    }

    pub fn last_dim(&self) -> usize {
        self.data.dim(D::Minus1).unwrap_or(0)
    }

    pub fn rank(&self) -> usize {
        self.data.rank()
    }

    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    pub fn device(&self) -> &Device {
        self.data.device()
    }

    pub fn detach(&self) -> Self {
        self.data.clone().into()
    }

    /// Adds the gradient of this scalar to every leaf it was computed from.
    ///
    /// Fails with [`Error::Argument`] when this is not a scalar, and with [`Error::Invalid`] when nothing it came from is
    /// being trained or a backward pass has already used up (and freed) a part of the graph.
    pub fn backward(&self) -> Result<()> {
        if self.data.elem_count() != 1 {
            return Err(Error::Argument(format!(
                "backward() starts from a scalar; this tensor has shape {:?}",
                self.dims()
            )));
        }
        self.backward_from(self.data.ones_like()?)
    }

    /// The backward pass from a given gradient of this tensor.
    pub(crate) fn backward_from(&self, grad: Array) -> Result<()> {
        let Some(root) = &self.record else {
            return Err(Error::Invalid("backward(): no trainable parameter had a part in this tensor; adapters that are merged, switched off or frozen have none".into()));
        };
        let mut queue = BinaryHeap::from([Pending(root.clone())]);
        let mut grads: HashMap<u64, Array> = HashMap::from([(root.id, grad)]);
        while let Some(Pending(record)) = queue.pop() {
            let Some(grad) = grads.remove(&record.id) else {
                continue;
            };
            let call = match &record.role {
                Role::Leaf(slot) => {
                    slot.add(grad)?;
                    continue;
                }
                Role::Operation(call) => call.lock().unwrap_or_else(|e| e.into_inner()).take(),
            };
            let Some(call) = call else {
                return Err(Error::Invalid(
                    "backward(): this graph was used by an earlier backward pass; run the forward pass again".into(),
                ));
            };
            let input_grads = call(&grad)?;
            debug_assert_eq!(input_grads.len(), record.inputs.len());
            for (input, grad) in record.inputs.iter().zip(input_grads) {
                let (Some(input), Some(grad)) = (input, grad) else {
                    continue;
                };
                match grads.remove(&input.id) {
                    Some(sum) => {
                        grads.insert(input.id, add_arrays(&sum, &grad)?);
                    }
                    None => {
                        grads.insert(input.id, grad);
                        queue.push(Pending(input.clone()));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    // A list of one operand reads like the lists of several beside it.
    #![allow(clippy::cloned_ref_to_slice_refs)]

    use super::*;
    use crate::ops::testing::{check_gradients, leaf, values};

    #[test]
    fn primitive_operations_match_difference_quotients() {
        let (a, b) = (values(&[3, 4], 1), values(&[3, 4], 2));
        let positive = (a.sqr().unwrap() + 0.5).unwrap();
        check_gradients(&[a.clone(), b.clone()], |x| x[0].add(&x[1])?.mul(&x[1])?.sub(&x[0]));
        check_gradients(&[a.clone(), positive.clone()], |x| x[0].div(&x[1]));
        check_gradients(&[a.clone(), values(&[4], 3)], |x| x[0].mul(&x[1])?.add(&x[1]));
        check_gradients(&[positive.clone()], |x| x[0].sqrt()?.log()?.exp());
        for f in [Tensor::tanh, Tensor::sigmoid, Tensor::relu, Tensor::silu, Tensor::gelu, Tensor::gelu_tanh] {
            check_gradients(&[a.clone()], |x| f(&x[0]));
        }
        for f in [Tensor::neg, Tensor::sqr, Tensor::sin, Tensor::cos, Tensor::abs] {
            check_gradients(&[a.clone()], |x| f(&x[0]));
        }
        check_gradients(&[a.clone(), values(&[2, 4, 5], 4)], |x| x[0].matmul(&x[1]));
        check_gradients(&[a.clone()], |x| x[0].softmax(-1)?.transpose(0, 1));
        check_gradients(&[a.clone()], |x| x[0].log_softmax(0)?.narrow(1, 1, 2));
        check_gradients(&[a.clone(), b.clone()], |x| Tensor::cat(&[&x[0], &x[1]], -1)?.mean(Some(&[0]), true));
        check_gradients(&[a.clone(), b], |x| Tensor::stack(&[&x[0], &x[1]], 1)?.permute(&[2, 0, 1]));
        check_gradients(&[a.clone()], |x| x[0].max(1, false));
        let index = Array::new(&[2u32, 0, 2], &Device::Cpu).unwrap();
        check_gradients(&[a.clone()], |x| x[0].index_select(&index, 1));
        check_gradients(&[a.clone(), values(&[3, 2], 5)], |x| x[0].index_copy(1, &[3, 1], &x[1]));
        let index = Array::new(&[[3u32, 0], [1, 1], [2, 3]], &Device::Cpu).unwrap();
        check_gradients(&[a.clone()], |x| x[0].gather(&index, 1));
        let index = Array::new(&[4u32, 1, 4], &Device::Cpu).unwrap();
        check_gradients(&[a.clone()], |x| x[0].scatter_rows(&index, 5)?.roll(-2, 0));
        check_gradients(&[a], |x| x[0].unsqueeze(1)?.broadcast_to(&[3, 2, 4])?.squeeze(0)?.affine(3., 1.));
    }

    #[test]
    fn a_graph_serves_one_backward_pass_and_long_chains_do_not_overflow() {
        let (x, slot) = leaf(&values(&[2], 1));
        let mut y = x.clone();
        for _ in 0..100_000 {
            y = y.affine(1., 1e-9).unwrap();
        }
        let loss = y.sum(None, false).unwrap();
        loss.backward().unwrap();
        assert_eq!(slot.get().unwrap().to_vec1::<f64>().unwrap(), [1., 1.]);
        assert_eq!(loss.backward().unwrap_err().code(), "ERR_INVALID_STATE");
    }
}
