//! Gradient clipping.

use candle_core::DType;
use swift_tuners_nn::{Param, Result};

/// Scales all gradients so that their joint 2-norm is at most `max` (absent: only measures), and returns the norm before.
///
/// `torch.nn.utils.clip_grad_norm_`.
pub fn clip_grad_norm<'a>(params: impl Iterator<Item = &'a Param> + Clone, max: Option<f64>) -> Result<f64> {
    let mut sum = 0.;
    for p in params.clone() {
        if let Some(g) = p.grad() {
            sum += g.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        }
    }
    let norm = sum.sqrt();
    if let Some(max) = max {
        let scale = max / (norm + 1e-6);
        if scale < 1. {
            for p in params {
                if let Some(g) = p.grad() {
                    p.set_grad(Some((g * scale)?));
                }
            }
        }
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use swift_tuners_nn::{Array, Param};

    #[test]
    fn scales_to_the_limit_and_leaves_small_gradients_alone() {
        let p = Param::new(Array::new(&[0f32, 0.], &Device::Cpu).unwrap(), true);
        p.set_grad(Some(Array::new(&[3f32, 4.], &Device::Cpu).unwrap()));
        let norm = |max| super::clip_grad_norm([&p].into_iter(), max).unwrap();
        assert_eq!(norm(Some(10.)), 5.);
        assert_eq!(norm(Some(1.)), 5.);
        assert!((norm(None) - 1.).abs() < 1e-5);
    }
}
