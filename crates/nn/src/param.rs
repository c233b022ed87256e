//! One named weight: its value, whether it is trained, and its accumulated gradient.

use crate::ops::{LoraTerm, Weight};
use crate::quantized::{Packed, Packing};
use crate::tensor::{Array, GradSlot, Record, Tensor};
use crate::update::Update;
use crate::{Error, Result};
use candle_core::{DType, Device};
use parking_lot::RwLock;
use std::path::PathBuf;
use std::sync::Arc;

/// A parameter by reference: clones share the value, which is how tied weights are one parameter under two names.
#[derive(Clone)]
pub struct Param(Arc<Inner>);

struct Inner {
    state: RwLock<State>,
    slot: Arc<GradSlot>,
    /// What integers are less than: those of all rows, or of the first and of the others.
    below: Option<[usize; 2]>,
}

struct State {
    value: Residence,
    /// Present while the parameter is trained.
    record: Option<Arc<Record>>,
}

#[derive(Clone)]
enum Residence {
    Memory(Array),
    /// Frozen, in a few bits per value.
    Packed(Arc<Packed>),
    /// Made when it is asked for: initial values that a checkpoint replaces never are, weights left in their files are read.
    Pending(Pending),
    /// Offloaded to `meta`: the values wait in a file.
    Disk {
        file: PathBuf,
        shape: Vec<usize>,
        dtype: DType,
        device: Device,
    },
    /// The transpose of another parameter's value: two parameters with gradients of their own over one memory, as PyTorch
    /// makes them when it ties `lm_head`'s LoRA to the embedding's.
    TransposeOf(Param),
    /// Another parameter's value with what adapters add to it, as gradients pass through it.
    Updated(Arc<Updated>),
}

/// A parameter and what adapters add to it.
struct Updated {
    base: Param,
    by: Vec<Arc<dyn Update>>,
}

/// A value to come.
#[derive(Clone)]
struct Pending {
    shape: Vec<usize>,
    dtype: DType,
    device: Device,
    make: Arc<dyn Fn() -> Result<Array> + Send + Sync>,
}

impl Pending {
    fn array(&self) -> Result<Array> {
        let value = (self.make)()?;
        if value.dims() != self.shape {
            let actual = value.dims().to_vec();
            return Err(Error::Shape { path: "initial value".into(), expected: self.shape.clone(), actual });
        }
        Ok(value.to_dtype(self.dtype)?.to_device(&self.device)?)
    }
}

/// Where a parameter's value was at some time.
#[derive(Clone)]
pub struct Place(Residence);

impl Residence {
    fn array(&self) -> Result<Array> {
        match self {
            Self::Memory(data) => Ok(data.clone()),
            Self::Packed(packed) => packed.array(),
            Self::Pending(pending) => pending.array(),
            Self::Disk { .. } => Err(offloaded()),
            Self::TransposeOf(other) => Ok(other.array()?.t()?.contiguous()?),
            Self::Updated(updated) => Ok(updated.value(false)?.into_data()),
        }
    }
}

impl Updated {
    fn value(&self, grad: bool) -> Result<Tensor> {
        let base = self.base.value(grad)?;
        self.by.iter().try_fold(base, |sum, update| sum.add(&update.delta(grad)?.to_dtype(sum.dtype())?))
    }
}

impl Param {
    pub fn new(value: Array, requires_grad: bool) -> Self {
        Self::of(Residence::Memory(value), requires_grad)
    }

    fn of(value: Residence, requires_grad: bool) -> Self {
        Self::bounded(value, requires_grad, None)
    }

    fn bounded(value: Residence, requires_grad: bool, below: Option<[usize; 2]>) -> Self {
        let slot = Arc::new(GradSlot::default());
        let record = requires_grad.then(|| Tensor::leaf_record(slot.clone()));
        Self(Arc::new(Inner { state: RwLock::new(State { value, record }), slot, below }))
    }

    /// A parameter whose first value `make` gives at [`Param::settle`], unless another is set before. Until then every read
    /// makes it anew, so whoever creates such parameters settles them before they are used.
    pub fn pending(
        shape: &[usize],
        dtype: DType,
        device: &Device,
        requires_grad: bool,
        make: impl Fn() -> Result<Array> + Send + Sync + 'static,
    ) -> Self {
        let pending = Pending { shape: shape.to_vec(), dtype, device: device.clone(), make: Arc::new(make) };
        Self::of(Residence::Pending(pending), requires_grad)
    }

