//! The general matrix product.

use super::mat::Mat;
use super::real::Real;
use super::thin;

/// `c = beta · c + alpha · a · b`, with `a [m, k]`, `b [k, n]`, `c [m, n]`.
///
/// # Safety
/// The matrices must lie inside live memory, and nobody else may access `c` meanwhile.
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn gemm<T: Real>(
    (m, n, k): (usize, usize, usize),
    c: Mat<*mut T>,
    beta: T,
    a: Mat<*const T>,
    b: Mat<*const T>,
    alpha: T,
    parallel: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    if thin::is_thin((m, n, k), &a, &b, &c) {
        return thin::thin((m, n, k), c, beta, a, b, alpha, parallel);
    }
    // Below this many multiplications the fork costs more than it gains.
    let parallelism = if parallel && m * n * k >= 1 << 18 {
        gemm::Parallelism::Rayon(rayon::current_num_threads())
    } else {
        gemm::Parallelism::None
    };
    gemm::gemm(
        m,
        n,
        k,
        c.ptr,
        c.col,
        c.row,
        beta != T::ZERO,
        a.ptr,
        a.col,
        a.row,
        b.ptr,
        b.col,
        b.row,
        beta,
        alpha,
        false,
        false,
        false,
        parallelism,
    );
}
