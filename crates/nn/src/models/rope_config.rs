//! Rotary frequencies for every scaling that transformers knows under these names: default, linear, dynamic, yarn, llama3.

use super::config::Config;
use crate::error::printable;
use crate::{Error, Result};
use std::f64::consts::PI;

#[derive(Clone, Debug)]
pub(crate) struct RopeConfig {
    pub theta: f64,
    /// Rotated part of a head.
    pub dim: usize,
    scaling: Scaling,
}

#[derive(Clone, Debug)]
enum Scaling {
    Default,
    Linear { factor: f64 },
    Dynamic { factor: f64, trained: f64 },
    Yarn { factor: f64, trained: f64, beta_fast: f64, beta_slow: f64, attention_factor: f64, truncate: bool },
    Llama3 { factor: f64, low: f64, high: f64, trained: f64 },
}

/// The config's rope parameters.
fn parameters<'a>(c: &Config<'a>) -> Result<Option<Config<'a>>> {
    match c.object("rope_parameters")?.filter(|p| !p.is_empty()) {
        None => c.object("rope_scaling"),
        some => Ok(some),
    }
}

impl Scaling {
    /// From one set of rope parameters, with `c` for what they lack.
    fn new(c: &Config, scaling: Option<&Config>) -> Result<Self> {
        let Some(s) = scaling else {
            return Ok(Self::Default);
        };
        let trained = c.float_or("max_position_embeddings", 2048.)?;
        let original = match s.get("original_max_position_embeddings") {
            Some(_) => s.float_or("original_max_position_embeddings", trained)?,
            None => c.float_or("original_max_position_embeddings", trained)?,
        };
        let factor = || -> Result<f64> {
            let f = s.float_or("factor", 1.)?;
            if f >= 1. {
                Ok(f)
            } else {
                Err(Error::config("config.json: rope factor", format!("expected a number ≥ 1, found {f}")))
            }
        };
        let kind = match s.text("rope_type")? {
            Some(kind) => Some(kind),
            None => s.text("type")?,
        };
        Ok(match kind.unwrap_or("default") {
            "default" => Self::Default,
            "linear" => Self::Linear { factor: factor()? },
            "dynamic" => Self::Dynamic { factor: factor()?, trained },
            "llama3" => Self::Llama3 {
                factor: factor()?,
                low: s.float_or("low_freq_factor", 1.)?,
                high: s.float_or("high_freq_factor", 4.)?,
                trained: s.float_or("original_max_position_embeddings", trained)?,
            },
            "yarn" => {
                let factor = factor()?;
                let get = |scale: f64, m: f64| {
                    if scale <= 1. {
                        1.
                    } else {
                        0.1 * m * scale.ln() + 1.
                    }
                };
                let (mscale, all) = (s.float_or("mscale", 0.)?, s.float_or("mscale_all_dim", 0.)?);
                let derived =
                    if mscale != 0. && all != 0. { get(factor, mscale) / get(factor, all) } else { get(factor, 1.) };
                Self::Yarn {
                    factor,
                    trained: original,
                    beta_fast: s.float_or("beta_fast", 32.)?,
                    beta_slow: s.float_or("beta_slow", 1.)?,
                    attention_factor: s.float_or("attention_factor", derived)?,
                    truncate: s.flag("truncate", true)?,
                }
            }
            other => {
                return Err(Error::UnsupportedModel(format!("rope_type {:?} is not implemented", printable(other, 40))))
            }
        })
    }
}

impl RopeConfig {
    /// From `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
    pub fn new(c: &Config, head_dim: usize, default_theta: f64) -> Result<Self> {
        Self::of(c, parameters(c)?.as_ref(), head_dim, default_theta)
    }

    /// Positions that a model with this config is made for, by those that it was trained on.
    pub fn reach(c: &Config, trained: usize) -> Result<usize> {
        let reach = match Scaling::new(c, parameters(c)?.as_ref())? {
            Scaling::Default | Scaling::Llama3 { .. } => return Ok(trained),
            Scaling::Linear { factor } | Scaling::Dynamic { factor, .. } => trained as f64 * factor,
            Scaling::Yarn { factor, trained: original, .. } => original * factor,
        };
        Ok(trained.max(reach as usize))
    }

    /// Without any scaling, over whole heads.
    pub fn plain(theta: f64, head_dim: usize) -> Result<Self> {
        if theta <= 0. || head_dim % 2 == 1 {
            return Err(Error::config("config.json: rope", format!("theta {theta} over heads of {head_dim}")));
        }
        Ok(Self { theta, dim: head_dim, scaling: Scaling::Default })
    }

    /// From one set of rope parameters, with `c` for what they lack.
    pub fn of(c: &Config, scaling: Option<&Config>, head_dim: usize, default_theta: f64) -> Result<Self> {
        let at = |name: &str, default: f64| -> Result<f64> {
            match scaling {
                Some(s) if s.get(name).is_some() => s.float_or(name, default),
                _ => c.float_or(name, default),
            }
        };
        let theta = at("rope_theta", default_theta)?;
        if theta <= 0. {
            return Err(Error::config("config.json: rope_theta", format!("expected a number > 0, found {theta}")));
        }
        let partial = at("partial_rotary_factor", 1.)?;
        let dim = (head_dim as f64 * partial) as usize;
        if dim == 0 || dim % 2 == 1 || dim > head_dim {
            return Err(Error::config("config.json", format!("the rotated part of a head must be even, found {dim}")));
        }
        Ok(Self { theta, dim, scaling: Scaling::new(c, scaling)? })
    }

    /// Inverse frequencies, and the factor on both tables, for a pass over `length` positions.
    pub fn frequencies(&self, length: usize) -> (Vec<f32>, f64) {
        let dim = self.dim as f64;
        let with = |theta: f64| (0..self.dim / 2).map(move |i| 1. / theta.powf(2. * i as f64 / dim));
        let plain = || with(self.theta);
        let mut scale = 1.;
        let values: Vec<f64> = match self.scaling {
            Scaling::Default => plain().collect(),
            Scaling::Linear { factor } => plain().map(|f| f / factor).collect(),
            Scaling::Dynamic { factor, trained } => {
                let length = (length as f64).max(trained);
                let stretch = factor * length / trained - (factor - 1.);
                with(self.theta * stretch.powf(dim / (dim - 2.))).collect()
            }
            Scaling::Llama3 { factor, low, high, trained } => plain()
                .map(|f| {
                    let wavelength = 2. * PI / f;
                    if wavelength < trained / high {
                        f
                    } else if wavelength > trained / low {
                        f / factor
                    } else {
                        let smooth = (trained / wavelength - low) / (high - low);
                        (1. - smooth) * f / factor + smooth * f
                    }
                })
                .collect(),
            Scaling::Yarn { factor, trained, beta_fast, beta_slow, attention_factor, truncate } => {
                scale = attention_factor;
                let correction = |rotations: f64| dim * (trained / (rotations * 2. * PI)).ln() / (2. * self.theta.ln());
                let (mut low, mut high) = (correction(beta_fast), correction(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.), high.min(dim - 1.));
                if low == high {
                    high += 0.001;
                }
                plain()
                    .enumerate()
                    .map(|(i, f)| {
                        let ramp = ((i as f64 - low) / (high - low)).clamp(0., 1.);
                        f / factor * ramp + f * (1. - ramp)
                    })
                    .collect()
            }
        };
        (values.into_iter().map(|f| f as f32).collect(), scale)
    }
}
