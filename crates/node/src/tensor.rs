//! `Tensor`'s native half.

use crate::error::guard;
use crate::job::job;
use candle_core::{DType, Device};
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Array, Error, Result, Tensor};

/// A handle on a tensor; `dispose` drops the tensor before the garbage collector does.
#[napi(custom_finalize)]
pub struct NativeTensor {
    inner: Mutex<Option<Tensor>>,
    /// Bytes that the garbage collector was told about.
    reported: Mutex<i64>,
}

impl ObjectFinalize for NativeTensor {
    fn finalize(self, env: Env) -> napi::Result<()> {
        let bytes = std::mem::take(&mut *self.reported.lock());
        if bytes != 0 {
            env.adjust_external_memory(-bytes)?;
        }
        Ok(())
    }
}

impl From<Tensor> for NativeTensor {
    fn from(t: Tensor) -> Self {
        Self { inner: Mutex::new(Some(t)), reported: Mutex::new(0) }
    }
}

impl From<Array> for NativeTensor {
    fn from(t: Array) -> Self {
        Tensor::from(t).into()
    }
}

pub fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "f64",
        DType::F32 => "f32",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::I64 => "i64",
        DType::U32 => "u32",
        DType::U8 => "u8",
        _ => "other",
    }
}

pub fn parse_dtype(name: &str) -> Result<DType> {
    Ok(match name {
        "f64" => DType::F64,
        "f32" => DType::F32,
        "f16" => DType::F16,
        "bf16" => DType::BF16,
        "i64" => DType::I64,
        "u32" => DType::U32,
        "u8" => DType::U8,
        other => return Err(Error::config("dtype", format!("unknown dtype {:?}", printable(other, 40)))),
    })
}

pub fn device_name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        _ => "cpu".into(),
    }
}

pub fn parse_device(name: &str) -> Result<Device> {
    let failed = |message: String| Error::Device { device: printable(name, 40), message };
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let index = match name.strip_prefix("cuda") {
        Some("") => 0,
        Some(rest) => rest
            .strip_prefix(':')
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| failed("expected cpu, cuda or cuda:N".into()))?,
        None => return Err(failed("expected cpu, cuda or cuda:N".into())),
    };
    // One handle per GPU: candle tells devices apart by handle, and tensors of two handles do not mix.
    static OPEN: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());
    let mut open = OPEN.lock();
    if let Some((_, device)) = open.iter().find(|(i, _)| *i == index) {
        return Ok(device.clone());
    }
    let device =
        Device::new_cuda(index).map_err(|e| failed(format!("not available ({})", printable(&e.to_string(), 200))))?;
    open.push((index, device.clone()));
    Ok(device)
}

fn shape(dims: &[f64]) -> Result<Vec<usize>> {
    dims.iter()
        .map(|&d| {
            if d >= 0. && d.fract() == 0. && d <= 9e15 {
                Ok(d as usize)
            } else {
                Err(Error::Argument(format!("a shape holds {d}")))
            }
        })
        .collect()
}

fn checked_count(shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= 1 << 40);
    count.ok_or_else(|| Error::Argument(format!("a tensor of shape {shape:?} is too large")))
}

fn make<T: candle_core::WithDType>(
    values: Vec<T>,
    dims: &[f64],
    dtype: Option<String>,
    device: Option<String>,
) -> napi::Result<NativeTensor> {
    guard(|| {
        let shape = shape(dims)?;
        if checked_count(&shape)? != values.len() {
            return Err(Error::Shape { path: "tensor data".into(), expected: shape, actual: vec![values.len()] });
        }
        let mut array = Array::from_vec(values, shape, &Device::Cpu)?;
        if let Some(dtype) = dtype {
            array = array.to_dtype(parse_dtype(&dtype)?)?;
        }
        if let Some(device) = device {
            array = array.to_device(&parse_device(&device)?)?;
        }
        Ok(array.into())
    })
}

