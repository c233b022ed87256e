//! LoRA's factors in pairs, for optimizers that step with both (LoRA-FA).

use super::variant::Variant;
use super::Lora;
use crate::layer::Layer;
use crate::lifecycle::TunedModel;
use swift_tuners_nn::module::{named_nodes, named_parameters};
use swift_tuners_nn::Param;

/// The A `[r, in]` of a B `[out, r]`.
pub struct FactorPair {
    /// B's.
    pub name: String,
    pub a: Param,
    pub scaling: f64,
}

impl TunedModel {
    fn factors(&self) -> Vec<Lora> {
        let nodes = named_nodes(&self.model.root);
        let layers = nodes.iter().filter_map(|(_, node)| node.tuner::<Layer<Lora>>());
        layers.flat_map(|layer| layer.entries().iter().map(|(_, lora)| lora.clone())).collect()
    }

    /// The pairs of all LoRAs whose factors multiply as matrices: those of convolutions and of block-diagonal factors do not.
    pub fn factor_pairs(&self) -> Vec<FactorPair> {
        let named: Vec<(String, &Param)> = named_parameters(&self.model.root);
        let matrices =
            |l: &Lora| l.a.shape().len() == 2 && l.b.shape().len() == 2 && !matches!(l.variant, Variant::Blocks(_));
        let pair = |l: Lora| {
            let (name, _) = named.iter().find(|(_, p)| p.is(&l.b))?;
            Some(FactorPair { name: format!("{}{name}", self.flavor.prefix()), a: l.a, scaling: l.scaling })
        };
        self.factors().into_iter().filter(matrices).filter_map(pair).collect()
    }

    /// Freezes every A, as `peft.optimizers.create_lorafa_optimizer` does; those of embeddings stay as they are there.
    pub fn freeze_down(&self) {
        for (name, param) in named_parameters(&self.model.root) {
            if name.split('.').any(|part| part == "lora_A") {
                param.set_requires_grad(false);
            }
        }
    }
}
