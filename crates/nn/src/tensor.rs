//! Differentiable tensors: candle's arrays under a tape of our own.
//!
//! candle's own backward pass recurses over the graph, cuts gradients silently at its fused operations, and computes the
//! gradients of frozen operands. Here every operation states its backward pass when it is written, operands that nobody
//! trains cost nothing, and the pass walks the tape in reverse order of creation without recursion.

use crate::{Error, Result};
use candle_core::{DType, Device, Shape, D};
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// candle's array, which here never records a graph of its own.
pub type Array = candle_core::Tensor;

/// Given the gradient of the output, returns one gradient per recorded input (`None`: no gradient flows there).
type BackwardFn = Box<dyn FnOnce(&Array) -> Result<Vec<Option<Array>>> + Send>;

/// Where a leaf's gradient accumulates between `zero_grad` calls.
#[derive(Default)]
pub struct GradSlot(Mutex<Option<Array>>);

impl GradSlot {
    pub fn get(&self) -> Option<Array> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub fn set(&self, grad: Option<Array>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = grad;
    }

    fn add(&self, grad: Array) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(|e| e.into_inner());
        *slot = Some(match slot.take() {
            Some(sum) => (sum + grad)?,
            None => grad,
        });
        Ok(())
    }
}

enum Role {
    Leaf(Arc<GradSlot>),
    /// Taken by the first backward pass, which frees what the operation had saved.
    Operation(Mutex<Option<BackwardFn>>),
}

/// One recorded operation, or a leaf whose gradient is wanted.
pub(crate) struct Record {
    /// Grows with creation, so descending order is a valid order for the backward pass.
    id: u64,
    role: Role,
    inputs: Vec<Option<Arc<Record>>>,
}

impl Drop for Record {
    // A long chain of records must not be dropped recursively: 50 000 of them overflow an 8 MB stack.
    fn drop(&mut self) {
        let mut stack: Vec<Arc<Record>> = std::mem::take(&mut self.inputs).into_iter().flatten().collect();
        while let Some(record) = stack.pop() {
            if let Some(mut last) = Arc::into_inner(record) {
                stack.extend(std::mem::take(&mut last.inputs).into_iter().flatten());
            }
        }
    }
}

static NEXT_RECORD: AtomicU64 = AtomicU64::new(1);

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
            return Err(Error::Invalid("backward(): no trainable parameter had a part in this tensor".into()));
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
                        grads.insert(input.id, crate::ops::add_arrays(&sum, &grad)?);
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

struct Pending(Arc<Record>);

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

/// Sums a gradient of the broadcast shape back to `shape`.
fn reduce_to(grad: Array, shape: &[usize]) -> Result<Array> {
    if grad.dims() == shape {
        return Ok(grad);
    }
    let extra = grad.rank() - shape.len();
    let mut axes: Vec<usize> = (0..extra).collect();
    axes.extend((0..shape.len()).filter(|&i| shape[i] == 1 && grad.dims()[extra + i] != 1).map(|i| i + extra));
    Ok(grad.sum_keepdim(axes)?.reshape(shape)?)
}

/// Python's axis convention: negative counts from the end.
fn axis(rank: usize, dim: isize) -> Result<usize> {
    let resolved = if dim < 0 { dim + rank as isize } else { dim };
    if resolved < 0 || resolved >= rank as isize {
        return Err(Error::Argument(format!("dimension {dim} is out of range for a tensor of rank {rank}")));
    }
    Ok(resolved as usize)
}

