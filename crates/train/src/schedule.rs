//! Learning-rate schedules: a factor per step, as transformers' `get_scheduler` computes it.

use std::f64::consts::PI;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// What a schedule is asked for, by the names of transformers; each takes what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct ScheduleOptions {
    pub name: String,
    /// Steps over which the factor rises.
    pub warmup: u64,
    /// Steps of the run. `constant`, `inverse_sqrt` and a `warmup_stable_decay` with stable steps do without.
    pub total: Option<u64>,
    /// Waves of a cosine (default 0.5: down to the end), or how often `cosine_with_restarts` falls (default 1).
    pub num_cycles: Option<f64>,
    /// Default 1: `polynomial` falls linearly.
    pub power: Option<f64>,
    /// The least factor. Default 0, and 1e-7 over the learning rate for `polynomial`.
    pub least: Option<f64>,
    /// Of `inverse_sqrt`; default the steps of the warm-up, or 10,000.
    pub timescale: Option<f64>,
    pub decay_steps: Option<u64>,
    pub stable_steps: Option<u64>,
    /// How `warmup_stable_decay` rises and falls: `linear` and `cosine` by default.
    pub warmup_type: Option<String>,
    pub decay_type: Option<String>,
}

/// A factor on the learning rate of each step, rising over the first ones.
#[derive(Clone, Debug)]
pub struct Schedule {
    warmup: u64,
    total: u64,
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Constant,
    /// Falls linearly to zero at the last step.
    Linear,
    /// Half a cosine, by default, down to `least`.
    Cosine {
        cycles: f64,
        least: f64,
    },
    Restarts {
        cycles: f64,
    },
    Polynomial {
        power: f64,
        least: f64,
    },
    InverseSqrt {
        timescale: f64,
    },
    Stable {
        steps: u64,
        decay: u64,
        rise: Curve,
        fall: Curve,
        cycles: f64,
        least: f64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Curve {
    Linear,
    Cosine,
    OneMinusSqrt,
}

impl Curve {
    fn parse(option: &str, name: &str) -> Result<Self> {
        match name {
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine),
            "1-sqrt" => Ok(Self::OneMinusSqrt),
            other => {
                let why = format!("expected linear, cosine or 1-sqrt, found {:?}", printable(other, 40));
                Err(Error::config(option, why))
            }
        }
    }
}

impl Schedule {
    /// Fails with [`Error::Config`] for an unknown name, and where the steps of the run are needed and missing.
    pub fn new(o: &ScheduleOptions) -> Result<Self> {
        let shape = match o.name.as_str() {
            "constant" | "constant_with_warmup" => Shape::Constant,
            "linear" => Shape::Linear,
            "cosine" => Shape::Cosine { cycles: o.num_cycles.unwrap_or(0.5), least: 0. },
            "cosine_with_min_lr" => match o.least {
                Some(least) => Shape::Cosine { cycles: o.num_cycles.unwrap_or(0.5), least },
                None => return Err(Error::config("schedule.minLr", "cosine_with_min_lr needs minLr or minLrRate")),
            },
            "cosine_with_restarts" => Shape::Restarts { cycles: o.num_cycles.unwrap_or(1.) },
            "polynomial" => Shape::Polynomial { power: o.power.unwrap_or(1.), least: o.least.unwrap_or(0.) },
            "inverse_sqrt" => {
                let warmup = if o.warmup == 0 { 10_000. } else { o.warmup as f64 };
                Shape::InverseSqrt { timescale: o.timescale.unwrap_or(warmup) }
            }
            "warmup_stable_decay" => Self::stable(o)?,
            other => {
                let why = format!("there is no schedule {:?}; there are {}", printable(other, 40), NAMES.join(", "));
                return Err(Error::config("schedule.name", why));
            }
        };
        let endless = matches!(shape, Shape::Constant | Shape::InverseSqrt { .. } | Shape::Stable { .. });
        match o.total {
            None if !endless => {
                Err(Error::config("schedule.totalSteps", format!("{} needs the steps of the run", o.name)))
            }
            total => Ok(Self { warmup: o.warmup, total: total.unwrap_or(u64::MAX), shape }),
        }
    }

