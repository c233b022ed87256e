//! Activations by their transformers names, and the gated form that decoder MLPs use.

use super::host::{host, uninit};
use super::parallel::GRAIN;
use super::precision::{finish, prepared};
use super::real::{dispatch, Real};
use super::simd::simd;
use crate::tensor::Tensor;
use crate::{Error, Result};
use rayon::prelude::*;

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Silu,
    /// Exact: `x Φ(x)`.
    Gelu,
    /// Tanh approximation.
    GeluTanh,
    /// `x σ(1.702 x)`.
    QuickGelu,
    Relu,
    Tanh,
    Sigmoid,
    /// `relu(x)²`.
    ReluSquared,
    Identity,
}

impl Activation {
    /// By the name that transformers' `ACT2FN` uses; `option` names the config field in the error.
    pub fn parse(name: &str, option: &str) -> Result<Self> {
        Ok(match name {
            "silu" | "swish" => Self::Silu,
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" | "gelu_python_tanh" => Self::GeluTanh,
            "quick_gelu" => Self::QuickGelu,
            "relu" => Self::Relu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "relu2" => Self::ReluSquared,
            "linear" => Self::Identity,
            other => {
                return Err(Error::config(
                    option,
                    format!("unknown activation {:?}", crate::error::printable(other, 80)),
                ))
            }
        })
    }

    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() && matches!(self, Self::Silu | Self::Gelu | Self::GeluTanh | Self::QuickGelu) {
            return dispatch!(x.dtype(), T => match self {
                Self::Silu => curve(x, silu::<T>),
                Self::Gelu => curve(x, gelu::<T>),
                Self::GeluTanh => curve(x, gelu_tanh::<T>),
                _ => curve(x, quick_gelu::<T>),
            });
        }
        match self {
            Self::Silu => x.silu(),
            Self::Gelu => x.gelu(),
            Self::GeluTanh => x.gelu_tanh(),
            Self::QuickGelu => x.mul(&x.affine(1.702, 0.)?.sigmoid()?),
            Self::Relu => x.relu(),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => x.sigmoid(),
            Self::ReluSquared => x.relu()?.sqr(),
            Self::Identity => Ok(x.clone()),
        }
    }
}

/// `f` of each element, where `f` gives its value and its derivative.
fn curve<T: Real>(x: &Tensor, f: impl Fn(T) -> (T, T) + Copy + Send + Sync + 'static) -> Result<Tensor> {
    let dtype = x.dtype();
    let xs = prepared(x.data())?;
    let mut y = uninit::<T>(xs.elem_count());
    {
        let xv = host::<T>(&xs);
        y.par_chunks_mut(GRAIN).zip(xv.par_chunks(GRAIN)).for_each(|(y, x)| {
            simd(
                #[inline(always)]
                || {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = f(x).0;
                    }
                },
            );
        });
    }
    let y = finish(y, x.dims(), dtype)?;
    Ok(Tensor::from_op(y, &[x], move |grad| {
        let grad = prepared(grad)?;
        let (d, xv) = (host::<T>(&grad), host::<T>(&xs));
        let mut dx = uninit::<T>(d.len());
        dx.par_chunks_mut(GRAIN).zip(d.par_chunks(GRAIN)).zip(xv.par_chunks(GRAIN)).for_each(|((dx, d), x)| {
            simd(
                #[inline(always)]
                || {
                    for ((dx, &d), &x) in dx.iter_mut().zip(d).zip(x) {
                        *dx = d * f(x).1;
                    }
                },
            );
        });
        Ok(vec![Some(finish(dx, xs.dims(), dtype)?)])
    }))
}

#[inline(always)]
fn silu<T: Real>(x: T) -> (T, T) {
    let s = sigmoid(x);
    (x * s, s * (T::ONE + x * (T::ONE - s)))
}

#[inline(always)]
fn quick_gelu<T: Real>(x: T) -> (T, T) {
    let k = T::of(1.702);
    let s = sigmoid(k * x);
    (x * s, s * (T::ONE + k * x * (T::ONE - s)))
}

/// `x Φ(x)`. Hendrycks and Gimpel 2016 (arXiv 1606.08415).
#[inline(always)]
fn gelu<T: Real>(x: T) -> (T, T) {
    let half = T::of(0.5);
    let tail = half * (num_abs(x) * T::of(std::f64::consts::FRAC_1_SQRT_2)).fast_erfc();
    let phi = if x < T::ZERO { tail } else { T::ONE - tail };
    // 1 / √(2π)
    let density = T::of(0.398_942_280_401_432_7) * (-half * x * x).fast_exp();
    (x * phi, phi + x * density)
}

/// `x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`, which is `x σ` of twice the argument.
#[inline(always)]
fn gelu_tanh<T: Real>(x: T) -> (T, T) {
    let (k, c) = (T::of(2. * 0.797_884_560_802_865_4), T::of(0.044_715));
    let s = sigmoid(k * (x + c * x * x * x));
    let slope = k * (T::ONE + T::of(3.) * c * x * x);
    (x * s, s + x * s * (T::ONE - s) * slope)
}

/// `act(gate) · up`, in one pass for SiLU on the CPU.
///
/// `gate`, `up` and the result share one shape. Shazeer 2020 (arXiv 2002.05202).
pub fn gated(act: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if act != Activation::Silu || !gate.device().is_cpu() || gate.dims() != up.dims() {
        return act.forward(gate)?.mul(up);
    }
    dispatch!(gate.dtype(), T => swiglu::<T>(gate, up))
}