/// Two operands: tensors of any broadcastable shapes. Half types widen to the other's type, as PyTorch promotes.
fn promoted(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let rank = |d: DType| match d {
        DType::U8 => 0,
        DType::U32 => 1,
        DType::I64 => 2,
        DType::F16 => 3,
        DType::BF16 => 4,
        DType::F32 => 5,
        _ => 6,
    };
    let (x, y) = (a.dtype(), b.dtype());
    let wide = match (x, y) {
        (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => DType::F32,
        _ if rank(x) >= rank(y) => x,
        _ => y,
    };
    Ok((a.to_dtype(wide)?, b.to_dtype(wide)?))
}

#[napi]
impl NativeTensor {
    #[napi(factory)]
    pub fn from_f32(
        data: Float32Array,
        shape: Vec<f64>,
        dtype: Option<String>,
        device: Option<String>,
    ) -> napi::Result<Self> {
        make(data.to_vec(), &shape, dtype, device)
    }

    #[napi(factory)]
    pub fn from_f64(
        data: Float64Array,
        shape: Vec<f64>,
        dtype: Option<String>,
        device: Option<String>,
    ) -> napi::Result<Self> {
        make(data.to_vec(), &shape, dtype, device)
    }

    #[napi(factory)]
    pub fn from_i64(
        data: BigInt64Array,
        shape: Vec<f64>,
        dtype: Option<String>,
        device: Option<String>,
    ) -> napi::Result<Self> {
        make(data.to_vec(), &shape, dtype, device)
    }

    #[napi(factory)]
    pub fn from_i32(
        data: Int32Array,
        shape: Vec<f64>,
        dtype: Option<String>,
        device: Option<String>,
    ) -> napi::Result<Self> {
        make(data.iter().map(|&v| i64::from(v)).collect(), &shape, dtype, device)
    }

    #[napi(factory)]
    pub fn from_u32(
        data: Uint32Array,
        shape: Vec<f64>,
        dtype: Option<String>,
        device: Option<String>,
    ) -> napi::Result<Self> {
        make(data.to_vec(), &shape, dtype, device)
    }

    #[napi(factory)]
    pub fn from_u8(
        data: Uint8Array,
        shape: Vec<f64>,
        dtype: Option<String>,
        device: Option<String>,
    ) -> napi::Result<Self> {
        make(data.to_vec(), &shape, dtype, device)
    }

    #[napi(factory)]
    pub fn zeros(dims: Vec<f64>, dtype: String, device: String) -> napi::Result<Self> {
        guard(|| {
            let shape = shape(&dims)?;
            checked_count(&shape)?;
            Ok(Array::zeros(shape, parse_dtype(&dtype)?, &parse_device(&device)?)?.into())
        })
    }

    pub fn get(&self) -> Result<Tensor> {
        self.inner.lock().clone().ok_or(Error::Disposed("tensor"))
    }

    fn map(&self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> napi::Result<Self> {
        guard(|| Ok(f(&self.get()?)?.into()))
    }

    fn map2(&self, other: &NativeTensor, f: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>) -> napi::Result<Self> {
        guard(|| {
            let (a, b) = promoted(&self.get()?, &other.get()?)?;
            Ok(f(&a, &b)?.into())
        })
    }

    /// Tells the garbage collector how much memory this handle holds.
    #[napi]
    pub fn report_memory(&self, env: Env) -> napi::Result<()> {
        let mut reported = self.reported.lock();
        if let (0, Some(t)) = (*reported, &*self.inner.lock()) {
            let bytes = (t.data().elem_count() * t.dtype().size_in_bytes()) as i64;
            env.adjust_external_memory(bytes)?;
            *reported = bytes;
        }
        Ok(())
    }

    #[napi(getter)]
    pub fn shape(&self) -> napi::Result<Vec<u32>> {
        guard(|| Ok(self.get()?.dims().iter().map(|&d| d as u32).collect()))
    }

    #[napi(getter)]
    pub fn dtype(&self) -> napi::Result<&'static str> {
        guard(|| Ok(dtype_name(self.get()?.dtype())))
    }

    #[napi(getter)]
    pub fn device(&self) -> napi::Result<String> {
        guard(|| Ok(device_name(self.get()?.device())))
    }

    #[napi(getter)]
    pub fn requires_grad(&self) -> napi::Result<bool> {
        guard(|| Ok(self.get()?.is_tracked()))
    }

    #[napi(ts_return_type = "Float32Array | Float64Array | BigInt64Array | Uint32Array | Uint8Array")]
    pub fn data_sync(&self) -> napi::Result<Values> {
        guard(|| values(&self.get()?))
    }

    #[napi(ts_return_type = "Promise<Float32Array | Float64Array | BigInt64Array | Uint32Array | Uint8Array>")]
    pub fn data<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let t = guard(|| self.get())?;
        job(env, move || values(&t))
    }

    #[napi]
    pub fn item(&self) -> napi::Result<f64> {
        guard(|| {
            let t = self.get()?;
            if t.data().elem_count() != 1 {
                return Err(Error::Argument(format!("item() needs one element; this tensor has shape {:?}", t.dims())));
            }
            t.to_scalar_f64()
        })
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn backward<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let t = guard(|| self.get())?;
        job(env, move || t.backward())
    }

    #[napi]
    pub fn dispose(&self, env: Env) -> napi::Result<()> {
        *self.inner.lock() = None;
        let bytes = std::mem::take(&mut *self.reported.lock());
        if bytes != 0 {
            env.adjust_external_memory(-bytes)?;
        }
        Ok(())
    }

    #[napi]
    pub fn add(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::add)
    }
    #[napi]
    pub fn sub(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::sub)
    }
    #[napi]
    pub fn mul(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::mul)
    }
    #[napi]
    pub fn div(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::div)
    }
    #[napi]
    pub fn matmul(&self, other: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map2(other, Tensor::matmul)
    }
    #[napi]
    pub fn affine(&self, scale: f64, shift: f64) -> napi::Result<NativeTensor> {
        self.map(|t| t.affine(scale, shift))
    }

    /// `neg`, `sqr`, `sqrt`, `exp`, `log`, `tanh`, `sigmoid`, `relu`, `gelu`, `silu`, `abs`.
    #[napi]
    pub fn unary(&self, name: String) -> napi::Result<NativeTensor> {
        self.map(|t| match name.as_str() {
            "neg" => t.neg(),
            "sqr" => t.sqr(),
            "sqrt" => t.sqrt(),
            "exp" => t.exp(),
            "log" => t.log(),
            "tanh" => t.tanh(),
            "sigmoid" => t.sigmoid(),
            "relu" => t.relu(),
            "gelu" => t.gelu(),
            "silu" => t.silu(),
            "abs" => t.abs(),
            other => Err(Error::Argument(format!("unknown operation {:?}", printable(other, 40)))),
        })
    }

    #[napi]
    pub fn transpose(&self, d0: i32, d1: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.transpose(d0 as isize, d1 as isize))
    }

    /// One size may be -1: it is what is left.
    #[napi]
    pub fn reshape(&self, dims: Vec<f64>) -> napi::Result<NativeTensor> {
        self.map(|t| {
            let count = t.data().elem_count();
            let known: Vec<f64> = dims.iter().copied().filter(|&d| d != -1.).collect();
            let rest = checked_count(&shape(&known)?)?;
            let fill = count.checked_div(rest).unwrap_or(0);
            let full: Vec<usize> = dims.iter().map(|&d| if d == -1. { fill } else { d as usize }).collect();
            if dims.len() - known.len() > 1 || checked_count(&full)? != count {
                return Err(Error::Argument(format!("reshape: {:?} does not hold {count} elements", dims)));
            }
            t.reshape(full)
        })
    }

    #[napi]
    pub fn unsqueeze(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.unsqueeze(dim as isize))
    }
    #[napi]
    pub fn squeeze(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.squeeze(dim as isize))
    }
    #[napi]
    pub fn narrow(&self, dim: i32, start: u32, length: u32) -> napi::Result<NativeTensor> {
        self.map(|t| t.narrow(dim as isize, start as usize, length as usize))
    }
    #[napi]
    pub fn index_select(&self, dim: i32, index: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map(|t| {
            let index = checked_index(index, t, dim)?;
            if index.rank() != 1 {
                return Err(Error::Argument(format!("indexSelect: the index has shape {:?}", index.dims())));
            }
            t.index_select(&index, dim as isize)
        })
    }
    #[napi]
    pub fn gather(&self, dim: i32, index: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map(|t| t.gather(&checked_index(index, t, dim)?, dim as isize))
    }
    #[napi]
    pub fn sum(&self, dims: Option<Vec<i32>>, keep_dim: bool) -> napi::Result<NativeTensor> {
        self.map(|t| t.sum(axes(&dims).as_deref(), keep_dim))
    }
    #[napi]
    pub fn mean(&self, dims: Option<Vec<i32>>, keep_dim: bool) -> napi::Result<NativeTensor> {
        self.map(|t| t.mean(axes(&dims).as_deref(), keep_dim))
    }
    #[napi]
    pub fn max(&self, dim: i32, keep_dim: bool) -> napi::Result<NativeTensor> {
        self.map(|t| t.max(dim as isize, keep_dim))
    }
    #[napi]
    pub fn argmax(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| Ok(t.argmax(dim as isize)?.to_dtype(DType::I64)?.into()))
    }
    #[napi]
    pub fn softmax(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.softmax(dim as isize))
    }
    #[napi]
    pub fn log_softmax(&self, dim: i32) -> napi::Result<NativeTensor> {
        self.map(|t| t.log_softmax(dim as isize))
    }
    /// Mean over the labels that are not -100.
    #[napi]
    pub fn cross_entropy(&self, labels: &NativeTensor) -> napi::Result<NativeTensor> {
        self.map(|t| {
            let labels = labels.get()?.into_data().to_dtype(DType::I64)?.to_device(&Device::Cpu)?.flatten_all()?;
            swift_tuners_nn::ops::cross_entropy(t, &labels.to_vec1::<i64>()?)
        })
    }
    #[napi]
    pub fn to_dtype(&self, dtype: String) -> napi::Result<NativeTensor> {
        self.map(|t| t.to_dtype(parse_dtype(&dtype)?))
    }
    #[napi]
    pub fn to_device(&self, device: String) -> napi::Result<NativeTensor> {
        self.map(|t| t.to_device(&parse_device(&device)?))
    }
    #[napi]
    pub fn detach(&self) -> napi::Result<NativeTensor> {
        self.map(|t| Ok(t.detach()))
    }
}

