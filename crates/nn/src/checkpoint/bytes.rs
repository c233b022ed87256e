//! The bytes of an array.

use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device, Storage, WithDType};

/// The values in row-major order, little-endian.
pub(crate) fn bytes(array: &Array) -> Result<Vec<u8>> {
    macro_rules! collect {
        ($t:ty) => {{
            let flat = flat(array)?;
            let (storage, layout) = flat.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else { unreachable!("moved to the CPU by flat()") };
            let all = <$t>::cpu_storage_as_slice(storage)?;
            let values = &all[layout.start_offset()..layout.start_offset() + layout.shape().elem_count()];
            if cfg!(target_endian = "little") {
                // SAFETY: these are plain numbers without padding; as bytes they are valid, and as long as the slice lives.
                unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }.to_vec()
            } else {
                values.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
        }};
    }
    Ok(match array.dtype() {
        DType::F64 => collect!(f64),
        DType::F32 => collect!(f32),
        DType::F16 => collect!(half::f16),
        DType::BF16 => collect!(half::bf16),
        DType::I64 => collect!(i64),
        DType::I32 => collect!(i32),
        DType::I16 => collect!(i16),
        DType::U32 => collect!(u32),
        DType::U8 => collect!(u8),
        other => return Err(Error::Argument(format!("{other:?} cannot be stored"))),
    })
}

/// Contiguous, on the CPU.
fn flat(array: &Array) -> Result<Array> {
    Ok(array.to_device(&Device::Cpu)?.flatten_all()?.contiguous()?)
}
