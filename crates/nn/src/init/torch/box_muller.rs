//! Sixteen normal values from sixteen uniform ones, rounded as PyTorch rounds them.
//!
//! PyTorch's kernel (`normal_fill_16_AVX2`, ATen/native/cpu/DistributionTemplates.h) takes logarithm, sine and cosine from
//! Pommier's `avx_mathfun.h`, Cephes' polynomials in f32, and its compiler has contracted products and sums there. The same
//! multiply-adds in the same order give the same bits, whatever this machine's mathematical library.

use crate::ops::simd;

/// In place, for each 16 values: `x[j], x[j + 8] = ρ cos θ, ρ sin θ` (times `std`, plus `mean`) with
/// `ρ = √(−2 ln(1 − x[j]))` and `θ = 2π x[j + 8]`. What is left over after the last 16 stays as it is.
///
/// Box and Muller 1958, "A note on the generation of random normal deviates".
pub fn box_muller(values: &mut [f32], mean: f32, std: f32) {
    simd(
        #[inline(always)]
        || {
            for block in values.chunks_exact_mut(16) {
                let (cosines, sines) = block.split_at_mut(8);
                for (c, s) in cosines.iter_mut().zip(sines) {
                    let radius = (-2. * log(1. - *c)).sqrt();
                    let (sin, cos) = sin_cos(std::f32::consts::TAU * *s);
                    *c = (radius * cos).mul_add(std, mean);
                    *s = (radius * sin).mul_add(std, mean);
                }
            }
        },
    );
}

/// Natural logarithm (`log256_ps`) of a normal, positive number.
#[inline(always)]
fn log(x: f32) -> f32 {
    let bits = x.to_bits();
    let mut e = ((bits >> 23) as i32 - 126) as f32;
    let mut x = f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000); // [0.5, 1)
    let small = x < std::f32::consts::FRAC_1_SQRT_2;
    let doubled = if small { x } else { 0. };
    e -= if small { 1. } else { 0. };
    x = x - 1. + doubled;
    let z = x * x;
    let mut y = 7.037_683_6e-2_f32;
    for c in [
        -1.151_461e-1,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        y = y.mul_add(x, c);
    }
    y = (y * x).mul_add(z, e * -2.121_944_4e-4);
    y = z.mul_add(-0.5, y);
    e.mul_add(0.693_359_4, x + y)
}

/// Sine and cosine (`sincos256_ps`) of a number from 0 to 2π.
#[inline(always)]
fn sin_cos(x: f32) -> (f32, f32) {
    // The octant, made even; the argument is taken to [−π/4, π/4] in three steps, so that no bits are lost.
    let octant = ((x * (4. / std::f32::consts::PI)) as i32).wrapping_add(1) & !1;
    let y = octant as f32;
    let x = y.mul_add(-0.785_156_25, x);
    let x = y.mul_add(-2.418_756_5e-4, x);
    let x = y.mul_add(-3.774_895e-8, x);
    let z = x * x;
    let cos = 2.443_315_7e-5_f32.mul_add(z, -1.388_731_6e-3).mul_add(z, 4.166_664_6e-2);
    let cos = (cos * z).mul_add(z, z * -0.5) + 1.;
    let sin = (-1.951_529_6e-4_f32).mul_add(z, 8.332_161e-3).mul_add(z, -1.666_665_5e-1);
    let sin = (sin * z).mul_add(x, x);
    let (s, c) = if octant & 2 == 0 { (sin, cos) } else { (cos, sin) };
    (if octant & 4 == 0 { s } else { -s }, if octant.wrapping_add(2) & 4 == 0 { c } else { -c })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomials_are_the_functions() {
        for i in 1..=1 << 16 {
            let u = i as f32 / (1 << 16) as f32;
            assert!((log(u) - u.ln()).abs() <= 2e-7 * u.ln().abs().max(1.), "ln {u}");
            let x = std::f32::consts::TAU * u;
            let (s, c) = sin_cos(x);
            assert!((s - x.sin()).abs() < 2e-7 && (c - x.cos()).abs() < 2e-7, "{x}");
        }
    }
}