fn axes(dims: &Option<Vec<i32>>) -> Option<Vec<isize>> {
    dims.as_ref().map(|d| d.iter().map(|&x| x as isize).collect())
}

/// Indices as u32, each within the dimension: candle would read past the end.
fn checked_index(index: &NativeTensor, t: &Tensor, dim: i32) -> Result<Array> {
    let rank = t.rank() as i32;
    let at = if dim < 0 { dim + rank } else { dim };
    if at < 0 || at >= rank {
        return Err(Error::Argument(format!("dimension {dim} is out of range for a tensor of rank {rank}")));
    }
    let size = t.dim(at as usize) as i64;
    let index = index.get()?.into_data().to_dtype(DType::I64)?.to_device(&Device::Cpu)?;
    let values: Vec<i64> = index.flatten_all()?.to_vec1()?;
    if let Some(bad) = values.iter().find(|&&i| i < 0 || i >= size) {
        return Err(Error::Argument(format!("index {bad} is out of range for a dimension of {size}")));
    }
    let values: Vec<u32> = values.into_iter().map(|i| i as u32).collect();
    Ok(Array::from_vec(values, index.dims(), t.device())?)
}

/// Joins tensors one by one: napi hands over no lists of class instances.
#[napi]
pub struct NativeTensorList(Vec<Tensor>);

