//! Optimizers by name, from settings of which each takes its own and has its own defaults.

use crate::adafactor::{Adafactor, AdafactorOptions};
use crate::adamw::AdamW;
use crate::adamw8bit::AdamW8bit;
use crate::galore::GaLoreAdamW;
use crate::lora_fa::{LoraFa, Pair};
use crate::muon::{AdjustLr, Muon};
use crate::optimizer::{Group, Optimizer};
use crate::projection::{ProjType, Projection, Quantisation, DEFAULT_QUANTISATION};
use crate::q_galore::QGaLoreAdamW;
use crate::sgd::Sgd;
use std::collections::HashMap;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// The settings of every optimizer.
#[derive(Clone, Debug, Default)]
pub struct OptimizerOptions {
    pub lr: f64,
    pub weight_decay: f64,
    pub beta1: Option<f64>,
    pub beta2: Option<f64>,
    pub eps: Option<f64>,
    pub eps2: Option<f64>,
    pub momentum: Option<f64>,
    pub dampening: Option<f64>,
    pub nesterov: Option<bool>,
    pub clip_threshold: Option<f64>,
    pub decay_rate: Option<f64>,
    pub scale_parameter: Option<bool>,
    pub relative_step: Option<bool>,
    pub warmup_init: Option<bool>,
    pub correct_bias: Option<bool>,
    pub ns_coefficients: Option<Vec<f64>>,
    pub ns_steps: Option<usize>,
    pub adjust_lr_fn: Option<String>,
    /// LoRA-FA's, by the names of the parameters that step with them.
    pub pairs: HashMap<String, Pair>,
}

impl OptimizerOptions {
    /// The optimizer that is called `kind` in TypeScript.
    pub fn build(&self, kind: &str, groups: Vec<Group>) -> Result<Optimizer> {
        let o = self;
        let betas = (o.beta1.unwrap_or(0.9), o.beta2.unwrap_or(0.999));
        let eps = |default: f64| o.eps.unwrap_or(default);
        let (lr, decay) = (o.lr, o.weight_decay);
        match kind {
            "AdamW" => Optimizer::new(groups, lr, decay, AdamW::new(betas, eps(1e-8))?),
            "AdamW8bit" => Optimizer::new(groups, lr, decay, AdamW8bit::new(betas, eps(1e-8))?),
            "SGD" => {
                let (momentum, dampening) = (o.momentum.unwrap_or(0.), o.dampening.unwrap_or(0.));
                Optimizer::new(groups, lr, decay, Sgd::new(momentum, dampening, o.nesterov.unwrap_or(false))?)
            }
            "Adafactor" | "GaLoreAdafactor" => {
                let options = AdafactorOptions {
                    eps: (eps(1e-30), o.eps2.unwrap_or(1e-3)),
                    clip_threshold: o.clip_threshold.unwrap_or(1.),
                    decay_rate: o.decay_rate.unwrap_or(-0.8),
                    beta1: o.beta1,
                    scale_parameter: o.scale_parameter.unwrap_or(true),
                    relative_step: o.relative_step.unwrap_or(true),
                    warmup_init: o.warmup_init.unwrap_or(false),
                };
                Optimizer::new(groups, lr, decay, Adafactor::new(options, kind == "GaLoreAdafactor")?)
            }
            "GaLoreAdamW" => {
                let correct = o.correct_bias.unwrap_or(true);
                Optimizer::new(groups, lr, decay, GaLoreAdamW::new(betas, eps(1e-6), correct)?)
            }
            "LoraFA" => {
                let correct = o.correct_bias.unwrap_or(true);
                Optimizer::new(groups, lr, decay, LoraFa::new(betas, eps(1e-6), correct, o.pairs.clone())?)
            }
            "QGaLoreAdamW" => Optimizer::new(groups, lr, decay, QGaLoreAdamW::new(betas, eps(1e-8))?),
            "Muon" => {
                let ns = o.ns_coefficients.as_deref().unwrap_or(&[3.4445, -4.7750, 2.0315]);
                let &[a, b, c] = ns else {
                    return Err(Error::config("nsCoefficients", format!("expected three numbers, found {}", ns.len())));
                };
                let muon = Muon {
                    momentum: o.momentum.unwrap_or(0.95),
                    nesterov: o.nesterov.unwrap_or(true),
                    ns_coefficients: (a, b, c),
                    eps: eps(1e-7),
                    ns_steps: o.ns_steps.unwrap_or(5),
                    adjust: AdjustLr::parse(o.adjust_lr_fn.as_deref().unwrap_or("original"))?,
                };
                Optimizer::new(groups, lr, decay, muon.check()?)
            }
            other => Err(Error::Argument(format!("no optimizer is called {:?}", printable(other, 40)))),
        }
    }
}

