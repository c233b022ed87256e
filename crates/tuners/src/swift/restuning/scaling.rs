//! Weights of the bypass's branches.

use crate::blocks::Dense;
use crate::init::Init;
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Context, Error, Param, Result, Tensor};

/// Parameters by their names inside of a tuner.
pub type Named = Vec<(String, Param)>;

/// `adapter_weight`: what the branch is multiplied with before it joins the residual.
pub enum Scaling {
    None,
    Constant(f64),
    /// One number, or one per channel.
    Scale(Param),
    /// The mean over positions of the sigmoid of a linear layer.
    Gate(Dense),
}

impl Scaling {
    pub fn new(options: &Json, dim: usize, init: &mut Init) -> Result<Self> {
        let kind = match options.get("adapter_weight") {
            None | Some(Json::Null) => return Ok(Self::None),
            Some(Json::String(kind)) => kind,
            Some(v) => {
                return Err(Error::config(
                    "tuner_cfg.adapter_weight",
                    format!("found {}", printable(&v.to_string(), 60)),
                ))
            }
        };
        Ok(match kind.as_str() {
            "gate" => Self::Gate(init.dense(dim, 1, true)?),
            "scale" => Self::Scale(init.constant(&[1], 1.)?),
            "scale_channel" => Self::Scale(init.constant(&[dim], 1.)?),
            scalar if scalar.starts_with("scalar") => {
                let number = scalar.rsplit('_').next().and_then(|n| n.parse::<f64>().ok()).filter(|n| n.is_finite());
                Self::Constant(number.ok_or_else(|| {
                    Error::config("tuner_cfg.adapter_weight", format!("{:?} ends in no number", printable(scalar, 60)))
                })?)
            }
            _ => Self::None,
        })
    }

    /// Parameters of its own, and those of its module.
    pub fn params(&self) -> (Named, Named) {
        match self {
            Self::None | Self::Constant(_) => (Vec::new(), Vec::new()),
            Self::Scale(p) => (vec![("scaling".to_owned(), p.clone())], Vec::new()),
            Self::Gate(dense) => (Vec::new(), dense.params("scaling")),
        }
    }

    /// `y [batch, positions, channels]`
    pub fn apply(&self, cx: &Context, y: &Tensor) -> Result<Tensor> {
        match self {
            Self::None => Ok(y.clone()),
            Self::Constant(c) => y.affine(*c, 0.),
            Self::Scale(p) => y.mul(&p.value(cx.grad)?),
            Self::Gate(dense) => y.mul(&dense.apply(cx, y)?.sigmoid()?.mean(Some(&[1]), true)?),
        }
    }
}
