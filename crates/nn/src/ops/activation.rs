//! Activations by their transformers names, and the gated form that decoder MLPs use.

use super::{dispatch, finish, host, prepared, simd, uninit, Real, GRAIN};
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
