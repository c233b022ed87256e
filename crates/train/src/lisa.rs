//! LISA: full training of a few layers at a time, drawn anew every so many steps.
//!
//! Pan et al. 2024 (arXiv 2403.17919); SWIFT's `LISACallback`.

use swift_tuners_nn::context::mix;
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::module::{all_parameters, model_nodes, Node};
use swift_tuners_nn::{Error, Model, Result};

/// Which layers train when.
#[derive(Clone, Debug)]
pub struct Lisa {
    /// The path of the list of layers.
    pub layers: String,
    count: usize,
    active: usize,
    interval: u64,
    seed: u64,
}

impl Lisa {
    /// For the model's list of blocks. Fails with [`Error::Config`] when more layers are asked for than there are.
    pub fn new(model: &Model, active: usize, interval: u64, seed: u64) -> Result<Self> {
        let layers = model.keys.blocks.to_owned();
        let all = blocks(model, &layers);
        let count = all.len();
        let packed = |block: &&Node| all_parameters(block).iter().any(|(_, p)| p.packing().is_some());
        if all.iter().any(packed) {
            return Err(Error::config("lisa", "packed weights cannot be trained; load the model without quantization"));
        }
        if count == 0 {
            return Err(Error::Invalid(format!("LISA: {} has no list of layers", model.keys.architecture)));
        }
        if active == 0 || active > count {
            return Err(Error::config("lisa.activatedLayers", format!("expected 1 to {count}, found {active}")));
        }
        if interval == 0 {
            return Err(Error::config("lisa.stepInterval", "expected a positive integer"));
        }
        Ok(Self { layers, count, active, interval, seed })
    }

    /// The layers that train in step `step` (from 0), ascending.
    ///
    /// They are drawn at every multiple of the interval and, as in SWIFT, at step 1. A draw depends on the seed and the step it
    /// happens at, so a run that was resumed draws what it would have drawn.
    pub fn at(&self, step: u64) -> Vec<usize> {
        let drawn = if step >= 1 && step < self.interval.max(2) { 1 } else { step - step % self.interval };
        let mut rng = Rng::new(mix(self.seed, drawn));
        let mut rest: Vec<usize> = (0..self.count).collect();
        let mut chosen: Vec<usize> = (0..self.active)
            .map(|_| rest.swap_remove(((rng.uniform() * rest.len() as f64) as usize).min(rest.len() - 1)))
            .collect();
        chosen.sort_unstable();
        chosen
    }

    /// Whether [`Lisa::at`] differs from the step before.
    pub fn draws_at(&self, step: u64) -> bool {
        step.is_multiple_of(self.interval) || step == 1
    }

    /// Makes the layers of `step` train and freezes the others; what is outside of the list stays as it is.
    pub fn apply(&self, model: &Model, step: u64) -> Vec<usize> {
        let chosen = self.at(step);
        for (i, block) in blocks(model, &self.layers).into_iter().enumerate() {
            for (_, p) in all_parameters(block) {
                p.set_requires_grad(chosen.contains(&i));
            }
        }
        chosen
    }
}

/// The blocks of a list, in order.
fn blocks<'a>(model: &'a Model, list: &str) -> Vec<&'a Node> {
    let is_block = |path: &str| {
        path.strip_prefix(list).and_then(|p| p.strip_prefix('.')).is_some_and(|n| n.parse::<usize>().is_ok())
    };
    model_nodes(&model.root).into_iter().filter(|(path, _)| is_block(path)).map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lisa(interval: u64) -> Lisa {
        Lisa { layers: "model.layers".into(), count: 8, active: 3, interval, seed: 5 }
    }

    #[test]
    fn layers_are_drawn_without_repetition_and_kept_for_an_interval() {
        let l = lisa(4);
        for step in 0..40 {
            let layers = l.at(step);
            assert!(layers.windows(2).all(|w| w[0] < w[1]) && layers.len() == 3);
            if !l.draws_at(step) {
                assert_eq!(layers, l.at(step - 1), "step {step}");
            }
        }
        let draws: std::collections::HashSet<Vec<usize>> = (0..40).map(|s| l.at(s)).collect();
        assert!(draws.len() > 4);
    }

    #[test]
    fn another_seed_draws_other_layers() {
        let other = Lisa { seed: 6, ..lisa(1) };
        assert!((0..20).any(|s| other.at(s) != lisa(1).at(s)));
    }
}