#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    // e^-|x| stays in fast_exp's range for every x.
    let e = (-num_abs(x)).fast_exp();
    let s = T::ONE / (T::ONE + e);
    if x < T::ZERO {
        T::ONE - s
    } else {
        s
    }
}

#[inline(always)]
fn num_abs<T: Real>(x: T) -> T {
    if x < T::ZERO {
        -x
    } else {
        x
    }
}

fn swiglu<T: Real>(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let dtype = gate.dtype();
    let (gs, us) = (prepared(gate.data())?, prepared(up.data())?);
    let mut y = uninit::<T>(gs.elem_count());
    {
        let (gv, uv) = (host::<T>(&gs), host::<T>(&us));
        let (gv, uv): (&[T], &[T]) = (&gv, &uv);
        y.par_chunks_mut(GRAIN).zip(gv.par_chunks(GRAIN)).zip(uv.par_chunks(GRAIN)).for_each(|((y, g), u)| {
            simd(
                #[inline(always)]
                || {
                    for ((y, &g), &u) in y.iter_mut().zip(g).zip(u) {
                        *y = g * sigmoid(g) * u;
                    }
                },
            );
        });
    }
    let y = finish(y, gate.dims(), dtype)?;
    Ok(Tensor::from_op(y, &[gate, up], move |grad| {
        let grad = prepared(grad)?;
        let (d, gv, uv) = (host::<T>(&grad), host::<T>(&gs), host::<T>(&us));
        let (d, gv, uv): (&[T], &[T], &[T]) = (&d, &gv, &uv);
        let (mut dg, mut du) = (uninit::<T>(d.len()), uninit::<T>(d.len()));
        dg.par_chunks_mut(GRAIN)
            .zip(du.par_chunks_mut(GRAIN))
            .zip(d.par_chunks(GRAIN))
            .zip(gv.par_chunks(GRAIN).zip(uv.par_chunks(GRAIN)))
            .for_each(|(((dg, du), d), (g, u))| {
                simd(
                    #[inline(always)]
                    || {
                        for ((((dg, du), &d), &g), &u) in dg.iter_mut().zip(du).zip(d).zip(g).zip(u) {
                            let s = sigmoid(g);
                            *du = d * g * s;
                            *dg = d * u * s * (T::ONE + g * (T::ONE - s));
                        }
                    },
                );
            });
        Ok(vec![Some(finish(dg, gs.dims(), dtype)?), Some(finish(du, us.dims(), dtype)?)])
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradients, values};
    use super::*;

    #[test]
    fn curves_match_the_composed_operations_and_difference_quotients() {
        let x = (values(&[3, 41], 1) * 6.).unwrap();
        let wide: Tensor = x.clone().into();
        let narrow: Tensor = x.to_dtype(candle_core::DType::F32).unwrap().into();
        type Reference = fn(&Tensor) -> Result<Tensor>;
        let composed: [(Activation, Reference); 4] = [
            (Activation::Silu, Tensor::silu),
            (Activation::Gelu, Tensor::gelu),
            (Activation::GeluTanh, Tensor::gelu_tanh),
            (Activation::QuickGelu, |x| x.mul(&x.affine(1.702, 0.)?.sigmoid()?)),
        ];
        for (act, reference) in composed {
            assert_close(act.forward(&wide).unwrap().data(), reference(&wide).unwrap().data(), 1e-12);
            assert_close(act.forward(&narrow).unwrap().data(), reference(&wide).unwrap().data(), 1e-6);
            check_gradients(std::slice::from_ref(&x), |t| act.forward(&t[0]));
            let slope = |x: &candle_core::Tensor| {
                let (x, slot) = super::super::testing::leaf(x);
                act.forward(&x).unwrap().sum(None, false).unwrap().backward().unwrap();
                slot.get().unwrap()
            };
            assert_close(&slope(narrow.data()), &slope(&x), 2e-6);
            // Far out the values are x or nothing, and nothing overflows.
            let far: Tensor =
                candle_core::Tensor::new(&[-1e4f32, -90., 90., 1e4], &candle_core::Device::Cpu).unwrap().into();
            let far = act.forward(&far).unwrap().data().to_vec1::<f32>().unwrap();
            assert!(far[0].abs() < 1e-6 && far[1].abs() < 1e-6 && far[2] == 90. && far[3] == 1e4, "{act:?} {far:?}");
        }
    }

    #[test]
    fn gated_silu_matches_its_parts_and_difference_quotients() {
        let (g, u) = (values(&[3, 5], 1), values(&[3, 5], 2));
        let (gt, ut): (Tensor, Tensor) = (g.clone().into(), u.clone().into());
        let parts = gt.silu().unwrap().mul(&ut).unwrap();
        assert_close(gated(Activation::Silu, &gt, &ut).unwrap().data(), parts.data(), 1e-12);
        check_gradients(&[g.clone(), u.clone()], |t| gated(Activation::Silu, &t[0], &t[1]));
        check_gradients(&[g.clone(), u], |t| gated(Activation::GeluTanh, &t[0], &t[1]));
        check_gradients(&[g], |t| Activation::QuickGelu.forward(&t[0]));
    }
}
