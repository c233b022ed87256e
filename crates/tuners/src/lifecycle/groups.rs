//! Parameter groups for an optimizer, with LoRA+'s learning rates.
//!
//! Hayou et al. 2024 (arXiv 2402.12354); `SwiftModel.create_optimizer_param_groups`.

use super::{Flavor, TunedModel};
use std::collections::HashSet;
use swift_tuners_nn::module::{named_nodes, named_parameters, Node, Rate, Weights};
use swift_tuners_nn::ops::WeightLayout;
use swift_tuners_nn::{Param, Result};

/// Parameters that share settings; an absent learning rate is the optimizer's own.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamGroup {
    pub names: Vec<String>,
    pub lr: Option<f64>,
    pub weight_decay: f64,
}

impl TunedModel {
    /// The trainable parameters in groups.
    ///
    /// A LoRA with `lorap_lr_ratio` gives four: A (and everything that is no LoRA matrix), embeddings, B with decay, B
    /// without. Then come the rest with and without decay. Empty groups are kept. With several such LoRAs (Python raises)
    /// each gets its own four, and what belongs to none of them is in the last two.
    pub fn param_groups(&self, lr: f64, weight_decay: f64) -> Result<Vec<ParamGroup>> {
        let naming = self.naming(self.flavor.prefix());
        let named = named_parameters(&self.model.root);
        let trainable: Vec<&String> = named.iter().filter(|(_, p)| p.requires_grad()).map(|(n, _)| n).collect();
        let up = adapted(&self.model.root, Rate::Up);
        let up: HashSet<usize> = up.iter().flat_map(|(_, parts)| parts).copied().collect();
        let rises = |p: &Param| p.shape().len() == 1 || up.contains(&p.id());
        let upper: HashSet<&String> = named.iter().filter(|(_, p)| rises(p)).map(|(n, _)| n).collect();
        let embeddings = adapted(&self.model.root, Rate::Embedding);
        let without_decay = |n: &str| n.contains("bias") || is_norm(n);
        let mut groups = Vec::new();
        let mut taken: HashSet<&String> = HashSet::new();
        let mut plus = Vec::new();
        for (name, adapter) in &self.adapters {
            if let Some(ratio) = adapter.config.float("lorap_lr_ratio")? {
                plus.push((name, ratio, adapter.config.float("lorap_emb_lr")?.unwrap_or(1e-6)));
            }
        }
        for (name, ratio, embedding_lr) in &plus {
            let mut parts: [Vec<String>; 4] = Default::default();
            for &n in &trainable {
                if taken.contains(n) || (plus.len() > 1 && !n.split('.').any(|c| c == *name)) {
                    continue;
                }
                let in_embedding = embeddings.iter().any(|(e, _)| n.starts_with(&format!("{e}.")));
                let part = if in_embedding {
                    1
                } else if upper.contains(n) {
                    if without_decay(n) {
                        3
                    } else {
                        2
                    }
                } else {
                    0
                };
                parts[part].push(naming.full(n));
                taken.insert(n);
            }
            let rates = [lr, *embedding_lr, lr * ratio, lr * ratio];
            for (i, (names, rate)) in parts.into_iter().zip(rates).enumerate() {
                groups.push(ParamGroup { names, lr: Some(rate), weight_decay: if i == 3 { 0. } else { weight_decay } });
            }
        }
        if self.flavor == Flavor::Peft && !plus.is_empty() {
            return Ok(groups);
        }
        for decay in [true, false] {
            let names = trainable.iter().copied().filter(|&n| !taken.contains(n) && without_decay(n) != decay);
            groups.push(ParamGroup {
                names: names.map(|n| naming.full(n)).collect(),
                lr: None,
                weight_decay: if decay { weight_decay } else { 0. },
            });
        }
        Ok(groups)
    }
}

/// The nodes whose tuners have tensors that learn at this rate, by path, with those tensors' identities.
fn adapted(root: &Node, rate: Rate) -> Vec<(String, Vec<usize>)> {
    let parts = |node: &Node| {
        let all = node.tuners.iter().flat_map(|t| t.adapters().iter().flat_map(|&id| t.parts(id)));
        all.filter(|p| p.rate == rate).map(|p| p.param.id()).collect::<Vec<_>>()
    };
    let nodes = named_nodes(root).into_iter().map(|(path, node)| (path, parts(node)));
    nodes.filter(|(_, parts)| !parts.is_empty()).collect()
}

/// A group of [`TunedModel::galore_groups`].
#[derive(Clone, Debug, PartialEq)]
pub struct GaLoreGroup {
    pub names: Vec<String>,
    /// Whether its matrices get a low-rank space.
    pub projected: bool,
    pub weight_decay: f64,
}

impl TunedModel {
    /// The trainable parameters as SWIFT groups them for GaLore: the weights of linear layers and embeddings whose path
    /// contains one of `targets` (all blocks' when empty), then the rest with and without decay. `each`: a group per parameter
    /// (`optim_per_parameter`), all with decay.
    pub fn galore_groups(&self, targets: &[String], weight_decay: f64, each: bool) -> Vec<GaLoreGroup> {
        let naming = self.naming(self.flavor.prefix());
        let blocks = format!("{}.", self.model.keys.blocks);
        let wanted = |path: &str| {
            if targets.is_empty() {
                path.starts_with(&blocks)
            } else {
                targets.iter().any(|t| path.contains(t.as_str()))
            }
        };
        let mut projected: HashSet<usize> = HashSet::new();
        for (path, node) in named_nodes(&self.model.root) {
            let weight = match node.module().weights() {
                // A Conv1D is no torch.nn.Linear.
                Some(Weights::Linear { weight, layout: WeightLayout::OutIn, .. }) => weight,
                Some(Weights::Embedding { weight, .. }) => weight,
                _ => continue,
            };
            if wanted(&path) && weight.requires_grad() {
                projected.insert(weight.id());
            }
        }
        let all = named_parameters(&self.model.root);
        let trainable = all.iter().filter(|(_, p)| p.requires_grad());
        let name = |n: &str| naming.full(n);
        if each {
            let one = |(n, p): &(String, &Param)| GaLoreGroup {
                names: vec![name(n)],
                projected: projected.contains(&p.id()),
                weight_decay,
            };
            return trainable.map(one).collect();
        }
        let mut groups = [
            GaLoreGroup { names: Vec::new(), projected: true, weight_decay },
            GaLoreGroup { names: Vec::new(), projected: false, weight_decay },
            GaLoreGroup { names: Vec::new(), projected: false, weight_decay: 0. },
        ];
        for (n, p) in trainable {
            let at = match projected.contains(&p.id()) {
                true => 0,
                false if n.contains("bias") || is_norm(n) => 2,
                false => 1,
            };
            groups[at].names.push(name(n));
        }
        groups.into()
    }
}

/// Parameters of norm layers, by the names that this library's architectures give them.
fn is_norm(name: &str) -> bool {
    let module = name.rsplit('.').nth(1).unwrap_or("");
    module.contains("norm") || module.contains("Norm") || module.starts_with("ln_")
}