    /// Integers that point into something, such as positions of a weight: those of the first row are less than `below[0]`, those
    /// of the others than `below[1]`, whatever is set later. Their type stays, and they never train.
    pub fn indices(
        shape: &[usize],
        dtype: DType,
        device: &Device,
        below: [usize; 2],
        make: impl Fn() -> Result<Array> + Send + Sync + 'static,
    ) -> Self {
        let pending = Pending { shape: shape.to_vec(), dtype, device: device.clone(), make: Arc::new(make) };
        Self::bounded(Residence::Pending(pending), false, Some(below))
    }

    /// Fails with [`Error::Argument`] where integers are expected and `value` holds others, or some that are out of range.
    fn check_indices(&self, value: &Array) -> Result<()> {
        if !self.dtype().is_int() {
            return Ok(());
        }
        let floats = value.dtype().is_float();
        let wide = value.to_device(&Device::Cpu)?.flatten_all()?;
        // What was written by programs that cannot store integers is whole all the same.
        let values: Vec<i64> = if floats {
            let values = wide.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            if let Some(v) = values.iter().find(|v| v.fract() != 0. || !v.is_finite()) {
                return Err(Error::Argument(format!("{v} is no integer")));
            }
            values.into_iter().map(|v| v as i64).collect()
        } else {
            wide.to_dtype(DType::I64)?.to_vec1()?
        };
        let Some(below) = self.0.below else { return Ok(()) };
        let row = values.len() / value.dims().first().copied().unwrap_or(1).max(1);
        for (i, &v) in values.iter().enumerate() {
            let below = below[usize::from(i >= row)];
            if usize::try_from(v).map_or(true, |v| v >= below) {
                return Err(Error::Argument(format!("the index {v} is not in 0..{below}")));
            }
        }
        Ok(())
    }

    pub fn is_pending(&self) -> bool {
        matches!(self.0.state.read().value, Residence::Pending(_))
    }

    /// Makes a pending value; does nothing to others.
    pub fn settle(&self) -> Result<()> {
        let pending = match &self.0.state.read().value {
            Residence::Pending(pending) => pending.clone(),
            _ => return Ok(()),
        };
        self.replace(pending.array()?);
        Ok(())
    }

    /// A frozen parameter of its own with the value that another had.
    pub(crate) fn at(place: Place) -> Self {
        Self::of(place.0, false)
    }

    /// The value as an input of differentiable operations. `grad` false leaves the tape out.
    pub fn value(&self, grad: bool) -> Result<Tensor> {
        let state = self.0.state.read();
        if let Residence::Updated(updated) = &state.value {
            return updated.value(grad);
        }
        let data = state.value.array()?;
        Ok(match &state.record {
            Some(record) if grad => Tensor::leaf(data, record.clone()),
            _ => data.into(),
        })
    }

    pub fn array(&self) -> Result<Array> {
        self.0.state.read().value.array()
    }

    /// The value as an operand of products, which read a packed one as it is.
    pub fn weight(&self, grad: bool) -> Result<Weight> {
        if let Residence::Packed(packed) = &self.0.state.read().value {
            return Ok(Weight::Packed(packed.clone()));
        }
        self.value(grad).map(Weight::Dense)
    }

    /// One matrix of a stack `[n, out, in]` as an operand of products, with what adapters add to it.
    pub fn matrix_of(&self, at: usize, grad: bool) -> Result<(Weight, Vec<LoraTerm>)> {
        if let Residence::Updated(updated) = &self.0.state.read().value {
            let (base, mut terms) = updated.base.matrix_of(at, grad)?;
            for update in &updated.by {
                terms.push(update.term(at, base.dtype(), grad)?);
            }
            return Ok((base, terms));
        }
        let matrix = self.value(grad)?.narrow(0, at, 1)?.squeeze(0)?.contiguous()?;
        Ok((matrix.into(), Vec::new()))
    }

    /// This value with updates added, for one pass: it is computed where it is read.
    pub fn updated(&self, by: Vec<Arc<dyn Update>>) -> Self {
        Self::of(Residence::Updated(Arc::new(Updated { base: self.clone(), by })), false)
    }

    /// Keeps the value in a few bits from now on, where its rows fit; it is frozen with that. Later values are rounded the
    /// same way. Matrices on the CPU only.
    pub fn pack(&self, packing: Packing) -> Result<()> {
        if let Some(packed) = Packed::new(&self.array()?, packing)? {
            self.set_requires_grad(false);
            self.0.state.write().value = Residence::Packed(Arc::new(packed));
        }
        Ok(())
    }