macro_rules! unary {
    ($(#[$doc:meta])* $name:ident, $forward:expr, |$x:ident, $y:ident, $g:ident| $backward:expr) => {
        $(#[$doc])*
        pub fn $name(&self) -> Result<Self> {
            let y: Array = ($forward)(&self.data)?;
            let ($x, $y) = (self.data.clone(), y.clone());
            Ok(Self::from_op(y, &[self], move |$g| {
                let _ = (&$x, &$y);
                Ok(vec![Some($backward?)])
            }))
        }
    };
}

/// The operations of `torch.Tensor` that models, losses and TypeScript use; names and meaning are PyTorch's.
impl Tensor {
    fn broadcast_op(
        &self,
        rhs: &Self,
        value: candle_core::Result<Array>,
        grads: impl FnOnce(&Array, &Array, &Array, bool, bool) -> Result<(Option<Array>, Option<Array>)> + Send + 'static,
    ) -> Result<Self> {
        let value = value?;
        let (a, b) = (self.data.clone(), rhs.data.clone());
        let (ta, tb) = (self.is_tracked(), rhs.is_tracked());
        Ok(Self::from_op(value, &[self, rhs], move |g| {
            let (ga, gb) = grads(g, &a, &b, ta, tb)?;
            let ga = ga.map(|x| reduce_to(x, a.dims())).transpose()?;
            let gb = gb.map(|x| reduce_to(x, b.dims())).transpose()?;
            Ok(vec![ga, gb])
        }))
    }

    pub fn add(&self, rhs: &Self) -> Result<Self> {
        self.broadcast_op(rhs, crate::ops::add_arrays(&self.data, &rhs.data), |g, _, _, ta, tb| {
            Ok((ta.then(|| g.clone()), tb.then(|| g.clone())))
        })
    }

    pub fn sub(&self, rhs: &Self) -> Result<Self> {
        self.broadcast_op(rhs, self.data.broadcast_sub(&rhs.data), |g, _, _, ta, tb| {
            Ok((ta.then(|| g.clone()), if tb { Some(g.neg()?) } else { None }))
        })
    }

    pub fn mul(&self, rhs: &Self) -> Result<Self> {
        self.broadcast_op(rhs, self.data.broadcast_mul(&rhs.data), |g, a, b, ta, tb| {
            let ga = if ta { Some(g.broadcast_mul(b)?) } else { None };
            let gb = if tb { Some(g.broadcast_mul(a)?) } else { None };
            Ok((ga, gb))
        })
    }

    pub fn div(&self, rhs: &Self) -> Result<Self> {
        self.broadcast_op(rhs, self.data.broadcast_div(&rhs.data), |g, a, b, ta, tb| {
            let scaled = g.broadcast_div(b)?;
            let gb = if tb { Some(scaled.broadcast_mul(a)?.broadcast_div(b)?.neg()?) } else { None };
            Ok((ta.then_some(scaled), gb))
        })
    }

    /// `self · scale + shift`.
    pub fn affine(&self, scale: f64, shift: f64) -> Result<Self> {
        let y = self.data.affine(scale, shift)?;
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.affine(scale, 0.)?)])))
    }

    unary!(neg, |x: &Array| x.neg(), |x, y, g| g.neg());
    unary!(sqr, |x: &Array| x.sqr(), |x, y, g| g.mul(&x)?.affine(2., 0.));
    unary!(sqrt, |x: &Array| x.sqrt(), |x, y, g| g.div(&y)?.affine(0.5, 0.));
    unary!(exp, |x: &Array| x.exp(), |x, y, g| g.mul(&y));
    unary!(log, |x: &Array| x.log(), |x, y, g| g.div(&x));
    unary!(sin, |x: &Array| x.sin(), |x, y, g| g.mul(&x.cos()?));
    unary!(cos, |x: &Array| x.cos(), |x, y, g| g.mul(&x.sin()?)?.neg());
    unary!(tanh, |x: &Array| x.tanh(), |x, y, g| g.mul(&y.sqr()?.affine(-1., 1.)?));
    unary!(abs, |x: &Array| x.abs(), |x, y, g| g.mul(&x.sign()?));
    unary!(sigmoid, |x: &Array| (x.neg()?.exp()? + 1.)?.recip(), |x, y, g| g.mul(&(&y - y.sqr()?)?));
    unary!(relu, |x: &Array| x.relu(), |x, y, g| g.mul(&x.gt(0f64)?.to_dtype(g.dtype())?));
    unary!(
        /// `x · sigmoid(x)`.
        silu,
        |x: &Array| x.silu(),
        |x, y, g| {
            let s = (x.neg()?.exp()? + 1.)?.recip()?;
            // σ + y(1 − σ)
            g.mul(&(&s + y.mul(&s.affine(-1., 1.)?)?)?)
        }
    );
    unary!(
        /// The exact form, `x Φ(x)`.
        gelu,
        |x: &Array| x.gelu_erf(),
        |x, y, g| {
            let cdf = (x.affine(std::f64::consts::FRAC_1_SQRT_2, 0.)?.erf()? + 1.)?.affine(0.5, 0.)?;
            let pdf = x.sqr()?.affine(-0.5, 0.)?.exp()?.affine(0.398_942_280_401_432_7, 0.)?;
            g.mul(&(cdf + x.mul(&pdf)?)?)
        }
    );
    unary!(
        /// The tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
        gelu_tanh,
        |x: &Array| x.gelu(),
        |x, y, g| {
            const C: f64 = 0.797_884_560_802_865_4; // sqrt(2 / π)
            let inner = (x.affine(C, 0.)? + x.powf(3.)?.affine(C * 0.044715, 0.)?)?;
            let t = inner.tanh()?;
            let slope = x.sqr()?.affine(3. * 0.044715 * C, C)?;
            let left = t.affine(0.5, 0.5)?;
            let right = x.mul(&t.sqr()?.affine(-1., 1.)?)?.mul(&slope)?.affine(0.5, 0.)?;
            g.mul(&(left + right)?)
        }
    );

    /// Batched matrix product with broadcasting over the leading dimensions: `[.., m, k] · [.., k, n]` → `[.., m, n]`.
    pub fn matmul(&self, rhs: &Self) -> Result<Self> {
        if self.rank() < 2 || rhs.rank() < 2 || self.dim(self.rank() - 1) != rhs.dim(rhs.rank() - 2) {
            return Err(Error::Argument(format!("matmul: {:?} and {:?} do not fit", self.dims(), rhs.dims())));
        }
        let y = self.data.broadcast_matmul(&rhs.data)?;
        let (a, b) = (self.data.clone(), rhs.data.clone());
        let (ta, tb) = (self.is_tracked(), rhs.is_tracked());
        Ok(Self::from_op(y, &[self, rhs], move |g| {
            let g = g.contiguous()?;
            let ga = if ta { Some(reduce_to(g.broadcast_matmul(&b.t()?)?, a.dims())?) } else { None };
            let gb = if tb { Some(reduce_to(a.t()?.broadcast_matmul(&g)?, b.dims())?) } else { None };
            Ok(vec![ga, gb])
        }))
    }

    pub fn transpose(&self, d0: isize, d1: isize) -> Result<Self> {
        let (d0, d1) = (axis(self.rank(), d0)?, axis(self.rank(), d1)?);
        let y = self.data.transpose(d0, d1)?;
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.transpose(d0, d1)?)])))
    }

    pub fn permute(&self, dims: &[usize]) -> Result<Self> {
        let y = self.data.permute(dims)?;
        let mut inverse = vec![0; dims.len()];
        dims.iter().enumerate().for_each(|(i, &d)| inverse[d] = i);
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.permute(inverse)?)])))
    }

    pub fn contiguous(&self) -> Result<Self> {
        let y = self.data.contiguous()?;
        Ok(Self::from_op(y, &[self], |g| Ok(vec![Some(g.clone())])))
    }

    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape: Shape = shape.into();
        let y = self.data.reshape(shape)?;
        let before = self.data.shape().clone();
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.reshape(before)?)])))
    }

    pub fn unsqueeze(&self, dim: isize) -> Result<Self> {
        let at = axis(self.rank() + 1, dim)?;
        let mut shape = self.dims().to_vec();
        shape.insert(at, 1);
        self.reshape(shape)
    }

    /// Drops `dim` when its size is 1; otherwise returns the tensor as it is, as PyTorch does.
    pub fn squeeze(&self, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        if self.dim(at) != 1 {
            return Ok(self.clone());
        }
        let mut shape = self.dims().to_vec();
        shape.remove(at);
        self.reshape(shape)
    }

    pub fn narrow(&self, dim: isize, start: usize, length: usize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let size = self.dim(at);
        if start.checked_add(length).is_none_or(|end| end > size) {
            return Err(Error::Argument(format!(
                "narrow: {start} + {length} is past the end of dimension {at}, which has {size}"
            )));
        }
        let y = self.data.narrow(at, start, length)?;
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.pad_with_zeros(at, start, size - start - length)?)])))
    }

    /// Repeats size-1 dimensions (and adds leading ones) up to `shape`.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Self> {
        let y = self.data.broadcast_as(shape)?;
        let before = self.dims().to_vec();
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(reduce_to(g.clone(), &before)?)])))
    }

    /// Picks rows `index` (1-dimensional integers) along `dim`.
    pub fn index_select(&self, index: &Array, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let y = self.data.contiguous()?.index_select(&index.contiguous()?, at)?;
        let (before, index) = (self.data.clone(), index.clone());
        Ok(Self::from_op(y, &[self], move |g| {
            Ok(vec![Some(before.zeros_like()?.index_add(&index.contiguous()?, &g.contiguous()?, at)?)])
        }))
    }

    /// The inverse of picking rows: `[n, ..]` → `[rows, ..]`, row `i` added to row `index[i]` of zeros.
    pub fn scatter_rows(&self, index: &Array, rows: usize) -> Result<Self> {
        let mut shape = self.dims().to_vec();
        shape[0] = rows;
        let index = index.contiguous()?;
        let y = Array::zeros(shape, self.dtype(), self.device())?.index_add(&index, &self.data.contiguous()?, 0)?;
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.contiguous()?.index_select(&index, 0)?)])))
    }

    /// Moves everything by `by` places along `dim`, what falls off one end coming in at the other (`torch.roll`).
    pub fn roll(&self, by: isize, dim: isize) -> Result<Self> {
        let size = self.dim(axis(self.rank(), dim)?);
        let by = by.rem_euclid(size.max(1) as isize) as usize;
        if by == 0 {
            return Ok(self.clone());
        }
        Self::cat(&[&self.narrow(dim, size - by, by)?, &self.narrow(dim, 0, size - by)?], dim)
    }

    pub fn gather(&self, index: &Array, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let y = self.data.contiguous()?.gather(&index.contiguous()?, at)?;
        let (before, index) = (self.data.clone(), index.clone());
        Ok(Self::from_op(y, &[self], move |g| {
            Ok(vec![Some(before.zeros_like()?.scatter_add(&index.contiguous()?, &g.contiguous()?, at)?)])
        }))
    }

    pub fn cat(tensors: &[&Tensor], dim: isize) -> Result<Self> {
        let Some(first) = tensors.first() else {
            return Err(Error::Argument("cat needs at least one tensor".into()));
        };
        let at = axis(first.rank(), dim)?;
        let data: Vec<&Array> = tensors.iter().map(|t| &t.data).collect();
        let y = Array::cat(&data, at)?;
        let sizes: Vec<usize> = tensors.iter().map(|t| t.dim(at)).collect();
        let tracked: Vec<bool> = tensors.iter().map(|t| t.is_tracked()).collect();
        Ok(Self::from_op(y, tensors, move |g| {
            let mut start = 0;
            let mut out = Vec::with_capacity(sizes.len());
            for (&size, &tracked) in sizes.iter().zip(&tracked) {
                out.push(if tracked { Some(g.narrow(at, start, size)?.contiguous()?) } else { None });
                start += size;
            }
            Ok(out)
        }))
    }

    pub fn stack(tensors: &[&Tensor], dim: isize) -> Result<Self> {
        let expanded = tensors.iter().map(|t| t.unsqueeze(dim)).collect::<Result<Vec<_>>>()?;
        Self::cat(&expanded.iter().collect::<Vec<_>>(), dim)
    }

    fn axes(&self, dims: Option<&[isize]>) -> Result<Vec<usize>> {
        let mut axes = match dims {
            None => (0..self.rank()).collect(),
            Some(dims) => dims.iter().map(|&d| axis(self.rank(), d)).collect::<Result<Vec<_>>>()?,
        };
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    /// Sum over `dims` (all of them when absent).
    pub fn sum(&self, dims: Option<&[isize]>, keep_dim: bool) -> Result<Self> {
        let axes = self.axes(dims)?;
        let kept = if axes.is_empty() { self.data.clone() } else { self.data.sum_keepdim(axes.clone())? };
        let before = self.dims().to_vec();
        let kept_shape = kept.dims().to_vec();
        let y = if keep_dim {
            kept
        } else {
            let shape: Vec<usize> = (0..self.rank()).filter(|i| !axes.contains(i)).map(|i| self.dim(i)).collect();
            kept.reshape(shape)?
        };
        Ok(Self::from_op(y, &[self], move |g| {
            Ok(vec![Some(g.reshape(kept_shape)?.broadcast_as(before)?.contiguous()?)])
        }))
    }

    pub fn mean(&self, dims: Option<&[isize]>, keep_dim: bool) -> Result<Self> {
        let count: usize = self.axes(dims)?.iter().map(|&i| self.dim(i)).product();
        if count == 0 {
            return Err(Error::Argument("mean of no elements".into()));
        }
        self.sum(dims, keep_dim)?.affine(1. / count as f64, 0.)
    }

    /// Largest value along `dim`; the gradient goes to the first of equal ones.
    pub fn max(&self, dim: isize, keep_dim: bool) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let index = self.data.contiguous()?.argmax_keepdim(at)?;
        let y = self.gather(&index, at as isize)?;
        if keep_dim {
            Ok(y)
        } else {
            y.squeeze(at as isize)
        }
    }

    pub fn argmax(&self, dim: isize) -> Result<Array> {
        Ok(self.data.contiguous()?.argmax(axis(self.rank(), dim)?)?)
    }

    pub fn softmax(&self, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let shifted = self.data.broadcast_sub(&self.data.max_keepdim(at)?)?.exp()?;
        let y = shifted.broadcast_div(&shifted.sum_keepdim(at)?)?;
        let saved = y.clone();
        Ok(Self::from_op(y, &[self], move |g| {
            let inner = g.mul(&saved)?;
            Ok(vec![Some((&inner - saved.broadcast_mul(&inner.sum_keepdim(at)?)?)?)])
        }))
    }

    pub fn log_softmax(&self, dim: isize) -> Result<Self> {
        let at = axis(self.rank(), dim)?;
        let shifted = self.data.broadcast_sub(&self.data.max_keepdim(at)?)?;
        let y = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(at)?.log()?)?;
        let saved = y.clone();
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some((g - saved.exp()?.broadcast_mul(&g.sum_keepdim(at)?)?)?)])))
    }

    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        let y = self.data.to_dtype(dtype)?;
        let before = self.dtype();
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.to_dtype(before)?)])))
    }

    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let y = self.data.to_device(device)?;
        let before = self.device().clone();
        Ok(Self::from_op(y, &[self], move |g| Ok(vec![Some(g.to_device(&before)?)])))
    }

    /// Splits the last dimension: `[.., n · size]` → `[.., n, size]`.
    pub fn split_last(&self, size: usize) -> Result<Self> {
        let mut shape = self.dims().to_vec();
        let last = shape.pop().unwrap_or(0);
        if size == 0 || !last.is_multiple_of(size) {
            return Err(Error::Argument(format!("{last} is not a multiple of {size}")));
        }
        shape.extend([last / size, size]);
        self.reshape(shape)
    }

    /// Joins the last two dimensions.
    pub fn merge_last(&self) -> Result<Self> {
        let mut shape = self.dims().to_vec();
        let (b, a) = (shape.pop().unwrap_or(1), shape.pop().unwrap_or(1));
        shape.push(a * b);
        self.reshape(shape)
    }

    pub fn to_scalar_f64(&self) -> Result<f64> {
        let flat = self.data.reshape(())?;
        Ok(match flat.dtype() {
            DType::F64 => flat.to_scalar::<f64>()?,
            DType::I64 => flat.to_scalar::<i64>()? as f64,
            DType::U32 => f64::from(flat.to_scalar::<u32>()?),
            DType::U8 => f64::from(flat.to_scalar::<u8>()?),
            _ => f64::from(flat.to_dtype(DType::F32)?.to_scalar::<f32>()?),
        })
    }

    pub fn last_dim(&self) -> usize {
        self.data.dim(D::Minus1).unwrap_or(0)
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
