//! Whether values are finite.

use super::host::host;
use super::precision::prepared;
use super::real::{dispatch, Real};
use super::simd::simd;
use crate::array::Array;
use crate::Result;
use candle_core::Device;

/// Whether no element is NaN or infinite; integers are.
pub fn all_finite(x: &Array) -> Result<bool> {
    if x.dtype().is_int() {
        return Ok(true);
    }
    let x = prepared(&x.to_device(&Device::Cpu)?)?;
    // Zero times a finite number is zero, times another NaN; the lanes let this vectorise.
    fn zeros<T: Real>(x: &[T]) -> bool {
        simd(
            #[inline(always)]
            || {
                let mut lanes = [T::ZERO; 16];
                let chunks = x.chunks_exact(16);
                let rest = chunks.remainder();
                for chunk in chunks {
                    for (lane, &v) in lanes.iter_mut().zip(chunk) {
                        *lane += v * T::ZERO;
                    }
                }
                lanes.into_iter().chain(rest.iter().map(|&v| v * T::ZERO)).all(|v| v == T::ZERO)
            },
        )
    }
    Ok(dispatch!(x.dtype(), T => zeros::<T>(&host::<T>(&x))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;

    #[test]
    fn one_value_that_is_not_finite_is_found_wherever_it_is() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 15, 16, 36] {
                let mut values = vec![f32::MAX; 37];
                let array = |v: &[f32]| Array::new(v, &Device::Cpu).unwrap();
                assert!(all_finite(&array(&values)).unwrap());
                values[at] = bad;
                assert!(!all_finite(&array(&values)).unwrap());
                assert!(!all_finite(&array(&values).to_dtype(DType::BF16).unwrap()).unwrap());
            }
        }
        assert!(all_finite(&Array::new(&[1i64, 2], &Device::Cpu).unwrap()).unwrap());
    }
}
