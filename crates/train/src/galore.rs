//! GaLore: moments in a low-rank space that the gradient's singular vectors span.
//!
//! Zhao et al. 2024 (arXiv 2403.03507); numbers as `swift.optimizers.galore`.

use crate::adamw::check_adam;
use crate::algorithm::{Algorithm, Settings, State};
use crate::projector::{Projector, LEFT, RIGHT};
use swift_tuners_nn::{Array, Result};

/// GaLore's AdamW: moments in the low-rank space, weight decay behind the update. Groups without a rank are not projected.
pub struct GaLoreAdamW {
    betas: (f64, f64),
    eps: f64,
    correct_bias: bool,
}

impl GaLoreAdamW {
    pub fn new(betas: (f64, f64), eps: f64, correct_bias: bool) -> Result<Self> {
        check_adam(betas, eps)?;
        Ok(Self { betas, eps, correct_bias })
    }
}

impl Algorithm for GaLoreAdamW {
    fn keys(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq", LEFT, RIGHT]
    }

    fn projects(&self) -> bool {
        true
    }

    fn shape(&self, key: &str, param: &[usize], settings: &Settings<'_>) -> Option<Vec<usize>> {
        let basis = Projector::saved_shape(settings.projection, key, param);
        Some(basis.unwrap_or_else(|| settings.projection.map_or(param.to_vec(), |p| p.low_shape(param))))
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        let projector = settings.projection.map(|options| Projector::at_step(options, g, state)).transpose()?;
        let low = match &projector {
            Some(projector) => projector.project(g)?,
            None => g.clone(),
        };
        let (b1, b2) = self.betas;
        let m = ((state.moment("exp_avg", &low)? * b1)? + (&low * (1. - b1))?)?;
        let v = ((state.moment("exp_avg_sq", &low)? * b2)? + (low.sqr()? * (1. - b2))?)?;
        let direction = (&m / (v.sqrt()? + self.eps)?)?;
        let direction = match &projector {
            Some(projector) => projector.back(&direction)?,
            None => direction,
        };
        state.put("exp_avg", m);
        state.put("exp_avg_sq", v);
        let step = state.step as f64;
        let correction = if self.correct_bias { (1. - b2.powf(step)).sqrt() / (1. - b1.powf(step)) } else { 1. };
        let moved = (p - (direction * (settings.lr * correction))?)?;
        Ok((moved * (1. - settings.lr * settings.weight_decay))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Group, Optimizer};
    use crate::projection::{ProjType, Projection};
    use crate::testing::{replay, restores_exactly};

    #[test]
    fn galore_adamw_equals_swift_for_every_projection() {
        for kind in ["std", "reverse_std", "right", "left", "full"] {
            for side in ["tall", "wide"] {
                replay(&format!("galore-adamw-{kind}-{side}"), |_| {
                    Box::new(GaLoreAdamW::new((0.9, 0.999), 1e-6, true).unwrap())
                });
            }
        }
        for case in ["galore-adamw-square-no-correction", "galore-adamw-refresh"] {
            replay(case, |arguments| {
                let correct = arguments.get("correct_bias").is_none_or(|b| b.as_bool().unwrap());
                Box::new(GaLoreAdamW::new((0.9, 0.999), 1e-6, correct).unwrap())
            });
        }
    }

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        let projection =
            Projection { rank: 3, update_proj_gap: 2, scale: 0.5, proj_type: ProjType::Std, quantisation: None };
        let group = || Group { projection: Some(projection), ..Group::default() };
        restores_exactly(&[12, 8], group, || {
            Box::new(|g| Optimizer::new(g, 0.1, 0.01, GaLoreAdamW::new((0.9, 0.999), 1e-6, true).unwrap()).unwrap())
        });
    }
}
