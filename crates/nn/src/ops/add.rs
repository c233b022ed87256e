//! Sums of two arrays.

use super::host::{host, uninit};
use super::parallel::GRAIN;
use super::simd::simd;
use crate::array::Array;
use candle_core::{DType, Device};
use rayon::prelude::*;

/// `a + b`, in parallel for f32 arrays of one shape on the CPU.
///
/// candle's own elementwise operations wake a second, spinning thread pool beside rayon's.
pub(crate) fn add_arrays(a: &Array, b: &Array) -> candle_core::Result<Array> {
    let plain = |x: &Array| x.dtype() == DType::F32 && x.device().is_cpu() && x.is_contiguous();
    if a.dims() != b.dims() || !plain(a) || !plain(b) {
        return a.broadcast_add(b);
    }
    let mut out = uninit::<f32>(a.elem_count());
    {
        let (a, b) = (host::<f32>(a), host::<f32>(b));
        let (a, b): (&[f32], &[f32]) = (&a, &b);
        out.par_chunks_mut(GRAIN).zip(a.par_chunks(GRAIN)).zip(b.par_chunks(GRAIN)).for_each(|((out, a), b)| {
            simd(
                #[inline(always)]
                || {
                    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                        *out = a + b;
                    }
                },
            );
        });
    }
    Array::from_vec(out, a.dims(), &Device::Cpu)
}
