//! Differentiable kernels: one operation each, with its own backward pass.
//!
//! On the CPU a kernel works on the host slices of its inputs, in parallel, and saves no more than its backward pass
//! needs. On other devices the same function is composed of the tape's primitive operations ([`crate::tensor`]), whose
//! backward passes run on the device. Half-precision inputs are widened, computed in f32 and rounded once.

mod activation;
mod attention;
mod conv;
mod cross_entropy;
mod dropout;
mod embedding;
mod linear;
mod norm;
mod rope;
mod thin;
mod tiles;

pub use activation::{gated, Activation};
pub use attention::{attention, AttentionOptions, Mask};
pub use conv::{adaptive_avg_pool2d, conv2d, max_pool2d, upsample_nearest, Conv2dShape};
pub use cross_entropy::{cross_entropy, linear_cross_entropy};
pub use dropout::dropout;
pub use embedding::embedding;
pub use linear::{add_product, linear, lora_linear, updated_row_norms, LoraTerm, Weight, WeightLayout};
pub(crate) use norm::sum;
pub use norm::{group_norm, layer_norm, rms_norm};
pub use rope::{rope, RopeTable};

use crate::tensor::Array;
use crate::Result;
use candle_core::{CpuStorage, DType, Device, Storage, WithDType};
use half::slice::HalfFloatSliceExt;
use parking_lot::RwLockReadGuard;
use rayon::prelude::*;
use std::ops::Deref;

/// The element types that kernels compute in.
pub(crate) trait Real: WithDType + num::Float {
    /// `e^x` for `x ≤ 88`, within 2 units in the last place; vectorises.
    fn fast_exp(self) -> Self;
    /// `1 − erf(x)` for `x ≥ 0`, in f32 within 5e-7 + 2e-7 x² of its value; vectorises there.
    fn fast_erfc(self) -> Self;
}

/// The few float operations that kernels need, so that one source serves f32 and f64.
pub(crate) mod num {
    use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

    pub trait Float:
        Copy
        + Send
        + Sync
        + PartialOrd
        + 'static
        + Add<Output = Self>
        + Sub<Output = Self>
        + Mul<Output = Self>
        + Div<Output = Self>
        + Neg<Output = Self>
        + AddAssign
        + MulAssign
        + std::iter::Sum
    {
        const ZERO: Self;
        const ONE: Self;
        const NEG_INFINITY: Self;
        fn of(x: f64) -> Self;
        fn sqrt(self) -> Self;
        fn ln(self) -> Self;
        fn max(self, other: Self) -> Self;
        fn wide(self) -> f64;
    }

    macro_rules! float {
        ($t:ty) => {
            impl Float for $t {
                const ZERO: Self = 0.;
                const ONE: Self = 1.;
                const NEG_INFINITY: Self = <$t>::NEG_INFINITY;
                #[inline(always)]
                fn of(x: f64) -> Self {
                    x as $t
                }
                #[inline(always)]
                fn sqrt(self) -> Self {
                    <$t>::sqrt(self)
                }
                #[inline(always)]
                fn ln(self) -> Self {
                    <$t>::ln(self)
                }
                #[inline(always)]
                fn max(self, other: Self) -> Self {
                    if self > other {
                        self
                    } else {
                        other
                    }
                }
                #[inline(always)]
                fn wide(self) -> f64 {
                    self as f64
                }
            }
        };
    }
    float!(f32);
    float!(f64);
}

impl Real for f32 {
    #[inline(always)]
    fn fast_exp(self) -> Self {
        const ROUND: f32 = 12_582_912.; // 1.5 · 2²³: adding it rounds to the nearest integer
        let x = if self < -87.3 { -87.3 } else { self };
        let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        // The minimax polynomial of the Cephes library's expf.
        let q = 0.166_666_65 + r * (0.041_665_796 + r * (0.008_333_452 + r * (0.001_398_2 + r * 1.987_569_1e-4)));
        let p = (0.5 + r * q) * r * r + r + 1.0;
        // SAFETY: n is an integer in [-126, 128] by the clamp above and the caller's bound.
        let n = unsafe { n.to_int_unchecked::<i32>() };
        // Wrapping, as a check for overflow would keep the loop around this from being vectorised.
        let bits = n.wrapping_add(127).wrapping_shl(23);
        let y = p * f32::from_bits(bits as u32);
        if self < -87.3 {
            0.
        } else {
            y
        }
    }