    /// How the value is packed, if it is.
    pub fn packing(&self) -> Option<Packing> {
        match &self.0.state.read().value {
            Residence::Packed(packed) => Some(packed.packing()),
            _ => None,
        }
    }

    /// A parameter whose value is always `other`'s transposed (a matrix): changing one changes the other.
    pub fn transposed(other: &Self) -> Self {
        Self::of(Residence::TransposeOf(other.clone()), other.requires_grad())
    }

    /// Replaces the value by one of the same shape, converted to this parameter's dtype and device.
    pub fn set(&self, value: &Array) -> Result<()> {
        // A copy of its own: a caller's array must not change when an optimizer updates this one in place.
        self.take(&value.copy()?)
    }

    /// The same for a value that nobody else keeps, which is not copied.
    pub fn take(&self, value: &Array) -> Result<()> {
        let shape = self.shape();
        if value.dims() != shape {
            return Err(Error::Shape { path: "parameter".into(), expected: shape, actual: value.dims().to_vec() });
        }
        self.check_indices(value)?;
        self.replace(value.to_dtype(self.dtype())?.to_device(&self.device())?);
        Ok(())
    }

    /// The value as it is kept, without reading it.
    pub fn place(&self) -> Place {
        Place(self.0.state.read().value.clone())
    }

    /// Puts a former value back. One that was offloaded then stays where it is now: its file may be gone.
    pub fn put_back(&self, place: Place) {
        if !matches!(place.0, Residence::Disk { .. }) {
            self.0.state.write().value = place.0;
        }
    }

    /// Puts `value` in as it is, whatever its dtype, device or shape; a packed parameter rounds it.
    pub fn replace(&self, value: Array) {
        let mut state = self.0.state.write();
        match &state.value {
            Residence::TransposeOf(other) => other.replace(value.t().and_then(|t| t.contiguous()).unwrap_or(value)),
            Residence::Packed(packed) => {
                // What cannot be packed stays whole.
                let again = Packed::new(&value, packed.packing()).ok().flatten();
                state.value = again.map_or(Residence::Memory(value), |packed| Residence::Packed(Arc::new(packed)));
            }
            _ => state.value = Residence::Memory(value),
        }
    }

    pub fn requires_grad(&self) -> bool {
        self.0.state.read().record.is_some()
    }

    /// Whether later passes record this parameter. Switching off drops the accumulated gradient. A packed parameter stays
    /// frozen.
    pub fn set_requires_grad(&self, on: bool) {
        let mut state = self.0.state.write();
        let on = on && self.0.below.is_none() && !matches!(state.value, Residence::Packed(_));
        if on && state.record.is_none() {
            state.record = Some(Tensor::leaf_record(self.0.slot.clone()));
        } else if !on {
            state.record = None;
            self.0.slot.set(None);
        }
    }

    pub fn grad(&self) -> Option<Array> {
        self.0.slot.get()
    }

    pub fn set_grad(&self, grad: Option<Array>) {
        self.0.slot.set(grad);
    }

    pub fn shape(&self) -> Vec<usize> {
        match &self.0.state.read().value {
            Residence::Memory(data) => data.dims().to_vec(),
            Residence::Packed(packed) => packed.shape().to_vec(),
            Residence::Pending(Pending { shape, .. }) | Residence::Disk { shape, .. } => shape.clone(),
            Residence::TransposeOf(other) => other.shape().into_iter().rev().collect(),
            Residence::Updated(updated) => updated.base.shape(),
        }
    }

    pub fn numel(&self) -> usize {
        self.shape().iter().product()
    }

    pub fn dtype(&self) -> DType {
        match &self.0.state.read().value {
            Residence::Memory(data) => data.dtype(),
            Residence::Packed(packed) => packed.dtype(),
            Residence::Pending(Pending { dtype, .. }) | Residence::Disk { dtype, .. } => *dtype,
            Residence::TransposeOf(other) => other.dtype(),
            Residence::Updated(updated) => updated.base.dtype(),
        }
    }

