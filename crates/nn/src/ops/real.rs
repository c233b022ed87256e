//! The element types that kernels compute in.

use candle_core::WithDType;

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

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn fast_exp_is_within_two_units_in_the_last_place() {
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
        for i in 0..90_000 {
            let x = i as f32 * 1e-4;
            let exact = candle_core::cpu::erf::erfc_f64(f64::from(x));
            let relative = ((f64::from(x.fast_erfc()) - exact) / exact).abs();
            // The exponent's own rounding grows with x².
            assert!(relative < 5e-7 + 2e-7 * f64::from(x * x), "erfc({x}): {relative:e}");
        }
        assert!(f32::NAN.fast_erfc().is_nan());
    }
}
