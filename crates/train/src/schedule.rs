//! Learning-rate schedules: a factor per step, as transformers' `get_scheduler` computes it.

use std::f64::consts::PI;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Constant,
    /// Falls linearly to zero at the last step.
    Linear,
    /// Half a cosine down to zero.
    Cosine,
}

impl Schedule {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "constant" => Self::Constant,
            "linear" => Self::Linear,
            "cosine" => Self::Cosine,
            _ => return None,
        })
    }

    /// The factor for step `step` (from 0) of `total`, rising linearly over the first `warmup` steps.
    pub fn factor(self, step: u64, warmup: u64, total: u64) -> f64 {
        if step < warmup {
            return step as f64 / warmup.max(1) as f64;
        }
        let progress = (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
        match self {
            Self::Constant => 1.,
            Self::Linear => (1. - progress).max(0.),
            Self::Cosine => (0.5 * (1. + (PI * progress.min(1.)).cos())).max(0.),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule::*;

    #[test]
    fn factors_warm_up_and_end_at_zero() {
        assert_eq!(Linear.factor(0, 0, 4), 1.);
        assert_eq!(Linear.factor(3, 0, 4), 0.25);
        assert_eq!(Linear.factor(1, 2, 6), 0.5);
        assert_eq!(Linear.factor(6, 2, 6), 0.);
        assert!((Cosine.factor(4, 2, 6) - 0.5).abs() < 1e-12);
        assert_eq!(Constant.factor(100, 2, 6), 1.);
    }
}
