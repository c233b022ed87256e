//! Other types and devices.

use super::Tensor;
use crate::Result;
use candle_core::{DType, Device};

impl Tensor {
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
}