    #[inline(always)]
    fn fast_erfc(self) -> Self {
        // The Chebyshev fit of Numerical Recipes (erfcc): t · exp(−x² + p(t)).
        const P: [f32; 10] = [
            0.170_872_77,
            -0.822_152_2,
            1.488_515_9,
            -1.135_204,
            0.278_868_08,
            -0.186_288_06,
            0.096_784_18,
            0.374_091_96,
            1.000_023_7,
            -1.265_512_2,
        ];
        let t = 1. / (1. + 0.5 * self);
        let mut p = P[0];
        for c in &P[1..] {
            p = p * t + c;
        }
        t * (p - self * self).fast_exp()
    }
}

impl Real for f64 {
    #[inline(always)]
    fn fast_exp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn fast_erfc(self) -> Self {
        candle_core::cpu::erf::erfc_f64(self)
    }
}

/// Runs the body with `$T` bound to the type that `$dtype` is computed in.
macro_rules! dispatch {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}
pub(crate) use dispatch;

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

/// Read access to a contiguous CPU array's elements.
pub(crate) struct Host<'a, T> {
    guard: RwLockReadGuard<'a, Storage>,
    start: usize,
    len: usize,
    element: std::marker::PhantomData<T>,
}

pub(crate) fn host<T: WithDType>(x: &Array) -> Host<'_, T> {
    let (guard, layout) = x.storage_and_layout();
    debug_assert!(layout.is_contiguous());
    Host { start: layout.start_offset(), len: layout.shape().elem_count(), guard, element: std::marker::PhantomData }
}

impl<T: WithDType> Deref for Host<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Storage::Cpu(storage) = &*self.guard else { unreachable!("host() is called on CPU arrays only") };
        let all: &[T] = storage_slice(storage);
        &all[self.start..self.start + self.len]
    }
}

fn storage_slice<T: WithDType>(storage: &CpuStorage) -> &[T] {
    T::cpu_storage_as_slice(storage).expect("the caller dispatched on the dtype")
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

/// Memory for results that a kernel writes in full before anybody reads it.
///
/// Skipping the zeroing pass matters: results are large and written once.
pub(crate) fn uninit<T: Real>(len: usize) -> Vec<T> {
    let mut v = Vec::with_capacity(len);
    // SAFETY: f32 and f64 have no invalid bit patterns that are undefined to overwrite, and every kernel below writes
    // all of its output before reading it.
    #[allow(clippy::uninit_vec)]
    unsafe {
        v.set_len(len)
    };
    v
}

/// A strided matrix inside a slice that the caller has checked.
#[derive(Clone, Copy)]
pub(crate) struct Mat<P> {
    pub ptr: P,
    pub row: isize,
    pub col: isize,
}

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

/// Row-major view.
pub(crate) fn mat<T>(x: &[T], cols: usize) -> Mat<*const T> {
    Mat { ptr: x.as_ptr(), row: cols as isize, col: 1 }
}

pub(crate) fn mat_mut<T>(x: &mut [T], cols: usize) -> Mat<*mut T> {
    Mat { ptr: x.as_mut_ptr(), row: cols as isize, col: 1 }
}

impl<P> Mat<P> {
    /// The transposed view.
    pub fn t(self) -> Self {
        Mat { ptr: self.ptr, row: self.col, col: self.row }
    }
}

/// A pointer that parallel tasks may share because each writes its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub *mut T);
// SAFETY: every use documents how the tasks' parts are disjoint.
unsafe impl<T> Send for Shared<T> {}
unsafe impl<T> Sync for Shared<T> {}
impl<T> Shared<T> {
    pub fn ptr(&self) -> *mut T {
        self.0
    }
}

/// Elements that one parallel task should have at least.
pub(crate) const GRAIN: usize = 1 << 14;

/// Rows per task so that a task has about [`GRAIN`] elements.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (GRAIN / width.max(1)).max(1)
}

