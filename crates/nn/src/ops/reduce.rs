//! Maxima and sums over slices.

use super::real::{num, Real};

/// The largest element, -inf of none; NaN is passed over.
#[inline(always)]
pub(crate) fn row_max<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::NEG_INFINITY; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = num::Float::max(v, *lane);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(T::NEG_INFINITY, |m, v| num::Float::max(v, m))
}

/// Sum over rows: `[rows, cols]` → `[cols]`.
pub(crate) fn column_sums<T: Real>(x: &[T], cols: usize) -> Vec<T> {
    let mut sums = vec![T::ZERO; cols];
    for row in x.chunks_exact(cols.max(1)) {
        for (s, &v) in sums.iter_mut().zip(row) {
            *s += v;
        }
    }
    sums
}
