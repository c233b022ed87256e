//! What stands on which layer: PEFT's `get_layer_status`.

use super::tuned_model::TunedModel;
use candle_core::Device;
use swift_tuners_nn::module::{named_nodes, Node, Role, Tuner, WeightKind};
use swift_tuners_nn::{AdapterId, Error, Packing, Result};

/// One tuner on one layer.
#[derive(Clone, Debug)]
pub struct LayerStatus {
    /// The layer's path in the wrapped model, with PEFT's `model.` before it.
    pub name: String,
    /// The type of the adapters and what the layer is, such as `lora.Linear`.
    pub module_type: String,
    /// Names of the adapters that are merged here.
    pub merged: Vec<String>,
    pub adapters: Vec<AdapterStatus>,
    /// How the layer's own weight is packed.
    pub packing: Option<Packing>,
}

/// One adapter's tensors on a layer.
#[derive(Clone, Debug)]
pub struct AdapterStatus {
    pub name: String,
    /// Whether all of them, or none, train; nothing where some do.
    pub requires_grad: Option<bool>,
    pub devices: Vec<Device>,
}

impl TunedModel {
    /// The layers that adapters sit on, in the order of the tree.
    ///
    /// # Errors
    /// When there are none: the model has no adapters, or such as act on the whole model alone.
    pub fn layer_status(&self) -> Result<Vec<LayerStatus>> {
        let mut all = Vec::new();
        for (path, node) in named_nodes(&self.model.root).iter().filter(|(path, _)| !path.is_empty()) {
            all.extend(node.tuners.iter().filter_map(|tuner| self.status_of(path, node, &**tuner)));
        }
        if all.is_empty() {
            return Err(Error::Invalid("no layer of this model has an adapter (prompts act on whole models)".into()));
        }
        Ok(all)
    }

    fn status_of(&self, path: &str, node: &Node, tuner: &dyn Tuner) -> Option<LayerStatus> {
        let mut adapters = Vec::new();
        let mut kind = None;
        for (name, adapter) in &self.adapters {
            let parts = tuner.parts(adapter.id);
            if parts.is_empty() {
                continue;
            }
            kind.get_or_insert(&adapter.config.kind);
            let trained = parts.iter().filter(|p| !matches!(p.role, Role::Buffer { .. } | Role::Constant | Role::Made));
            let grads: Vec<bool> = trained.map(|p| p.param.requires_grad()).collect();
            let requires_grad = match grads.iter().filter(|on| **on).count() {
                0 => Some(false),
                n => (n == grads.len()).then_some(true),
            };
            let mut devices: Vec<Device> = Vec::new();
            for part in &parts {
                let device = part.param.device();
                if devices.iter().all(|d| !d.same_device(&device)) {
                    devices.push(device);
                }
            }
            adapters.push(AdapterStatus { name: name.clone(), requires_grad, devices });
        }
        let merged = node.merged().iter().filter_map(|id| self.name_of(*id)).collect();
        let weights = node.module().weights();
        Some(LayerStatus {
            name: format!("model.{path}"),
            module_type: format!("{}.{}", kind?.to_lowercase(), class(node)),
            merged,
            adapters,
            packing: weights.and_then(|w| w.weight().packing()),
        })
    }

    fn name_of(&self, id: AdapterId) -> Option<String> {
        self.adapters.iter().find(|(_, a)| a.id == id).map(|(name, _)| name.clone())
    }
}

fn class(node: &Node) -> &'static str {
    match node.module().weights().map(|w| w.kind()) {
        Some(WeightKind::Linear { .. }) => "Linear",
        Some(WeightKind::Embedding) => "Embedding",
        Some(WeightKind::Conv2d(_)) => "Conv2d",
        None => "Module",
    }
}