/// GaLore's settings of a group.
#[derive(Clone, Debug, Default)]
pub struct ProjectionOptions {
    pub rank: usize,
    /// Default 50.
    pub update_proj_gap: Option<u64>,
    /// Default 1.
    pub scale: Option<f64>,
    /// Default `std`.
    pub proj_type: Option<String>,
    /// Q-GaLore's quantised basis, to which the rest belongs.
    pub quant: bool,
    pub quant_n_bit: Option<u32>,
    pub quant_group_size: Option<usize>,
    pub cos_threshold: Option<f64>,
    pub gamma_proj: Option<f64>,
    pub queue_size: Option<usize>,
}

impl ProjectionOptions {
    pub fn build(&self) -> Result<Projection> {
        let d = DEFAULT_QUANTISATION;
        let projection = Projection {
            rank: self.rank,
            update_proj_gap: self.update_proj_gap.unwrap_or(50),
            scale: self.scale.unwrap_or(1.),
            proj_type: ProjType::parse(self.proj_type.as_deref().unwrap_or("std"))?,
            quantisation: self.quant.then(|| Quantisation {
                bits: self.quant_n_bit.unwrap_or(d.bits),
                group_size: self.quant_group_size.unwrap_or(d.group_size),
                cos_threshold: self.cos_threshold.unwrap_or(d.cos_threshold),
                gamma: self.gamma_proj.unwrap_or(d.gamma),
                queue_size: self.queue_size.unwrap_or(d.queue_size),
            }),
        };
        projection.check()?;
        Ok(projection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use swift_tuners_nn::{Array, Param};

    fn groups() -> Vec<Group> {
        let p = Param::new(Array::ones((2, 3), DType::F32, &Device::Cpu).unwrap(), true);
        vec![Group { params: vec![("p".into(), p)], ..Group::default() }]
    }

    #[test]
    fn every_optimizer_is_built_from_its_defaults_alone() {
        let options = OptimizerOptions { lr: 0.1, ..Default::default() };
        for kind in ["AdamW", "AdamW8bit", "SGD", "GaLoreAdamW", "LoraFA", "QGaLoreAdamW", "Muon"] {
            assert!(options.build(kind, groups()).is_ok(), "{kind}");
        }
        let relative = OptimizerOptions::default();
        assert!(["Adafactor", "GaLoreAdafactor"].iter().all(|kind| relative.build(kind, groups()).is_ok()));
        let refused = options.build("Adam", groups()).err().unwrap().to_string();
        assert!(refused.contains("\"Adam\""), "{refused}");
    }

    #[test]
    fn newton_and_schulz_take_three_coefficients() {
        let options = OptimizerOptions { lr: 0.1, ns_coefficients: Some(vec![1., 2.]), ..Default::default() };
        let refused = options.build("Muon", groups()).err().unwrap();
        assert!(matches!(&refused, Error::Config { option, .. } if option == "nsCoefficients"), "{refused}");
    }

    #[test]
    fn a_rank_alone_gives_swifts_projection() {
        let plain = ProjectionOptions { rank: 4, ..Default::default() };
        let expected =
            Projection { rank: 4, update_proj_gap: 50, scale: 1., proj_type: ProjType::Std, quantisation: None };
        assert_eq!(plain.build().unwrap(), expected);
        let quantised = ProjectionOptions { quant: true, quant_n_bit: Some(8), ..plain.clone() }.build().unwrap();
        assert_eq!(quantised.quantisation, Some(Quantisation { bits: 8, ..DEFAULT_QUANTISATION }));
        assert!(ProjectionOptions { rank: 0, ..plain.clone() }.build().is_err());
        assert!(ProjectionOptions { proj_type: Some("sideways".into()), ..plain }.build().is_err());
    }
}
