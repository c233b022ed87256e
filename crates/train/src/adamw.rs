//! AdamW with decoupled weight decay and a state that can be saved.
//!
//! Loshchilov and Hutter 2017 (arXiv 1711.05101); numbers as `torch.optim.AdamW`.

use crate::algorithm::{Algorithm, Settings, State};
use crate::range::range;
use candle_core::{DType, Device};
use rayon::prelude::*;
use swift_tuners_nn::{Array, Result};

#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    betas: (f64, f64),
    eps: f64,
}

pub(crate) fn check_adam(betas: (f64, f64), eps: f64) -> Result<()> {
    range("eps", eps >= 0. && eps.is_finite(), eps)?;
    range("betas", (0. ..1.).contains(&betas.0), betas.0)?;
    range("betas", (0. ..1.).contains(&betas.1), betas.1)
}

impl AdamW {
    /// Fails with [`swift_tuners_nn::Error::Config`] when a number is out of range.
    pub fn new(betas: (f64, f64), eps: f64) -> Result<Self> {
        check_adam(betas, eps)?;
        Ok(Self { betas, eps })
    }
}

impl Algorithm for AdamW {
    fn keys(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn shape(&self, _: &str, param: &[usize], _: &Settings<'_>) -> Option<Vec<usize>> {
        Some(param.to_vec())
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        let k = Coefficients::new(self, settings, state.step);
        let (m, v) = (state.moment("exp_avg", g)?, state.moment("exp_avg_sq", g)?);
        let (updated, m, v) = if p.device().is_cpu() && p.dtype() == DType::F32 {
            fused(p, g, &m, &v, &k)?
        } else {
            let m = ((m * k.b1)? + (g * (1. - k.b1))?)?;
            let v = ((v * k.b2)? + (g.sqr()? * (1. - k.b2))?)?;
            let denominator = ((v.sqrt()? / k.root_correction)? + k.eps)?;
            (((p * k.keep)? - ((&m / denominator)? * k.step_size)?)?, m, v)
        };
        state.put("exp_avg", m);
        state.put("exp_avg_sq", v);
        Ok(updated)
    }
}

struct Coefficients {
    keep: f64,
    step_size: f64,
    b1: f64,
    b2: f64,
    root_correction: f64,
    eps: f64,
}

impl Coefficients {
    fn new(o: &AdamW, settings: &Settings<'_>, step: u64) -> Self {
        let (b1, b2) = o.betas;
        Self {
            keep: 1. - settings.lr * settings.weight_decay,
            step_size: settings.lr / (1. - b1.powf(step as f64)),
            b1,
            b2,
            root_correction: (1. - b2.powf(step as f64)).sqrt(),
            eps: o.eps,
        }
    }
}

/// One pass over parameter, gradient and moments.
fn fused(p: &Array, g: &Array, m: &Array, v: &Array, k: &Coefficients) -> Result<(Array, Array, Array)> {
    let flat = |x: &Array| -> Result<Vec<f32>> { Ok(x.flatten_all()?.to_vec1()?) };
    let (mut p_out, g, mut m, mut v) = (flat(p)?, flat(g)?, flat(m)?, flat(v)?);
    let (b1, b2) = (k.b1 as f32, k.b2 as f32);
    let (c1, c2) = ((1. - k.b1) as f32, (1. - k.b2) as f32);
    let (keep, step_size, root, eps) = (k.keep as f32, k.step_size as f32, k.root_correction as f32, k.eps as f32);
    const CHUNK: usize = 1 << 14;
    p_out
        .par_chunks_mut(CHUNK)
        .zip(m.par_chunks_mut(CHUNK))
        .zip(v.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)))
        .for_each(|((p, m), (v, g))| {
            for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * g * g;
                *p = keep * *p - step_size * *m / (v.sqrt() / root + eps);
            }
        });
    let array = |x: Vec<f32>| Array::from_vec(x, p.dims(), &Device::Cpu);
    Ok((array(p_out)?, array(m)?, array(v)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Group, Optimizer};
    use crate::testing::{assert_close, optimizer, param, restores_exactly, three_steps};

    fn adamw() -> AdamW {
        AdamW::new((0.9, 0.999), 1e-8).unwrap()
    }

    /// Three steps of `torch.optim.AdamW` (torch 2.15) on p = [1, -2, 0.5] with the gradients of the test helper.
    #[test]
    fn three_steps_equal_torch() {
        assert_close(&three_steps(0.1, 0.01, adamw()), &[0.7911829, -1.8948686, 0.3980123], 1e-6);
    }

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        restores_exactly(&[5, 3], Group::default, || Box::new(|g| Optimizer::new(g, 0.1, 0.01, adamw()).unwrap()));
    }

    #[test]
    fn a_state_of_other_shapes_is_refused_and_changes_nothing() {
        let p = param(&[1., 2., 3.]);
        let mut o = optimizer(&p, 0.1, 0.01, adamw());
        let wrong = Array::new(&[1f32], &Device::Cpu).unwrap();
        let state = [
            ("p.exp_avg".to_owned(), wrong.clone()),
            ("p.exp_avg_sq".to_owned(), wrong),
            ("p.step".to_owned(), Array::new(1i64, &Device::Cpu).unwrap()),
        ];
        assert_eq!(o.load_state_dict(&state.into()).unwrap_err().code(), "ERR_SHAPE");
        assert!(o.state_dict().unwrap().is_empty());
    }
}