    /// Where the value is, or will be again when it comes back from `meta`.
    pub fn device(&self) -> Device {
        match &self.0.state.read().value {
            Residence::Memory(data) => data.device().clone(),
            Residence::Packed(_) => Device::Cpu,
            Residence::Pending(Pending { device, .. }) | Residence::Disk { device, .. } => device.clone(),
            Residence::TransposeOf(other) => other.device(),
            Residence::Updated(updated) => updated.base.device(),
        }
    }

    pub fn is_offloaded(&self) -> bool {
        match &self.0.state.read().value {
            Residence::Memory(_) | Residence::Packed(_) | Residence::Pending(_) => false,
            Residence::Disk { .. } => true,
            Residence::TransposeOf(other) => other.is_offloaded(),
            Residence::Updated(updated) => updated.base.is_offloaded(),
        }
    }

    /// Drops the value; `file` holds it until [`Param::restore`].
    pub fn offload(&self, file: PathBuf) {
        let mut state = self.0.state.write();
        if let Residence::Memory(data) = &state.value {
            let (shape, dtype, device) = (data.dims().to_vec(), data.dtype(), data.device().clone());
            state.value = Residence::Disk { file, shape, dtype, device };
        }
    }

    /// The file of an offloaded value.
    pub fn offload_file(&self) -> Option<PathBuf> {
        match &self.0.state.read().value {
            Residence::Disk { file, .. } => Some(file.clone()),
            _ => None,
        }
    }

    /// Whether both are the same parameter (tied weights).
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// An identity that lives as long as the parameter.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// A parameter of its own with the same value.
    pub fn deep_copy(&self) -> Result<Self> {
        Ok(Self::bounded(Residence::Memory(self.array()?.copy()?), self.requires_grad(), self.0.below))
    }
}

fn offloaded() -> Error {
    Error::Invalid("this parameter is offloaded to meta; activate its adapter first".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn indices_stay_integers_and_within_their_range() {
        let cpu = Device::Cpu;
        let p =
            Param::indices(&[2, 2], DType::I32, &cpu, [3, 5], || Ok(Array::new(&[[0i64, 2], [4, 0]], &Device::Cpu)?));
        p.settle().unwrap();
        assert_eq!(p.dtype(), DType::I32);
        p.set_requires_grad(true);
        assert!(!p.requires_grad());
        p.set(&Array::new(&[[1i64, 1], [4, 3]], &cpu).unwrap()).unwrap();
        p.set(&Array::new(&[[1f32, 2.], [4., 3.]], &cpu).unwrap()).unwrap();
        let fails = |a: Array| p.set(&a).unwrap_err().to_string();
        assert_eq!(fails(Array::new(&[[3i64, 1], [4, 3]], &cpu).unwrap()), "the index 3 is not in 0..3");
        assert_eq!(fails(Array::new(&[[0i64, 1], [4, -1]], &cpu).unwrap()), "the index -1 is not in 0..5");
        assert_eq!(fails(Array::new(&[[0f32, 1.5], [4., 1.]], &cpu).unwrap()), "1.5 is no integer");
        assert_eq!(p.array().unwrap().to_vec2::<i32>().unwrap(), [[1, 2], [4, 3]]);
    }

    #[test]
    fn a_pending_value_is_made_once_by_settling_and_never_when_another_is_set() {
        let made = Arc::new(AtomicUsize::new(0));
        let cpu = Device::Cpu;
        let pending = |made: &Arc<AtomicUsize>| {
            let made = made.clone();
            Param::pending(&[2], DType::F32, &cpu, true, move || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok(Array::new(&[1f64, 2.], &Device::Cpu)?)
            })
        };
        let p = pending(&made);
        assert_eq!((p.shape(), p.dtype(), p.requires_grad()), (vec![2], DType::F32, true));
        p.take(&Array::new(&[5f32, 6.], &cpu).unwrap()).unwrap();
        p.settle().unwrap();
        assert_eq!(p.array().unwrap().to_vec1::<f32>().unwrap(), [5., 6.]);
        assert_eq!(made.load(Ordering::Relaxed), 0);
        let p = pending(&made);
        p.settle().unwrap();
        p.settle().unwrap();
        assert_eq!(p.array().unwrap().to_vec1::<f32>().unwrap(), [1., 2.]);
        assert_eq!(made.load(Ordering::Relaxed), 1);
        let wrong = Param::pending(&[3], DType::F32, &cpu, true, || Ok(Array::new(&[1f32], &Device::Cpu)?));
        assert_eq!(wrong.settle().unwrap_err().code(), "ERR_SHAPE");
    }
}
