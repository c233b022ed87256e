//! Adafactor: second moments of matrices kept as row and column means.
//!
//! Shazeer and Stern 2018 (arXiv 1804.04235); numbers as `transformers.optimization.Adafactor`.

use crate::algorithm::{Algorithm, Settings, State};
use crate::projector::Projector;
use crate::range::range;
use candle_core::{DType, D};
use swift_tuners_nn::{Array, Error, Result};

#[derive(Clone, Copy, Debug)]
pub struct AdafactorOptions {
    pub eps: (f64, f64),
    pub clip_threshold: f64,
    pub decay_rate: f64,
    pub beta1: Option<f64>,
    pub scale_parameter: bool,
    pub relative_step: bool,
    pub warmup_init: bool,
}

pub struct Adafactor {
    options: AdafactorOptions,
    projects: bool,
}

impl Adafactor {
    /// `projects`: groups may have GaLore's low-rank space (`GaLoreAdafactor`).
    pub fn new(options: AdafactorOptions, projects: bool) -> Result<Self> {
        let o = &options;
        range("eps", o.eps.0 >= 0. && o.eps.1 >= 0., o.eps.0)?;
        range("clipThreshold", o.clip_threshold > 0. && o.clip_threshold.is_finite(), o.clip_threshold)?;
        range("decayRate", o.decay_rate <= 0. && o.decay_rate.is_finite(), o.decay_rate)?;
        if let Some(b) = o.beta1 {
            range("beta1", (0. ..1.).contains(&b), b)?;
        }
        if o.warmup_init && !o.relative_step {
            return Err(Error::config("warmupInit", "needs relativeStep"));
        }
        Ok(Self { options, projects })
    }
}

impl Algorithm for Adafactor {
    fn keys(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col", "ortho0", "ortho1"]
    }

    fn projects(&self) -> bool {
        self.projects
    }

    fn shape(&self, key: &str, param: &[usize], settings: &Settings<'_>) -> Option<Vec<usize>> {
        if let Some(shape) = Projector::saved_shape(settings.projection, key, param) {
            return Some(shape);
        }
        let mut low = settings.projection.map_or(param.to_vec(), |p| p.low_shape(param));
        match key {
            "exp_avg_sq_row" => drop(low.pop()),
            "exp_avg_sq_col" if low.len() >= 2 => drop(low.remove(low.len() - 2)),
            _ => {}
        }
        Some(low)
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        let o = &self.options;
        let projector = settings.projection.map(|options| Projector::at_step(options, g, state)).transpose()?;
        let g = match &projector {
            Some(projector) => projector.project(g)?,
            None => g.clone(),
        };
        let step = state.step as f64;
        let rate = if o.relative_step {
            let least = if o.warmup_init { 1e-6 * step } else { 1e-2 };
            f64::min(least, 1. / step.sqrt())
        } else {
            settings.lr
        };
        let lr = if o.scale_parameter { f64::max(o.eps.1, rms(p)?) * rate } else { rate };
        let beta2 = 1. - step.powf(o.decay_rate);
        let squares = (g.sqr()? + o.eps.0)?;
        let mix = |old: Array, new: Array| -> Result<Array> { Ok(((old * beta2)? + (new * (1. - beta2))?)?) };
        let mut update = if g.rank() >= 2 {
            let (row, col) = (squares.mean(D::Minus1)?, squares.mean(D::Minus2)?);
            let row = mix(state.moment("exp_avg_sq_row", &row)?, row)?;
            let col = mix(state.moment("exp_avg_sq_col", &col)?, col)?;
            let r = row.broadcast_div(&row.mean_keepdim(D::Minus1)?)?.sqrt()?.recip()?.unsqueeze(D::Minus1)?;
            let c = col.sqrt()?.recip()?.unsqueeze(D::Minus2)?;
            state.put("exp_avg_sq_row", row);
            state.put("exp_avg_sq_col", col);
            (r.broadcast_mul(&c)? * &g)?
        } else {
            let v = mix(state.moment("exp_avg_sq", &squares)?, squares)?;
            let update = (v.sqrt()?.recip()? * &g)?;
            state.put("exp_avg_sq", v);
            update
        };
        let clip = f64::max(1., rms(&update)? / o.clip_threshold);
        update = (update * (lr / clip))?;
        if let Some(beta1) = o.beta1 {
            update = ((state.moment("exp_avg", &update)? * beta1)? + (update * (1. - beta1))?)?;
            state.put("exp_avg", update.clone());
        }
        if let Some(projector) = &projector {
            update = projector.back(&update)?;
        }
        Ok(((p * (1. - settings.weight_decay * lr))? - update)?)
    }
}

/// `sqrt(mean(x²))`
fn rms(x: &Array) -> Result<f64> {
    Ok(x.sqr()?.mean_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Group, Optimizer};
    use crate::testing::{assert_close, replay, restores_exactly, three_steps};

    const OPTIONS: AdafactorOptions = AdafactorOptions {
        eps: (1e-30, 1e-3),
        clip_threshold: 1.,
        decay_rate: -0.8,
        beta1: None,
        scale_parameter: true,
        relative_step: true,
        warmup_init: false,
    };

    /// `transformers.optimization.Adafactor` (transformers 5.19) on the gradients of the test helper.
    #[test]
    fn three_steps_equal_transformers() {
        assert_close(&three_steps(0., 0.05, Adafactor::new(OPTIONS, false).unwrap()), &RELATIVE, 1e-6);
        let fixed = AdafactorOptions { beta1: Some(0.9), scale_parameter: false, relative_step: false, ..OPTIONS };
        assert_close(&three_steps(0.1, 0.05, Adafactor::new(fixed, false).unwrap()), &FIXED, 1e-6);
    }

    const RELATIVE: [f32; 3] = [0.98069984, -2.004_55, 0.48606402];
    const FIXED: [f32; 3] = [0.94423866, -1.965_261_7, 0.47554296];

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        restores_exactly(&[5, 3], Group::default, || {
            Box::new(|g| Optimizer::new(g, 0.1, 0.01, Adafactor::new(OPTIONS, false).unwrap()).unwrap())
        });
    }

    #[test]
    fn galore_adafactor_equals_swift() {
        let fixed = AdafactorOptions { scale_parameter: false, relative_step: false, ..OPTIONS };
        for case in ["galore-adafactor-tall", "galore-adafactor-full"] {
            replay(case, |_| Box::new(Adafactor::new(fixed, true).unwrap()));
        }
    }
}
