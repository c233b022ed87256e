//! The blocks of the bypass.

use super::scaling::{Named, Scaling};
use super::spec::Spec;
use crate::blocks::{over_channels, Bottleneck, Dense};
use crate::init::Init;
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::ops::{self, Activation, Conv2dShape};
use swift_tuners_nn::{Context, Error, Param, Result, Tensor};

/// `aux(lateral(stem) + vertical(x))`
pub struct Block {
    pub lateral: ResTuner,
    pub vertical: ResTuner,
    pub aux: Option<ResTuner>,
}

impl Block {
    pub fn apply(&self, cx: &Context, stem: &Tensor, x: &Tensor, next: Option<&Tensor>) -> Result<Tensor> {
        let sides = (self.lateral.apply(cx, stem, None)?, self.vertical.apply(cx, x, None)?);
        let sum = match sides {
            (Some(a), Some(b)) => a.add(&b)?,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Err(Error::Invalid("Res-Tuning: both sides of a block are zero".into())),
        };
        match &self.aux {
            Some(aux) => aux.apply(cx, &sum, next)?.ok_or_else(|| Error::config("aux_cfg", "zero leaves nothing")),
            None => Ok(sum),
        }
    }
}

/// Where a tuner stands.
pub struct At {
    pub dim: usize,
    pub index: usize,
    /// The second linear layer starts at zero.
    pub zero: bool,
}

pub enum ResTuner {
    Identity,
    Zero,
    Adapter {
        net: Bottleneck,
        scaling: Scaling,
    },
    /// Channels in heads that share one network, the head's index running fastest.
    GroupAdapter {
        net: Bottleneck,
        heads: usize,
        scaling: Scaling,
    },
    Upsample {
        conv: Option<(Param, Param)>,
        channels: usize,
    },
}

impl ResTuner {
    pub fn new(spec: &Spec, at: &At, upsampled: Option<usize>, init: &mut Init) -> Result<Self> {
        let size = |options: &Json, name: &str, default: usize| match options.get(name) {
            None | Some(Json::Null) => Ok(default),
            Some(v) => match v.as_u64() {
                Some(n) if (1..=1 << 20).contains(&n) => Ok(n as usize),
                _ => {
                    Err(Error::config(format!("tuner_cfg.{name}"), format!("found {}", printable(&v.to_string(), 60))))
                }
            },
        };
        Ok(match spec {
            Spec::Identity => Self::Identity,
            Spec::Zero => Self::Zero,
            Spec::Adapter(options) => {
                let length = match options.get("adapter_length") {
                    Some(Json::Array(list)) => {
                        let one = list.get(at.index).and_then(|v| v.as_u64()).filter(|n| (1..=1 << 20).contains(n));
                        one.ok_or_else(|| Error::config("tuner_cfg.adapter_length", "expected a size per block"))?
                            as usize
                    }
                    _ => size(options, "adapter_length", 32)?,
                };
                // Both constructors draw before the initialisations do.
                init.discard_dense(at.dim, length, true)?;
                init.discard_dense(length, at.dim, true)?;
                let down = init.xavier_dense(at.dim, length)?;
                let up = if at.zero { init.zero_dense(length, at.dim)? } else { init.xavier_dense(length, at.dim)? };
                let net = Bottleneck { down, up, act: Activation::Gelu };
                Self::Adapter { net, scaling: Scaling::new(options, at.dim, init)? }
            }
            Spec::GroupAdapter(options) => {
                let (heads, factor) = (size(options, "head", 4)?, size(options, "scale_factor", 2)?);
                let dim = size(options, "dim", at.dim)?;
                if dim % heads != 0 {
                    return Err(Error::config("tuner_cfg.head", format!("{heads} heads do not divide {dim} channels")));
                }
                let inner = dim / heads;
                let kaiming = |init: &mut Init, inp: usize, out: usize| -> Result<Dense> {
                    let weight = init.kaiming(&[out, inp])?;
                    Ok(Dense { weight, bias: Some(init.normal(&[out], 1.)?) })
                };
                init.discard_dense(inner, inner * factor, true)?;
                init.discard_dense(inner * factor, inner, true)?;
                let down = kaiming(init, inner, inner * factor)?;
                let up = if at.zero {
                    init.zero_dense(inner * factor, inner)?
                } else {
                    kaiming(init, inner * factor, inner)?
                };
                let net = Bottleneck { down, up, act: Activation::Gelu };
                Self::GroupAdapter { net, heads, scaling: Scaling::new(options, at.dim, init)? }
            }
            Spec::Upsample => {
                let conv = match upsampled {
                    Some(out) => {
                        init.discard_dense(at.dim * 9, out, true)?;
                        Some((init.constant(&[out, at.dim, 3, 3], 0.)?, init.constant(&[out], 0.)?))
                    }
                    None => None,
                };
                Self::Upsample { conv, channels: at.dim }
            }
        })
    }

