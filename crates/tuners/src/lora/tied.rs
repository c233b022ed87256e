//! `ensure_weight_tying`: what happens to an embedding happens to the output projection that is tied to it.

use super::{Lora, Start};
use crate::layer::Layer;
use crate::method::Attach;
use crate::modules_to_save;
use crate::target::{attach_at, Place};
use swift_tuners_nn::module::{for_each_node_mut, model_nodes, named_nodes, own_parameters, Node};
use swift_tuners_nn::{Model, Param, Result};

/// Adds the output projection to the targets where it is tied to an embedding among them.
pub fn add_output(model: &Model, targets: &mut Vec<String>) {
    let keys = model.keys;
    let Some(output) = keys.output_embedding else {
        return;
    };
    if is_tied(model) && targets.iter().any(|t| t == keys.input_embedding) && !targets.iter().any(|t| t == output) {
        targets.push(output.to_owned());
    }
}

/// Whether the output projection's weight is the embedding's.
fn is_tied(model: &Model) -> bool {
    let keys = model.keys;
    let nodes = model_nodes(&model.root);
    let weight = |path: &str| nodes.iter().find(|(p, _)| p == path).and_then(|(_, n)| n.module().weights());
    let pair = (weight(keys.input_embedding), keys.output_embedding.and_then(weight));
    matches!(pair, (Some(a), Some(b)) if a.weight().is(b.weight()))
}

/// A copy of the embedding (`modules_to_save`) is the output projection's weight, too.
pub fn share_copy(a: &mut Attach<'_>) -> Result<()> {
    let (keys, id, name) = (a.model.keys, a.id, a.name);
    if !is_tied(a.model) {
        return Ok(());
    }
    let nodes = model_nodes(&a.model.root);
    let find = |path: &str| nodes.iter().find(|(p, _)| p == path).map(|(_, n)| *n);
    let weight = |node: &Node| -> Option<Param> {
        let copy = node.tuners.iter().find_map(|t| t.replacement(&[id]))?;
        own_parameters(copy).into_iter().find(|(n, _)| n == "weight").map(|(_, p)| p.clone())
    };
    let Some(saved) = find(keys.input_embedding).and_then(weight) else { return Ok(()) };
    let Some(output) = keys.output_embedding.and_then(find).filter(|n| weight(n).is_none()) else { return Ok(()) };
    let place = Place { id: output.id(), path: String::new() };
    attach_at(&mut a.model.root, &[place], |_, node| modules_to_save::attach_tied(node, id, name, &saved))
}

/// The output projection's adapter becomes the embedding's, transposed: A is Bᵀ and B is Aᵀ, over one memory.
///
/// In Python the projection's initialisation runs over that memory, so what it drew for its A is where the embedding's B starts.
pub fn share(a: &mut Attach<'_>, start: Start) -> Result<()> {
    let (keys, id) = (a.model.keys, a.id);
    let root = &mut a.model.root;
    let find = |path: &str| named_nodes(root).into_iter().find(|(p, _)| p == path).map(|(_, n)| n);
    let embedding = find(keys.input_embedding).and_then(|n| n.tuner::<Layer<Lora>>()?.adapter(id));
    let Some((first, second)) = embedding.map(|e| (e.a.clone(), e.b.clone())) else {
        return Ok(());
    };
    let Some(output) = keys.output_embedding.and_then(find) else {
        return Ok(());
    };
    let drawn = output.tuner::<Layer<Lora>>().and_then(|l| l.adapter(id)).map(|l| l.a.clone());
    let output = output.id();
    if let Some(drawn) = drawn.filter(|d| start != Start::Random && !d.is_pending()) {
        second.set(&drawn.array()?.flatten_all()?.reshape(second.shape())?)?;
    }
    for_each_node_mut(root, &mut |node| {
        if node.id() == output {
            if let Some(adapter) = node.tuner_mut::<Layer<Lora>>().and_then(|l| l.adapter_mut(id)) {
                adapter.a = Param::transposed(&second);
                adapter.b = Param::transposed(&first);
            }
        }
    });
    Ok(())
}
