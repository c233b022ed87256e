//! Functions of each element.

use super::Tensor;
use crate::array::Array;
use crate::Result;

macro_rules! unary {
    ($(#[$doc:meta])* $name:ident, $forward:expr, |$x:ident, $y:ident, $g:ident| $backward:expr) => {
        $(#[$doc])*
        pub fn $name(&self) -> Result<Self> {
            let y: Array = ($forward)(&self.data)?;
            let ($x, $y) = (self.data.clone(), y.clone());
            Ok(Self::from_op(y, &[self], move |$g| {
                let _ = (&$x, &$y);
                Ok(vec![Some($backward?)])
            }))
        }
    };
}

impl Tensor {
    unary!(neg, |x: &Array| x.neg(), |x, y, g| g.neg());
    unary!(sqr, |x: &Array| x.sqr(), |x, y, g| g.mul(&x)?.affine(2., 0.));
    unary!(sqrt, |x: &Array| x.sqrt(), |x, y, g| g.div(&y)?.affine(0.5, 0.));
    unary!(exp, |x: &Array| x.exp(), |x, y, g| g.mul(&y));
    unary!(log, |x: &Array| x.log(), |x, y, g| g.div(&x));
    unary!(sin, |x: &Array| x.sin(), |x, y, g| g.mul(&x.cos()?));
    unary!(cos, |x: &Array| x.cos(), |x, y, g| g.mul(&x.sin()?)?.neg());
    unary!(tanh, |x: &Array| x.tanh(), |x, y, g| g.mul(&y.sqr()?.affine(-1., 1.)?));
    unary!(abs, |x: &Array| x.abs(), |x, y, g| g.mul(&x.sign()?));
    unary!(sigmoid, |x: &Array| (x.neg()?.exp()? + 1.)?.recip(), |x, y, g| g.mul(&(&y - y.sqr()?)?));
    unary!(relu, |x: &Array| x.relu(), |x, y, g| g.mul(&x.gt(0f64)?.to_dtype(g.dtype())?));
    unary!(
        /// `x · sigmoid(x)`.
        silu,
        |x: &Array| x.silu(),
        |x, y, g| {
            let s = (x.neg()?.exp()? + 1.)?.recip()?;
            // σ + y(1 − σ)
            g.mul(&(&s + y.mul(&s.affine(-1., 1.)?)?)?)
        }
    );
    unary!(
        /// The exact form, `x Φ(x)`.
        gelu,
        |x: &Array| x.gelu_erf(),
        |x, y, g| {
            let cdf = (x.affine(std::f64::consts::FRAC_1_SQRT_2, 0.)?.erf()? + 1.)?.affine(0.5, 0.)?;
            let pdf = x.sqr()?.affine(-0.5, 0.)?.exp()?.affine(0.398_942_280_401_432_7, 0.)?;
            g.mul(&(cdf + x.mul(&pdf)?)?)
        }
    );
    unary!(
        /// The tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
        gelu_tanh,
        |x: &Array| x.gelu(),
        |x, y, g| {
            const C: f64 = 0.797_884_560_802_865_4; // sqrt(2 / π)
            let inner = (x.affine(C, 0.)? + x.powf(3.)?.affine(C * 0.044715, 0.)?)?;
            let t = inner.tanh()?;
            let slope = x.sqr()?.affine(3. * 0.044715 * C, C)?;
            let left = t.affine(0.5, 0.5)?;
            let right = x.mul(&t.sqr()?.affine(-1., 1.)?)?.mul(&slope)?.affine(0.5, 0.)?;
            g.mul(&(left + right)?)
        }
    );
}
