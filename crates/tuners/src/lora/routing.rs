//! Routers and the adapters of their layers.

use super::adapter::Lora;
use super::arrow::Expert;
use super::variant::Variant;
use crate::layer::Layer;
use crate::method::Attach;
use swift_tuners_nn::module::for_each_node_mut;
use swift_tuners_nn::Result;

/// Tells routers which adapters their layers have: when a router comes, and when another adapter comes to where one is.
pub fn update(a: &mut Attach<'_>) -> Result<()> {
    let mut result = Ok(());
    for_each_node_mut(&mut a.model.root, &mut |node| {
        let Some(layer) = node.tuner::<Layer<Lora>>() else { return };
        if !layer.entries().iter().any(|(_, l)| matches!(l.variant, Variant::Arrow(_))) {
            return;
        }
        let plain = layer.entries().iter().filter(|(_, l)| !matches!(l.variant, Variant::Arrow(_)));
        let expert = |(name, l): &(String, Lora)| Expert {
            name: name.clone(),
            a: l.a.clone(),
            b: l.b.clone(),
            scaling: l.scaling,
        };
        let experts: Vec<Expert> = plain.map(expert).collect();
        for (_, router) in layer.entries() {
            if let (Variant::Arrow(arrow), true) = (&router.variant, result.is_ok()) {
                result = arrow.meet(&experts);
            }
        }
    });
    result
}