    pub fn params(&self) -> Named {
        match self {
            Self::Identity | Self::Zero => Vec::new(),
            Self::Adapter { net, scaling } | Self::GroupAdapter { net, scaling, .. } => {
                let (direct, inside) = scaling.params();
                // Parameters come before modules in Python.
                direct.into_iter().chain(net.params(["ln1", "ln2"])).chain(inside).collect()
            }
            Self::Upsample { conv, .. } => {
                let named = |(w, b): &(Param, Param)| {
                    vec![("conv.weight".to_owned(), w.clone()), ("conv.bias".to_owned(), b.clone())]
                };
                conv.as_ref().map(named).unwrap_or_default()
            }
        }
    }

    /// `None` for nothing at all. `next`: the next stem, whose size is upsampled to.
    pub fn apply(&self, cx: &Context, x: &Tensor, next: Option<&Tensor>) -> Result<Option<Tensor>> {
        Ok(Some(match self {
            Self::Zero => return Ok(None),
            Self::Identity => x.clone(),
            Self::Adapter { net, scaling } => {
                let wide = x.to_dtype(net.dtype())?;
                let y = over_channels(&wide, |x| scaling.apply(cx, &net.apply(cx, x)?))?;
                wide.add(&y)?.to_dtype(x.dtype())?
            }
            Self::GroupAdapter { net, heads, scaling } => {
                if x.rank() != 4 {
                    return Err(Error::Shape {
                        path: "res_group_adapter (images only)".into(),
                        expected: vec![0; 4],
                        actual: x.dims().to_vec(),
                    });
                }
                let wide = x.to_dtype(net.dtype())?;
                let y = over_channels(&wide, |x| {
                    let (batch, positions, channels) = (x.dim(0), x.dim(1), x.dim(2));
                    let split = x.reshape((batch, positions, channels / heads, *heads))?.transpose(2, 3)?;
                    let y = net.apply(cx, &split.contiguous()?)?; // [batch, positions, heads, channels / heads]
                    let joined = y.transpose(2, 3)?.contiguous()?.reshape((batch, positions, channels))?;
                    scaling.apply(cx, &joined)
                })?;
                wide.add(&y)?.to_dtype(x.dtype())?
            }
            Self::Upsample { conv, channels } => {
                if x.rank() != 4 || x.dim(1) != *channels {
                    return Err(Error::Shape {
                        path: "upsample of Res-Tuning".into(),
                        expected: vec![x.dims().first().copied().unwrap_or(1), *channels, 0, 0],
                        actual: x.dims().to_vec(),
                    });
                }
                let (rows, cols) = match next {
                    Some(next) if next.rank() == 4 => (next.dim(2), next.dim(3)),
                    _ => (2 * x.dim(2), 2 * x.dim(3)),
                };
                let y = ops::upsample_nearest(x, rows, cols)?;
                match conv {
                    Some((weight, bias)) => {
                        let shape = Conv2dShape { padding: 1, ..Default::default() };
                        let w = weight.value(cx.grad)?;
                        let y = y.to_dtype(w.dtype())?;
                        ops::conv2d(&y, &w, Some(&bias.value(cx.grad)?), shape)?.to_dtype(x.dtype())?
                    }
                    None => y,
                }
            }
        }))
    }
}