/// Runs a loop compiled for the widest vector instructions that this machine has. The closure must be inlined, so what it
/// calls is `#[inline(always)]`.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    arch().dispatch(f)
}

/// The vector instructions of this machine, looked up once.
#[inline(always)]
fn arch() -> pulp::Arch {
    static ARCH: std::sync::OnceLock<pulp::Arch> = std::sync::OnceLock::new();
    *ARCH.get_or_init(pulp::Arch::new)
}

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

#[cfg(test)]
pub(crate) mod testing {
    //! Finite differences and comparison with a composed reference.

    // A list of one operand reads like the lists of several beside it.
    #![allow(clippy::cloned_ref_to_slice_refs)]

    use crate::tensor::{Array, GradSlot, Tensor};
    use crate::Result;
    use candle_core::{DType, Device};
    use std::sync::Arc;

    /// Deterministic values in (-1, 1) that are neither zero nor symmetric.
    pub fn values(shape: &[usize], seed: u64) -> Array {
        let n: usize = shape.iter().product();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let data: Vec<f64> = (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as f64 / (1u64 << 53) as f64 * 2. - 1.
            })
            .collect();
        Array::from_vec(data, shape, &Device::Cpu).unwrap()
    }

    pub fn leaf(x: &Array) -> (Tensor, Arc<GradSlot>) {
        let slot = Arc::new(GradSlot::default());
        (Tensor::leaf(x.clone(), Tensor::leaf_record(slot.clone())), slot)
    }

    /// A scalar whose gradient with respect to `y` differs at every place.
    pub fn probe(y: &Tensor) -> Result<Tensor> {
        y.mul(&values(y.dims(), 77).to_dtype(y.dtype())?.into())?.sum(None, false)
    }

    /// Compares every gradient of `f` with central differences in f64.
    pub fn check_gradients(inputs: &[Array], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let (leaves, slots): (Vec<_>, Vec<_>) = inputs.iter().map(leaf).unzip();
        probe(&f(&leaves).unwrap()).unwrap().backward().unwrap();
        let value = |inputs: &[Array]| -> f64 {
            let plain: Vec<Tensor> = inputs.iter().map(|x| x.clone().into()).collect();
            probe(&f(&plain).unwrap()).unwrap().to_scalar_f64().unwrap()
        };
        const H: f64 = 1e-5;
        for (i, input) in inputs.iter().enumerate() {
            let grad: Vec<f64> = slots[i].get().expect("no gradient").flatten_all().unwrap().to_vec1().unwrap();
            let base: Vec<f64> = input.flatten_all().unwrap().to_vec1().unwrap();
            for at in 0..base.len() {
                let moved = |by: f64| {
                    let mut x = base.clone();
                    x[at] += by;
                    let mut all = inputs.to_vec();
                    all[i] = Array::from_vec(x, input.dims(), &Device::Cpu).unwrap();
                    value(&all)
                };
                let expected = (moved(H) - moved(-H)) / (2. * H);
                assert!(
                    (grad[at] - expected).abs() <= 1e-6 * expected.abs().max(1.),
                    "input {i}, element {at}: gradient {} but the difference quotient is {expected}",
                    grad[at]
                );
            }
        }
    }

    pub fn assert_close(a: &Array, b: &Array, tolerance: f64) {
        assert_eq!(a.dims(), b.dims());
        let a: Vec<f64> = a.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let b: Vec<f64> = b.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (i, (x, y)) in a.iter().zip(&b).enumerate() {
            assert!((x - y).abs() <= tolerance * y.abs().max(1.), "element {i}: {x} for {y}");
        }
    }

    #[test]
    fn fast_exp_is_within_two_units_in_the_last_place() {
        use super::Real;
        for i in 0..200_000 {
            let x = -87.2 + i as f32 * 8.7e-4;
            let exact = (x as f64).exp();
            let relative = ((x.fast_exp() as f64 - exact) / exact).abs();
            assert!(relative < 2.4e-7, "exp({x}): relative error {relative:e}");
        }
        assert_eq!(f32::NEG_INFINITY.fast_exp(), 0.);
    }

    #[test]
    fn fast_erfc_is_within_its_bound() {
        use super::Real;
        for i in 0..90_000 {
            let x = i as f32 * 1e-4;
            let exact = candle_core::cpu::erf::erfc_f64(f64::from(x));
            let relative = ((f64::from(x.fast_erfc()) - exact) / exact).abs();
            // The exponent's own rounding grows with x².
            assert!(relative < 5e-7 + 2e-7 * f64::from(x * x), "erfc({x}): {relative:e}");
        }
        assert!(f32::NAN.fast_erfc().is_nan());
    }

    #[test]
    fn primitive_operations_match_difference_quotients() {
        let (a, b) = (values(&[3, 4], 1), values(&[3, 4], 2));
        let positive = (a.sqr().unwrap() + 0.5).unwrap();
        check_gradients(&[a.clone(), b.clone()], |x| x[0].add(&x[1])?.mul(&x[1])?.sub(&x[0]));
        check_gradients(&[a.clone(), positive.clone()], |x| x[0].div(&x[1]));
        check_gradients(&[a.clone(), values(&[4], 3)], |x| x[0].mul(&x[1])?.add(&x[1]));
        check_gradients(&[positive.clone()], |x| x[0].sqrt()?.log()?.exp());
        for f in [Tensor::tanh, Tensor::sigmoid, Tensor::relu, Tensor::silu, Tensor::gelu, Tensor::gelu_tanh] {
            check_gradients(&[a.clone()], |x| f(&x[0]));
        }
        for f in [Tensor::neg, Tensor::sqr, Tensor::sin, Tensor::cos, Tensor::abs] {
            check_gradients(&[a.clone()], |x| f(&x[0]));
        }
        check_gradients(&[a.clone(), values(&[2, 4, 5], 4)], |x| x[0].matmul(&x[1]));
        check_gradients(&[a.clone()], |x| x[0].softmax(-1)?.transpose(0, 1));
        check_gradients(&[a.clone()], |x| x[0].log_softmax(0)?.narrow(1, 1, 2));
        check_gradients(&[a.clone(), b.clone()], |x| Tensor::cat(&[&x[0], &x[1]], -1)?.mean(Some(&[0]), true));
        check_gradients(&[a.clone(), b], |x| Tensor::stack(&[&x[0], &x[1]], 1)?.permute(&[2, 0, 1]));
        check_gradients(&[a.clone()], |x| x[0].max(1, false));
        let index = Array::new(&[2u32, 0, 2], &Device::Cpu).unwrap();
        check_gradients(&[a.clone()], |x| x[0].index_select(&index, 1));
        let index = Array::new(&[[3u32, 0], [1, 1], [2, 3]], &Device::Cpu).unwrap();
        check_gradients(&[a.clone()], |x| x[0].gather(&index, 1));
        let index = Array::new(&[4u32, 1, 4], &Device::Cpu).unwrap();
        check_gradients(&[a.clone()], |x| x[0].scatter_rows(&index, 5)?.roll(-2, 0));
        check_gradients(&[a], |x| x[0].unsqueeze(1)?.broadcast_to(&[3, 2, 4])?.squeeze(0)?.affine(3., 1.));
    }

    #[test]
    fn a_graph_serves_one_backward_pass_and_long_chains_do_not_overflow() {
        let (x, slot) = leaf(&values(&[2], 1));
        let mut y = x.clone();
        for _ in 0..100_000 {
            y = y.affine(1., 1e-9).unwrap();
        }
        let loss = y.sum(None, false).unwrap();
        loss.backward().unwrap();
        assert_eq!(slot.get().unwrap().to_vec1::<f64>().unwrap(), [1., 1.]);
        assert_eq!(loss.backward().unwrap_err().code(), "ERR_INVALID_STATE");
    }
}
