//! RoAd: rotates and scales pairs of what layers give.
//!
//! Liao et al. 2024 (arXiv 2409.00119); PEFT's `peft.tuners.road`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::{Active, LayerAdapter};
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use swift_tuners_nn::linalg::rotate_pairs;
use swift_tuners_nn::module::{Args, Next, Part, WeightKind};
use swift_tuners_nn::{Error, Param, Result, Tensor};

crate::config! {
    /// `RoadConfig`
    pub struct RoadConfig {
        standard: [peft, target_modules, modules_to_save];
        /// How many values turn a pair: one angle and one scale ('road_1'), those of each output ('road_2'), or each output's own for
        /// both of its terms ('road_4').
        variant: Variant = Variant::One;
        /// Outputs of a group, whose halves are paired: an even number that divides the layers' outputs.
        group_size: usize = 64;
        /// False starts with random rotations, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

crate::words! {
    /// How many values turn a pair.
    pub enum Variant { One = "road_1", Two = "road_2", Four = "road_4" }
}

/// `y = a ∘ base(x) + b ∘ J base(x)`, `a = α cos θ`, `b = α sin θ`, and J turns the halves of each group.
#[derive(Clone)]
pub struct Road {
    /// `[out / 2]`, `[out]` or `[2 out]`, as `alpha`
    theta: Param,
    alpha: Param,
    variant: Variant,
    group: usize,
}

impl LayerKind for Road {
    const NAME: &'static str = "ROAD";
    const CLASS: &'static str = "RoadConfig";
    const ABOUT: &'static str = "Rotates and scales pairs of what layers give. Liao et al. 2024 (arXiv 2409.00119).";
    type Config = RoadConfig;
    type Adapter = Self;

    fn check(c: &RoadConfig) -> Result<()> {
        if c.group_size == 0 || !c.group_size.is_multiple_of(2) {
            return Err(Error::config("group_size", format!("expected an even number, found {}", c.group_size)));
        }
        Ok(())
    }

    fn new(c: &RoadConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let (outputs, group) = (site.outputs, c.group_size);
        if !outputs.is_multiple_of(group) {
            let why = format!("{group} does not divide the {outputs} outputs of {}", site.path);
            return Err(Error::config("group_size", why));
        }
        let size = match c.variant {
            Variant::One => outputs / 2,
            Variant::Two => outputs,
            Variant::Four => outputs * 2,
        };
        let mut start = |value: f64| {
            if c.init_weights {
                init.constant(&[size], value)
            } else {
                init.param(&[size], move |g| g.normal(&[size], value, 0.5))
            }
        };
        Ok(Self { theta: start(0.)?, alpha: start(1.)?, variant: c.variant, group })
    }
}

impl Road {
    /// The factors of y and of J y, `[out]` each.
    fn factors(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let (theta, alpha) = (call.value(&self.theta)?, call.value(&self.alpha)?);
        let (n, group) = (call.site.outputs, self.group);
        match self.variant {
            Variant::One => {
                let half = group / 2;
                // Both halves of a group have the same.
                let twice = |x: &Tensor| -> Result<Tensor> {
                    x.reshape((n / group, 1, half))?.broadcast_to(&[n / group, 2, half])?.contiguous()?.reshape(n)
                };
                let (theta, alpha) = (twice(&theta)?, twice(&alpha)?);
                Ok((alpha.mul(&theta.cos()?)?, alpha.mul(&theta.sin()?)?))
            }
            Variant::Two => Ok((alpha.mul(&theta.cos()?)?, alpha.mul(&theta.sin()?)?)),
            Variant::Four => {
                let part = |x: &Tensor, i: usize| -> Result<Tensor> {
                    x.reshape((n / group, 2, group))?.narrow(1, i, 1)?.contiguous()?.reshape(n)
                };
                let a = part(&alpha, 0)?.mul(&part(&theta, 0)?.cos()?)?;
                Ok((a, part(&alpha, 1)?.mul(&part(&theta, 1)?.sin()?)?))
            }
        }
    }
}

impl LayerAdapter for Road {
    const GROUPS: &'static [&'static str] = &["road_theta", "road_alpha"];
    const FUSED_ROWS: bool = true;

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::trained("road_theta", &self.theta), Part::trained("road_alpha", &self.alpha)]
    }

    fn output(&self, call: &Call<'_>, y: &Tensor) -> Result<Option<Tensor>> {
        let (a, b) = self.factors(call)?;
        rotate_pairs(&y.to_dtype(a.dtype())?, &a, &b, self.group)?.to_dtype(y.dtype()).map(Some)
    }

    /// Rows that differ take one product with the weight; only what comes out is turned by each adapter.
    fn fused(active: &[Active<'_, Self>], call: &Call<'_>, x: &Input, next: &Next<'_>) -> Result<Option<Tensor>> {
        let x = x.tensor()?;
        let Some(runs) = call.cx.row_runs(x.dim(0))? else { return Ok(None) };
        let y = next.run(call.cx, Args::one(x.clone()))?.into_tensor()?;
        let mut parts = Vec::with_capacity(runs.len());
        for run in runs {
            let part = y.narrow(0, run.rows.start, run.rows.len())?.contiguous()?;
            let own = active.iter().find(|a| run.adapter == Some(a.id));
            let turned = own.map(|a| a.adapter.output(call, &part)).transpose()?.flatten();
            parts.push(turned.unwrap_or(part));
        }
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0).map(Some)
    }
}
