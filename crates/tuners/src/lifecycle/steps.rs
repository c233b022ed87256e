//! The steps of a training run: what adapters do before and after those of an optimizer, and what a resumed run needs of them.

use super::TunedModel;
use std::collections::{HashMap, HashSet};
use swift_tuners_nn::module::{named_nodes, Changed, Steps};
use swift_tuners_nn::{Array, Param, Result};

impl TunedModel {
    /// Whether an adapter does anything at steps.
    pub fn has_steps(&self) -> bool {
        self.adapters.values().any(|a| a.traits.steps)
    }

    /// Looking for them walks the tree; a step must not, where there are none.
    fn steps(&self) -> Vec<&dyn Steps> {
        if !self.has_steps() {
            return Vec::new();
        }
        let root = &self.model.root;
        let inner = named_nodes(root).into_iter().flat_map(|(_, node)| &node.tuners);
        root.tuners.iter().chain(inner).filter_map(|t| t.steps()).collect()
    }

    /// What trains, by [`Param::id`], though no loss depends on it.
    pub fn idle(&self) -> HashSet<usize> {
        let root = &self.model.root;
        let inner = named_nodes(root).into_iter().flat_map(|(_, node)| &node.tuners);
        root.tuners.iter().chain(inner).flat_map(|t| t.idle()).map(Param::id).collect()
    }

    /// Puts what trains back to where its adapters allow it, before an optimizer's step.
    pub fn before_step(&self) -> Result<()> {
        self.steps().into_iter().try_for_each(|s| s.constrain())
    }

    /// Lets adapters act on what the optimizer's step of this number has done, from 0 on and before gradients are cleared: AdaLoRA moves
    /// its ranks. PEFT's `update_and_allocate`.
    pub fn after_step(&mut self, step: u64) -> Result<()> {
        let changed = self.steps().into_iter().map(|s| s.after_step(step)).collect::<Result<Vec<_>>>()?;
        self.change(changed);
        Ok(())
    }

    fn change(&mut self, changed: Vec<Vec<Changed>>) {
        for Changed { adapter, field, value } in changed.into_iter().flatten() {
            if let Some(adapter) = self.adapters.values_mut().find(|a| a.id == adapter) {
                adapter.config.set(field, value);
            }
        }
    }

    /// What adapters remember from step to step beside parameters: with it a resumed run goes on as it would have.
    pub fn step_state(&self) -> Vec<(String, Array)> {
        self.steps().into_iter().flat_map(|s| s.state()).collect()
    }

    /// Takes what [`TunedModel::step_state`] gave.
    pub fn load_step_state(&mut self, state: &HashMap<String, Array>) -> Result<()> {
        let changed = self.steps().into_iter().map(|s| s.load_state(state)).collect::<Result<Vec<_>>>()?;
        self.change(changed);
        Ok(())
    }
}