    fn stable(o: &ScheduleOptions) -> Result<Shape> {
        let Some(decay) = o.decay_steps else {
            return Err(Error::config(
                "schedule.numDecaySteps",
                "warmup_stable_decay needs the steps in which it falls",
            ));
        };
        let steps = match (o.stable_steps, o.total) {
            (Some(steps), _) => steps,
            (None, Some(total)) => match total.checked_sub(o.warmup + decay) {
                Some(steps) => steps,
                None => {
                    let why = format!("{} to rise and {decay} to fall are more than the run's {total}", o.warmup);
                    return Err(Error::config("schedule.numDecaySteps", why));
                }
            },
            (None, None) => {
                let why = "warmup_stable_decay needs the steps of the run, or numStableSteps";
                return Err(Error::config("schedule.totalSteps", why));
            }
        };
        Ok(Shape::Stable {
            steps,
            decay,
            rise: Curve::parse("schedule.warmupType", o.warmup_type.as_deref().unwrap_or("linear"))?,
            fall: Curve::parse("schedule.decayType", o.decay_type.as_deref().unwrap_or("cosine"))?,
            cycles: o.num_cycles.unwrap_or(0.5),
            least: o.least.unwrap_or(0.),
        })
    }

    /// The factor for step `step`, from 0. A run that goes on for longer than it said stays where it ended.
    pub fn factor(&self, step: u64) -> f64 {
        let over = |of: f64| 1. - of;
        if step < self.warmup {
            let progress = step as f64 / self.warmup as f64;
            let Shape::Stable { rise, least, .. } = self.shape else { return progress };
            let factor = match rise {
                Curve::Linear => progress,
                Curve::Cosine => 0.5 * (1. - (PI * progress).cos()),
                Curve::OneMinusSqrt => over(over(progress).sqrt()),
            };
            return factor * (1. - least) + least;
        }
        let step = step.min(self.total) - self.warmup.min(self.total);
        let progress = step as f64 / self.total.saturating_sub(self.warmup).max(1) as f64;
        match self.shape {
            Shape::Constant => 1.,
            Shape::Linear => over(progress).max(0.),
            Shape::Cosine { cycles, least } => wave(cycles, progress) * (1. - least) + least,
            Shape::Restarts { .. } if progress >= 1. => 0.,
            Shape::Restarts { cycles } => 0.5 * (1. + (PI * (cycles * progress).fract()).cos()),
            Shape::Polynomial { power, least } => over(progress).max(0.).powf(power) * (1. - least) + least,
            Shape::InverseSqrt { timescale } => ((step as f64 + timescale) / timescale).sqrt().recip(),
            Shape::Stable { steps, .. } if step < steps => 1.,
            Shape::Stable { steps, decay, fall, cycles, least, .. } if step < steps + decay => {
                let progress = (step - steps) as f64 / decay as f64;
                let factor = match fall {
                    Curve::Linear => over(progress),
                    Curve::Cosine => wave(cycles, progress),
                    Curve::OneMinusSqrt => over(progress.sqrt()),
                };
                factor * (1. - least) + least
            }
            Shape::Stable { least, .. } => least,
        }
    }
}

/// All names.
pub const NAMES: [&str; 9] = [
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_min_lr",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
    "warmup_stable_decay",
];

fn wave(cycles: f64, progress: f64) -> f64 {
    0.5 * (1. + (PI * cycles * 2. * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, warmup: u64, change: impl FnOnce(&mut ScheduleOptions)) -> ScheduleOptions {
        let mut options = ScheduleOptions { name: name.into(), warmup, total: Some(12), ..ScheduleOptions::default() };
        change(&mut options);
        options
    }

    /// transformers 5.24, `get_scheduler(name, lr=1e-3, num_training_steps=12)`, the factors of steps 0 to 12.
    #[test]
    fn factors_are_those_of_transformers() {
        type O = ScheduleOptions;
        let rise = "0 0.333333333 0.666666667 1";
        let cosine = "0 0.5 1 0.975528258 0.904508497 0.793892626 0.654508497 0.5 0.345491503 0.206107374 0.095491503 0.024471742 0";
        let waves = "0 0.5 1 0.853553391 0.5 0.146446609 0 0.146446609 0.5 0.853553391 1 0.853553391 0.5";
        let least = "0 0.5 1 0.980422607 0.923606798 0.835114101 0.723606798 0.6 0.476393202 0.364885899 0.276393202 0.219577393 0.2";
        let falls = "0 0.5 1 0.793892626 0.345491503 0.024471742 0.904508497 0.5 0.095491503 0.975528258 0.654508497 0.206107374 0";
        let power = "0 0.5 1 0.829 0.676 0.541 0.424 0.325 0.244 0.181 0.136 0.109 0.1";
        let root =
            "0.866025404 0.774596669 0.707106781 0.654653671 0.612372436 0.577350269 0.547722558 0.522232968 0.5";
        let slow = "0.912870929 0.845154255 0.790569415 0.745355992 0.707106781 0.674199862 0.645497224 0.620173673 0.597614305";
        let late = "1 0.999950004 0.999900015 0.999850034 0.99980006 0.999750094 0.999700135 0.999650184 0.99960024 0.999550304";
        let stable = "1 1 1 1 1 0.853553391 0.5 0.146446609 0";
        let curved = "0.1 0.325 0.775 1 1 1 1 1 1 0.775 0.55 0.325 0.1";
        let sqrt = "0 0.292893219 1 1 1 0.5 0.292893219 0.133974596 0 0 0 0 0";
        let cases = [
            (options("constant", 0, |_| {}), "1 1 1 1 1 1 1".to_owned()),
            (options("constant_with_warmup", 3, |_| {}), format!("{rise} 1 1 1")),
            (options("linear", 2, |_| {}), "0 0.5 1 0.9 0.8 0.7 0.6 0.5 0.4 0.3 0.2 0.1 0".to_owned()),
            (options("cosine", 2, |_| {}), cosine.to_owned()),
            (options("cosine", 2, |o: &mut O| o.num_cycles = Some(1.25)), waves.to_owned()),
            (options("cosine_with_min_lr", 2, |o: &mut O| o.least = Some(0.2)), least.to_owned()),
            (options("cosine_with_restarts", 2, |o: &mut O| o.num_cycles = Some(3.)), falls.to_owned()),
            (options("polynomial", 2, |o: &mut O| (o.least, o.power) = (Some(0.1), Some(2.))), power.to_owned()),
            (options("inverse_sqrt", 3, |o: &mut O| o.total = None), format!("{rise} {root}")),
            (options("inverse_sqrt", 3, |o: &mut O| o.timescale = Some(5.)), format!("{rise} {slow}")),
            (options("inverse_sqrt", 0, |_| {}), late.to_owned()),
            (options("warmup_stable_decay", 3, |o: &mut O| o.decay_steps = Some(4)), format!("{rise} {stable}")),
            (
                options("warmup_stable_decay", 3, |o: &mut O| {
                    (o.decay_steps, o.least) = (Some(4), Some(0.1));
                    (o.warmup_type, o.decay_type) = (Some("cosine".into()), Some("linear".into()));
                }),
                curved.to_owned(),
            ),
            (
                options("warmup_stable_decay", 2, |o: &mut O| {
                    (o.decay_steps, o.stable_steps, o.total) = (Some(4), Some(2), None);
                    (o.warmup_type, o.decay_type) = (Some("1-sqrt".into()), Some("1-sqrt".into()));
                }),
                sqrt.to_owned(),
            ),
        ];
        for (options, expected) in cases {
            let schedule = Schedule::new(&options).unwrap();
            for (step, expected) in expected.split(' ').map(|x| x.parse::<f64>().unwrap()).enumerate() {
                let found = schedule.factor(step as u64);
                assert!((found - expected).abs() < 1e-8, "{options:?} at {step}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn what_a_schedule_lacks_is_said() {
        let code = |options| Schedule::new(&options).unwrap_err().to_string();
        assert!(code(options("linear", 0, |o| o.total = None)).starts_with("schedule.totalSteps: "));
        assert!(code(options("warmup_stable_decay", 9, |o| o.decay_steps = Some(4)))
            .starts_with("schedule.numDecaySteps: "));
        assert!(code(options("cosine_with_min_lr", 0, |_| {})).starts_with("schedule.minLr: "));
        assert!(code(options("step", 0, |_| {})).contains("warmup_stable_decay"));
        let schedule = Schedule::new(&options("cosine", 2, |_| {})).unwrap();
        assert_eq!(schedule.factor(40), 0.);
    }
}
