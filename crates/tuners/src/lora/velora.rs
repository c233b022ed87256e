//! VeLoRA: training keeps a compressed copy of what goes into A.
//!
//! Miles et al. 2024 (arXiv 2405.17991); PEFT's `VeloraLinearVariant`.

use crate::init::Init;
use crate::site::Site;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use swift_tuners_nn::ops;
use swift_tuners_nn::{Array, Param, Result, Tensor};

crate::words! {
    /// Where the direction comes from that inputs are kept along.
    pub enum Direction {
        /// The mean of each batch.
        Average = "batch_average",
        /// The mean of the first batch.
        First = "batch_average_once",
        Random = "random",
    }
}

crate::object! {
    /// How inputs are compressed.
    pub struct VeloraConfig {
        /// Groups that the features are cut into; more of them keep more.
        num_groups: usize = 64, in 1..;
        /// Multiplies what is restored.
        scale: f64 = 1., in f64::MIN_POSITIVE..;
        /// Where the direction comes from that inputs are kept along.
        init_type: Direction = Direction::Average;
    }
}

#[derive(Clone)]
pub struct Velora {
    /// `[in / groups, rounded up]`; changes while training.
    pub direction: Param,
    groups: usize,
    scale: f64,
    kind: Direction,
    found: Arc<AtomicBool>,
}

impl Velora {
    pub fn new(c: &VeloraConfig, site: &Site, init: &mut Init) -> Result<Self> {
        let width = site.inputs.div_ceil(c.num_groups);
        let direction = match c.init_type {
            Direction::Random => init.param(&[width], move |g| unit(&g.randn(&[width])?))?,
            _ => init.constant(&[width], 0.)?,
        };
        direction.set_requires_grad(false);
        Ok(Self { direction, groups: c.num_groups, scale: c.scale, kind: c.init_type, found: Arc::default() })
    }

    /// `x Aᵀ` of a training step, which may change the direction first.
    pub fn product(&self, x: &Tensor, a: &Tensor) -> Result<Tensor> {
        let keep = match self.kind {
            Direction::Random => true,
            Direction::First => self.found.swap(true, Ordering::Relaxed),
            Direction::Average => false,
        };
        if !keep {
            let (inp, width) = (x.last_dim(), self.direction.numel());
            let rows = x.data().elem_count() / inp.max(1);
            let padded = x.data().reshape((rows, inp))?.pad_with_zeros(1, 0, self.groups * width - inp)?;
            let mean = padded.reshape((rows * self.groups, width))?.mean(0)?;
            self.direction.take(&unit(&mean)?)?;
        }
        ops::compressed_linear(x, a, &self.direction.array()?, self.groups, self.scale)
    }
}

/// The vector at length one; of zeros that of ones.
fn unit(x: &Array) -> Result<Array> {
    let x = x.to_dtype(ops::compute_dtype(x.dtype()))?;
    let length = |x: &Array| -> Result<f64> {
        Ok(x.sqr()?.sum_all()?.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?.sqrt())
    };
    Ok(match length(&x)? {
        0. => {
            let ones = x.ones_like()?;
            let n = length(&ones)?;
            (ones / n)?
        }
        n => (x / n)?,
    })
}
