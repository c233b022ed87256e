//! `ensure_weight_tying`: an adapted embedding's tied output projection is adapted with it.

use super::{Lora, Start};
use crate::layer::Layer;
use crate::method::Attach;
use swift_tuners_nn::module::{for_each_node_mut, named_nodes};
use swift_tuners_nn::{Model, Param, Result};

/// Adds the output projection to the targets where it is tied to an embedding among them.
pub fn add_output(model: &Model, targets: &mut Vec<String>) {
    let keys = model.keys;
    let Some(output) = keys.output_embedding else {
        return;
    };
    let weight = |path: &str| model.parameter(&format!("{path}.weight"));
    let tied = matches!((weight(keys.input_embedding), weight(output)), (Some(a), Some(b)) if a.is(&b));
    if tied && targets.iter().any(|t| t == keys.input_embedding) && !targets.iter().any(|t| t == output) {
        targets.push(output.to_owned());
    }
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
