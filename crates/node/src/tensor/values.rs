//! Values as JavaScript reads them.

use candle_core::{DType, Device};
use napi::bindgen_prelude::*;
use swift_tuners_nn::{Result, Tensor};

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

pub fn values(t: &Tensor) -> Result<Values> {
    let flat = t.data().to_device(&Device::Cpu)?.flatten_all()?;
    Ok(match flat.dtype() {
        DType::F64 => Values::F64(flat.to_vec1()?),
        DType::I64 => Values::I64(flat.to_vec1()?),
        DType::U32 => Values::U32(flat.to_vec1()?),
        DType::U8 => Values::U8(flat.to_vec1()?),
        _ => Values::F32(flat.to_dtype(DType::F32)?.to_vec1()?),
    })
}
