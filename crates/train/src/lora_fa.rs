//! LoRA-FA: A stays as it is, and B follows the step that comes closest to full fine-tuning's.
//!
//! Zhang et al. 2023 (arXiv 2308.03303); numbers as `peft.optimizers.LoraFAOptimizer` without its cast of a product to bf16.

use crate::adamw::check_adam;
use crate::algorithm::{Algorithm, Settings, State};
use std::collections::HashMap;
use swift_tuners_nn::linalg::pseudo_inverse;
use swift_tuners_nn::{Array, Param, Result};

/// What is added to the diagonal of `A Aᵀ` before it is inverted.
const DELTA: f64 = 1e-8;

/// The A `[r, in]` that belongs to a B, and the scaling of their product.
#[derive(Clone)]
pub struct Pair {
    pub a: Param,
    pub scaling: f64,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pair({:?}, {})", self.a.shape(), self.scaling)
    }
}

/// AdamW with weight decay behind the update, on `(A Aᵀ)⁻¹ / s²` times the gradient for each B that has a pair.
pub struct LoraFa {
    betas: (f64, f64),
    eps: f64,
    correct_bias: bool,
    /// By the names of the Bs.
    pairs: HashMap<String, Pair>,
}

impl LoraFa {
    pub fn new(betas: (f64, f64), eps: f64, correct_bias: bool, pairs: HashMap<String, Pair>) -> Result<Self> {
        check_adam(betas, eps)?;
        Ok(Self { betas, eps, correct_bias, pairs })
    }
}

impl Algorithm for LoraFa {
    fn keys(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn shape(&self, _: &str, param: &[usize], _: &Settings<'_>) -> Option<Vec<usize>> {
        Some(param.to_vec())
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        let g = match self.pairs.get(settings.name) {
            Some(pair) => {
                let a = pair.a.array()?.to_dtype(candle_core::DType::F64)?;
                let r = a.dims2()?.0;
                let gram = (a.matmul(&a.t()?)? + (Array::eye(r, a.dtype(), a.device())? * DELTA)?)?;
                let inverse = pseudo_inverse(&gram, r as f64 * f64::from(f32::EPSILON))?;
                let inverse = inverse.to_dtype(g.dtype())?.to_device(g.device())?;
                (g.matmul(&inverse)? / (pair.scaling * pair.scaling))?
            }
            None => g.clone(),
        };
        let (b1, b2) = self.betas;
        let m = ((state.moment("exp_avg", &g)? * b1)? + (&g * (1. - b1))?)?;
        let v = ((state.moment("exp_avg_sq", &g)? * b2)? + (g.sqr()? * (1. - b2))?)?;
        let step = state.step as f64;
        let correction = if self.correct_bias { (1. - b2.powf(step)).sqrt() / (1. - b1.powf(step)) } else { 1. };
        let moved = (p - ((&m / (v.sqrt()? + self.eps)?)? * (settings.lr * correction))?)?;
        state.put("exp_avg", m);
        state.put("exp_avg_sq", v);
        Ok((moved * (1. - settings.lr * settings.weight_decay))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Group, Optimizer};
    use crate::testing::{assert_close, param, restores_exactly, GRADS};
    use candle_core::Device;

    fn matrix(values: &[f32], shape: (usize, usize)) -> Array {
        Array::new(values, &Device::Cpu).unwrap().reshape(shape).unwrap()
    }

    /// Three steps of PEFT 0.21's, with the cast to bf16 switched off.
    #[test]
    fn three_steps_equal_peft() {
        let a = Param::new(matrix(&[0.5, -1., 0.25, 1.5, 0.75, -0.5], (2, 3)), false);
        let b = Param::new(matrix(&[1., -2., 0.5, 0., 3., 1.], (3, 2)), true);
        let w = param(&[1., -2., 0.5]);
        let pairs = HashMap::from([("b".to_owned(), Pair { a, scaling: 2. })]);
        let group = Group { params: vec![("b".into(), b.clone()), ("w".into(), w.clone())], ..Group::default() };
        let algorithm = LoraFa::new((0.9, 0.999), 1e-6, true, pairs).unwrap();
        let mut o = Optimizer::new(vec![group], 0.1, 0.02, algorithm).unwrap();
        for g in GRADS {
            b.set_grad(Some(matrix(&[g[0], g[1], g[1], g[2], g[0], g[2]], (3, 2))));
            w.set_grad(Some(Array::new(&g, &Device::Cpu).unwrap()));
            o.step(1.).unwrap();
        }
        let flat = |p: &Param| p.array().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_close(&flat(&b), &[0.789_372_1, -1.909_286_4, 0.598_519_6, -0.098_935_31, 2.772_066, 0.886_665_9], 1e-5);
        assert_close(&flat(&w), &[0.788_930_36, -1.889_327_4, 0.396_897_76], 1e-5);
    }

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        restores_exactly(&[5, 3], Group::default, || {
            Box::new(|g| {
                let a = matrix(&[0.5, -1., 0.25, 1.5, 0.75, -0.5], (3, 2));
                let pair = Pair { a: Param::new(a, false), scaling: 0.5 };
                let algorithm = LoraFa::new((0.9, 0.999), 1e-6, true, HashMap::from([("p".into(), pair)])).unwrap();
                Optimizer::new(g, 0.1, 0.01, algorithm).unwrap()
            })
        });
    }
}
