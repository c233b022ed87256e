//! LoRA-GA: factors along the gradient of full fine-tuning.
//!
//! Wang et al. 2024 (arXiv 2407.05000); PEFT's `lora_ga_init`.

use crate::init::Init;
use crate::site::Site;
use swift_tuners_nn::linalg::svd_lowrank;
use swift_tuners_nn::{Array, Error, Result};

crate::words! {
    /// Which of the gradient's 2 r largest singular triplets A and B take.
    pub enum Components {
        /// Every other one: the even ones are B's.
        Alternating = "ArBr",
        /// The first are B's.
        Second = "A2rBr",
        /// The first are A's.
        First = "ArB2r",
        /// Both the same ones.
        Random = "random",
    }
}

crate::words! {
    /// What the factors are multiplied by.
    pub enum Scale {
        Stable = "stable",
        Weight = "weight_svd",
        Descent = "gd_scale",
        Unit = "unit",
    }
}

crate::object! {
    /// How the gradient becomes factors.
    pub struct LoraGaConfig {
        /// Which of the gradient's singular triplets A and B take.
        direction: Components = Components::First;
        /// What the factors are multiplied by.
        scale: Scale = Scale::Stable;
        /// Of the scale `stable`.
        stable_gamma: usize = 16, in 1..;
    }
}

/// Passes of the randomised decompositions.
const PASSES: usize = 4;

/// A and B from the gradient that was measured; nothing where none was, as for an adapter from a file.
pub fn factors(
    c: Option<&LoraGaConfig>,
    site: &Site,
    r: usize,
    scaling: f64,
    init: &mut Init,
) -> Result<Option<(Array, Array)>> {
    let Some(gradient) = &site.measured.gradient else { return Ok(None) };
    let Some(c) = c else { return Err(Error::config("lora_ga_config", "missing: init_lora_weights is lora_ga")) };
    let most = site.outputs.min(site.inputs);
    if 2 * r > most {
        let why = format!("lora_ga takes 2 r singular values of the {most} that {} has", site.path);
        return Err(Error::config("r", why));
    }
    let gradient = gradient.array()?;
    let (u, s, vt) = init.draw(|g| svd_lowrank(&gradient, (4 * r).min(most), PASSES, g))?;
    let every = |from: usize, step: usize| (0..r).map(|i| (from + i * step) as u32).collect::<Vec<_>>();
    let (of_a, of_b) = match c.direction {
        Components::Alternating => (every(1, 2), every(0, 2)),
        Components::Second => (every(r, 1), every(0, 1)),
        Components::First => (every(0, 1), every(r, 1)),
        Components::Random => {
            let chosen = init.draw(|g| g.randperm_first(2 * r, r))?;
            (chosen.clone(), chosen)
        }
    };
    let index = |at: Vec<u32>| Array::from_vec(at, r, &candle_core::Device::Cpu);
    let (of_a, of_b) = (index(of_a)?, index(of_b)?);
    let a = vt.contiguous()?.index_select(&of_a, 0)?;
    let s = s.index_select(&of_b, 0)?;
    let b = u.contiguous()?.index_select(&of_b, 1)?.broadcast_mul(&s.unsqueeze(0)?)?;
    Ok(Some(match c.scale {
        Scale::Unit => (a, b),
        Scale::Descent => ((a / scaling)?, (b / scaling)?),
        // PEFT takes the rows of the weight as it lies for its outputs.
        Scale::Stable => {
            let rows = site.shape[0] as f64;
            (a, (b * (rows.powf(0.25) / (c.stable_gamma as f64).sqrt()))?)
        }
        Scale::Weight => {
            let weight = site.matrix()?;
            let largest = init.draw(|g| svd_lowrank(&weight, r, PASSES, g))?.1.to_vec1::<f32>()?[0];
            let first = s.to_vec1::<f32>()?[0];
            let factor = if first > 0. { f64::from(largest / first) } else { 1. };
            (a, (b * factor)?)
        }
    }))
}
