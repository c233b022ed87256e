//! Stochastic gradient descent with momentum; numbers as `torch.optim.SGD`.
//!
//! Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".

use crate::algorithm::{Algorithm, Settings, State};
use crate::range::range;
use swift_tuners_nn::{Array, Error, Result};

#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    momentum: f64,
    dampening: f64,
    nesterov: bool,
}

impl Sgd {
    pub fn new(momentum: f64, dampening: f64, nesterov: bool) -> Result<Self> {
        range("momentum", momentum >= 0. && momentum.is_finite(), momentum)?;
        range("dampening", dampening.is_finite(), dampening)?;
        if nesterov && (momentum == 0. || dampening != 0.) {
            return Err(Error::config("nesterov", "needs a momentum and no dampening"));
        }
        Ok(Self { momentum, dampening, nesterov })
    }
}

impl Algorithm for Sgd {
    fn keys(&self) -> &'static [&'static str] {
        &["momentum_buffer"]
    }

    fn shape(&self, _: &str, param: &[usize], _: &Settings<'_>) -> Option<Vec<usize>> {
        Some(param.to_vec())
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        // L2 regularisation, not decoupled decay.
        let g = if settings.weight_decay == 0. { g.clone() } else { (g + (p * settings.weight_decay)?)? };
        let direction = if self.momentum == 0. {
            g
        } else {
            let buffer = match state.get("momentum_buffer") {
                Some(b) => ((b * self.momentum)? + (&g * (1. - self.dampening))?)?,
                None => g.clone(),
            };
            let direction = if self.nesterov { (g + (&buffer * self.momentum)?)? } else { buffer.clone() };
            state.put("momentum_buffer", buffer);
            direction
        };
        Ok((p - (direction * settings.lr)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, three_steps};

    /// `torch.optim.SGD` (torch 2.15) on the gradients of the test helper.
    #[test]
    fn three_steps_equal_torch() {
        let plain = three_steps(0.1, 0.05, Sgd::new(0., 0., false).unwrap());
        assert_close(&plain, &TORCH_PLAIN, 1e-6);
        let nesterov = three_steps(0.1, 0.05, Sgd::new(0.9, 0., true).unwrap());
        assert_close(&nesterov, &TORCH_NESTEROV, 1e-6);
        let damped = three_steps(0.1, 0., Sgd::new(0.9, 0.3, false).unwrap());
        assert_close(&damped, &TORCH_DAMPED, 1e-6);
    }

    const TORCH_PLAIN: [f32; 3] = [0.96537465, -1.980_299_2, 0.452_586_7];
    const TORCH_NESTEROV: [f32; 3] = [0.875_547, -1.917_369_5, 0.399_017_96];
    const TORCH_DAMPED: [f32; 3] = [0.940_7, -1.973_1, 0.4432];
}