#[napi]
impl NativeTensorList {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    #[napi]
    pub fn push(&mut self, t: &NativeTensor) -> napi::Result<()> {
        self.0.push(guard(|| t.get())?);
        Ok(())
    }

    #[napi]
    pub fn cat(&self, dim: i32) -> napi::Result<NativeTensor> {
        guard(|| Ok(Tensor::cat(&self.0.iter().collect::<Vec<_>>(), dim as isize)?.into()))
    }

    #[napi]
    pub fn stack(&self, dim: i32) -> napi::Result<NativeTensor> {
        guard(|| Ok(Tensor::stack(&self.0.iter().collect::<Vec<_>>(), dim as isize)?.into()))
    }
}

/// A typed array of the tensor's values; 16-bit floats widen to f32.
pub enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    U32(Vec<u32>),
    U8(Vec<u8>),
}

impl ToNapiValue for Values {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        match value {
            Self::F32(v) => Float32Array::to_napi_value(env, v.into()),
            Self::F64(v) => Float64Array::to_napi_value(env, v.into()),
            Self::I64(v) => BigInt64Array::to_napi_value(env, v.into()),
            Self::U32(v) => Uint32Array::to_napi_value(env, v.into()),
            Self::U8(v) => Uint8Array::to_napi_value(env, v.into()),
        }
    }
}

fn values(t: &Tensor) -> Result<Values> {
    let flat = t.data().to_device(&Device::Cpu)?.flatten_all()?;
    Ok(match flat.dtype() {
        DType::F64 => Values::F64(flat.to_vec1()?),
        DType::I64 => Values::I64(flat.to_vec1()?),
        DType::U32 => Values::U32(flat.to_vec1()?),
        DType::U8 => Values::U8(flat.to_vec1()?),
        _ => Values::F32(flat.to_dtype(DType::F32)?.to_vec1()?),
    })
}
