//! Products of few rows with a large weight: decoding, where packing the weight as a matrix product does costs more than the
//! product.

use super::mat::Mat;
use super::parallel::Shared;
use super::real::Real;
use super::simd::arch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::any::TypeId;
use std::ops::Range;

/// Rows of `a` up to which this is faster than a blocked product.
pub(super) const MAX_ROWS: usize = 24;
/// Shorter sums are not worth the vectors.
const MIN_DEPTH: usize = 64;
/// Rows of `a`, and columns of `b`, whose sums are kept in registers.
const ROWS: usize = 4;
const COLUMNS: usize = 2;

/// Whether [`thin`] takes these operands: f32, few rows, and both sums run over contiguous memory.
pub(super) fn is_thin<T: Real>(
    (m, n, k): (usize, usize, usize),
    a: &Mat<*const T>,
    b: &Mat<*const T>,
    c: &Mat<*mut T>,
) -> bool {
    let sizes = (1..=MAX_ROWS).contains(&m) && k >= MIN_DEPTH && m * 8 <= n;
    sizes && a.col == 1 && b.row == 1 && c.col == 1 && TypeId::of::<T>() == TypeId::of::<f32>()
}

/// `c = beta · c + alpha · a · b`, each element summed in one order, whatever the number of threads.
///
/// # Safety
/// As for [`super::gemm::gemm`]; [`is_thin`] holds.
pub(super) unsafe fn thin<T: Real>(
    (m, n, k): (usize, usize, usize),
    c: Mat<*mut T>,
    beta: T,
    a: Mat<*const T>,
    b: Mat<*const T>,
    alpha: T,
    parallel: bool,
) {
    let product = Product {
        rows: m,
        depth: k,
        a: (Shared(a.ptr.cast_mut().cast()), a.row),
        b: (Shared(b.ptr.cast_mut().cast()), b.col),
        c: (Shared(c.ptr.cast()), c.row),
        alpha: alpha.wide() as f32,
        beta: beta.wide() as f32,
        columns: 0..n,
    };
    let arch = arch();
    if !parallel || m * n * k < 1 << 16 {
        return arch.dispatch(product);
    }
    // Some 64 KiB of weights each; even, so that tiles do not straddle tasks.
    let width = ((1 << 13) / k).max(1) * COLUMNS;
    (0..n.div_ceil(width)).into_par_iter().for_each(|t| {
        arch.dispatch(Product { columns: t * width..((t + 1) * width).min(n), ..product.clone() });
    });
}

/// Some columns of a product. Pointers go with the stride between rows (`a`, `c`) or columns (`b`).
#[derive(Clone)]
struct Product {
    rows: usize,
    depth: usize,
    a: (Shared<f32>, isize),
    b: (Shared<f32>, isize),
    c: (Shared<f32>, isize),
    alpha: f32,
    beta: f32,
    columns: Range<usize>,
}

impl Product {
    /// `depth` contiguous elements of `a` or `b`.
    #[inline(always)]
    fn line(&self, (from, stride): &(Shared<f32>, isize), i: usize) -> &[f32] {
        // SAFETY: the caller of `thin` vouches for the memory; i is below the number of lines.
        unsafe { std::slice::from_raw_parts(from.ptr().offset(i as isize * stride), self.depth) }
    }
}

impl WithSimd for Product {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut j = self.columns.start;
        while j < self.columns.end {
            // The last tile repeats its last line; what that gives is not stored.
            let width = COLUMNS.min(self.columns.end - j);
            let b = [self.line(&self.b, j), self.line(&self.b, j + width - 1)];
            let mut i = 0;
            while i < self.rows {
                let height = ROWS.min(self.rows - i);
                let row = |r: usize| self.line(&self.a, i + r.min(height - 1));
                let sums = if height == 1 {
                    let [sums] = tile(simd, [row(0)], b);
                    [sums; ROWS]
                } else {
                    tile(simd, [row(0), row(1), row(2), row(3)], b)
                };
                for (r, sums) in sums.iter().enumerate().take(height) {
                    for (s, &sum) in sums.iter().enumerate().take(width) {
                        // SAFETY: element (i + r, j + s) of `c`, which no other task writes.
                        unsafe {
                            let at = self.c.0.ptr().offset((i + r) as isize * self.c.1 + (j + s) as isize);
                            let before = if self.beta == 0. { 0. } else { self.beta * *at };
                            *at = before + self.alpha * sum;
                        }
                    }
                }
                i += ROWS;
            }
            j += COLUMNS;
        }
    }
}

/// The sums of `R` rows with two columns.
#[inline(always)]
fn tile<S: Simd, const R: usize>(simd: S, a: [&[f32]; R], b: [&[f32]; COLUMNS]) -> [[f32; COLUMNS]; R] {
    let mut sums = [[simd.splat_f32s(0.); COLUMNS]; R];
    let (b0, rest0) = S::as_simd_f32s(b[0]);
    let (b1, rest1) = S::as_simd_f32s(b[1]);
    let rows = a.map(|a| S::as_simd_f32s(a).0);
    for at in 0..b0.len() {
        let (b0, b1) = (b0[at], b1[at]);
        for r in 0..R {
            let a = rows[r][at];
            sums[r][0] = simd.mul_add_f32s(a, b0, sums[r][0]);
            sums[r][1] = simd.mul_add_f32s(a, b1, sums[r][1]);
        }
    }
    let tail = b[0].len() - rest0.len();
    let mut out = [[0.; COLUMNS]; R];
    for r in 0..R {
        for (s, rest) in [rest0, rest1].into_iter().enumerate() {
            out[r][s] = simd.reduce_sum_f32s(sums[r][s]);
            for (x, y) in a[r][tail..].iter().zip(rest) {
                out[r][s] += x * y;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::ops::gemm::gemm;
    use crate::ops::mat::{mat, mat_mut};

    #[test]
    fn equals_the_blocked_product_for_all_remainders() {
        for (m, n, k) in [
            (1, 9, 64),
            (2, 17, 65),
            (3, 40, 79),
            (4, 33, 128),
            (5, 41, 100),
            (7, 57, 500),
            (13, 105, 67),
            (24, 193, 64),
        ] {
            let value = |seed: usize| move |i: usize| (((i * 7919 + seed) % 1009) as f32 / 504.) - 1.;
            let a: Vec<f32> = (0..m * k).map(value(1)).collect();
            let w: Vec<f32> = (0..n * k).map(value(5)).collect();
            for (alpha, beta) in [(1., 0.), (0.5, 1.), (2., -1.)] {
                let mut c: Vec<f32> = (0..m * n).map(value(9)).collect();
                let expected: Vec<f32> = (0..m * n)
                    .map(|at| {
                        let (i, j) = (at / n, at % n);
                        let sum: f64 = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(w[j * k + l])).sum();
                        beta * c[at] + alpha * sum as f32
                    })
                    .collect();
                // SAFETY: the sizes are those of the vectors.
                unsafe { gemm((m, n, k), mat_mut(&mut c, n), beta, mat(&a, k), mat(&w, k).t(), alpha, true) };
                for (found, wanted) in c.iter().zip(&expected) {
                    assert!((found - wanted).abs() < 1e-4, "{m} {n} {k}: {found} for {wanted}");
                }
            }
        }
    }
}
