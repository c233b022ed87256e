//! What comes into a kernel is widened to the type that it computes in; what goes out is rounded once.

use super::host::{host, uninit};
use super::parallel::GRAIN;
use super::simd::simd;
use crate::array::Array;
use crate::Result;
use candle_core::{DType, Device, WithDType};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// The type that a kernel computes `dtype` in: f64 stays, everything else is f32.
pub fn compute_dtype(dtype: DType) -> DType {
    if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}

/// Contiguous and in the compute type.
pub(crate) fn prepared(x: &Array) -> Result<Array> {
    if matches!(x.dtype(), DType::BF16 | DType::F16) && x.device().is_cpu() {
        let x = x.contiguous()?;
        let mut out = uninit::<f32>(x.elem_count());
        out.par_chunks_mut(GRAIN).enumerate().for_each(|(i, out)| widen(&x, i * GRAIN, out));
        return Ok(Array::from_vec(out, x.dims(), &Device::Cpu)?);
    }
    Ok(x.to_dtype(compute_dtype(x.dtype()))?.contiguous()?)
}

/// The elements of a contiguous bf16 or f16 array from `start` on, as many as `out` has.
pub(crate) fn widen(x: &Array, start: usize, out: &mut [f32]) {
    let span = start..start + out.len();
    if x.dtype() == DType::F16 {
        return host::<half::f16>(x)[span].convert_to_f32_slice(out);
    }
    let x = &host::<half::bf16>(x)[span];
    simd(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(x) {
                // A bf16 is the upper half of an f32.
                *out = f32::from_bits(u32::from(x.to_bits()) << 16);
            }
        },
    );
}

/// Rounds to the nearest bf16, to the even one at the middle; NaN stays NaN.
fn round_bf16(x: &[f32], out: &mut [half::bf16]) {
    simd(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(x) {
                let bits = x.to_bits();
                // Wrapping: only NaN could overflow.
                let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
                let quiet = (bits >> 16) | 0x40;
                let nan = bits & 0x7fff_ffff > 0x7f80_0000;
                *out = half::bf16::from_bits(if nan { quiet } else { rounded } as u16);
            }
        },
    );
}

/// A CPU array of the compute type, rounded to `dtype`.
pub(crate) fn finish<T: WithDType>(values: Vec<T>, shape: &[usize], dtype: DType) -> Result<Array> {
    if T::DTYPE == DType::F32 && matches!(dtype, DType::BF16 | DType::F16) {
        // SAFETY: T is f32.
        let values = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<f32>(), values.len()) };
        fn rounded<H: WithDType + Default>(
            values: &[f32],
            shape: &[usize],
            round: impl Fn(&[f32], &mut [H]) + Sync,
        ) -> Result<Array> {
            let mut out = vec![H::default(); values.len()];
            out.par_chunks_mut(GRAIN).zip(values.par_chunks(GRAIN)).for_each(|(out, x)| round(x, out));
            Ok(Array::from_vec(out, shape, &Device::Cpu)?)
        }
        return match dtype {
            DType::BF16 => rounded(values, shape, round_bf16),
            _ => rounded(values, shape, |x, out: &mut [half::f16]| out.convert_from_f32_slice(x)),
        };
    }
    Ok(Array::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_types_are_converted_as_candle_converts_them() {
        let mut bits: Vec<u32> = (0..300_000u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
        bits.extend([
            0,
            0x8000_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            0x7f80_0001,
            0x3f80_8000,
            0x3f81_8000,
            0x7f7f_ffff,
        ]);
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let n = values.len();
        for dtype in [DType::BF16, DType::F16] {
            let expected = Array::from_slice(&values, n, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let found = finish(values.clone(), &[n], dtype).unwrap();
            let same = |a: &Array, b: &Array| {
                let wide = |x: &Array| x.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
                wide(a).iter().zip(&wide(b)).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
            };
            assert!(same(&found, &expected));
            assert!(same(&prepared(&expected).unwrap(), &expected));
        }
    }
}
