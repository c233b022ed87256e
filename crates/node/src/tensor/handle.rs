//! A handle on a tensor: made, read out, given back.

use super::dtype::{device_name, dtype_name, parse_device, parse_dtype};
use super::shape::{checked_count, shape};
use super::values::{values, Values};
use crate::error::guard;
use crate::job::job;
use candle_core::Device;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use swift_tuners_nn::{memory, Array, Error, Result, Tensor};

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

impl NativeTensor {
    pub fn get(&self) -> Result<Tensor> {
        self.inner.lock().clone().ok_or(Error::Disposed("tensor"))
    }
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
            let (dtype, device) = (parse_dtype(&dtype)?, parse_device(&device)?);
            memory::require(memory::bytes_of(&shape, dtype.size_in_bytes())?)?;
            Ok(Array::zeros(shape, dtype, &device)?.into())
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
}
