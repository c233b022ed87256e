//! EVA: A from the principal components of what goes into layers, and ranks where they explain most.
//!
//! Paischer et al. 2024 (arXiv 2410.07170); PEFT's `initialize_lora_eva_weights`.

use super::pca::Pca;
use super::{Lora, PeftLoraConfig, Start};
use crate::fields::Fields;
use crate::layer::Layer;
use crate::lifecycle::TunedModel;
use crate::registry;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use swift_tuners_nn::module::{for_each_node_mut, named_nodes, NodeId};
use swift_tuners_nn::{Array, CancelFlag, Error, Inputs, Param, Result};

crate::object! {
    /// How components are found and ranks given out.
    pub struct EvaConfig {
        /// A layer's rank is at most `r` times this.
        rho: f64 = 2., in 1. ..;
        /// Cosine with its direction before from which a component has settled.
        tau: f64 = 0.99, in 0. ..=1.;
        /// Whether positions without a label are left out.
        use_label_mask: bool = true;
        /// The label of those.
        label_mask_value: f64 = -100.;
        /// Divides components by the roots of their singular values.
        whiten: bool = false;
        /// Whether a layer's alpha follows its rank.
        adjust_scaling_factors: bool = true;
    }
}

/// Batches after which components that have not settled are given up; PEFT goes on for ever.
const ROUNDS: usize = 10_000;

struct Watched {
    path: String,
    count: usize,
    pca: Option<Pca>,
    settled: Vec<bool>,
    /// Whether all that its rank needs had settled before the present batch.
    done: bool,
}

/// An initialisation in progress.
pub struct Eva {
    adapter: String,
    config: EvaConfig,
    /// The layers whose inputs differ, in the model's order.
    layers: Vec<Watched>,
    /// Every layer with the one that has the same input, in the order in which PEFT counts: those of `layers` first.
    same: Vec<(String, usize)>,
    most: HashMap<String, usize>,
    ranks: HashMap<String, usize>,
    budget: usize,
    rounds: usize,
}

impl Eva {
    /// Looks at one batch to see which layers have the same input. `adapter` is the only active one and starts as `eva`.
    pub fn new(model: &mut TunedModel, adapter: &str, inputs: &Inputs, cancel: &CancelFlag) -> Result<Self> {
        let config = model.adapters().get(adapter).map(|a| a.config.clone()).ok_or_else(|| model.unknown(adapter))?;
        let typed = PeftLoraConfig::of(&config)?;
        if typed.lora.init_lora_weights != Start::Eva {
            return Err(Error::config("init_lora_weights", "EVA's weights are for an adapter that starts as eva"));
        }
        let eva = typed.eva_config.clone().unwrap_or_default();
        let id = model.id(adapter)?;
        let here =
            |n: &swift_tuners_nn::module::Node| n.tuner::<Layer<Lora>>().is_some_and(|l| l.adapter(id).is_some());
        let linear = |n: &swift_tuners_nn::module::Node| {
            n.module().weights().is_some_and(|w| matches!(w, swift_tuners_nn::module::Weights::Linear { .. }))
        };
        let paths: Vec<String> = named_nodes(&model.model.root)
            .into_iter()
            .filter(|(_, n)| here(n) && linear(n))
            .map(|(path, _)| path)
            .collect();
        let mut most = HashMap::new();
        let mut budget = 0;
        for path in &paths {
            let (r, _) = typed.lora.rank_and_scaling(path)?;
            most.insert(path.clone(), (r as f64 * eva.rho).round_ties_even() as usize);
            budget += r;
        }
        let mut seen: HashMap<String, Array> = HashMap::new();
        for (path, x) in model.observe(&paths, &unlabelled(inputs), cancel)? {
            seen.entry(path).or_insert(chosen(&x, inputs, &eva)?);
        }
        let mut layers: Vec<Watched> = Vec::new();
        let mut copies: Vec<(String, usize)> = Vec::new();
        let mut firsts: Vec<Vec<f32>> = Vec::new();
        for path in &paths {
            let Some(x) = seen.get(path) else { continue };
            let values: Vec<f32> = x.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?;
            match firsts.iter().position(|first| *first == values) {
                Some(at) => copies.push((path.clone(), at)),
                None => {
                    firsts.push(values);
                    let layer = Watched { path: path.clone(), count: 0, pca: None, settled: Vec::new(), done: false };
                    layers.push(layer);
                }
            }
        }
        let mut same: Vec<(String, usize)> = layers.iter().enumerate().map(|(i, l)| (l.path.clone(), i)).collect();
        same.extend(copies);
        for (at, layer) in layers.iter_mut().enumerate() {
            let group = || same.iter().filter(|(_, first)| *first == at).map(|(path, _)| path);
            layer.count = group().map(|p| most[p]).max().unwrap_or(0);
            layer.settled = vec![false; layer.count];
            for path in group() {
                most.insert(path.clone(), layer.count);
            }
        }
        let ranks = most.clone();
        Ok(Self { adapter: adapter.to_owned(), config: eva, layers, same, most, ranks, budget, rounds: 0 })
    }

    /// Takes one more batch in. True when the components that the ranks need have settled, which ends it.
    pub fn step(&mut self, model: &mut TunedModel, inputs: &Inputs, cancel: &CancelFlag) -> Result<bool> {
        for layer in &mut self.layers {
            let rank = self.ranks[&layer.path];
            layer.done = layer.settled.iter().take(rank).all(|&s| s);
        }
        if self.layers.iter().all(|l| l.done) {
            return Ok(true);
        }
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Err(Error::Invalid(format!(
                "EVA: the components of some layers have not settled in {ROUNDS} batches"
            )));
        }
        let paths: Vec<String> = self.layers.iter().filter(|l| !l.done).map(|l| l.path.clone()).collect();
        for (path, x) in model.observe(&paths, &unlabelled(inputs), cancel)? {
            let x = chosen(&x, inputs, &self.config)?;
            let Some(layer) = self.layers.iter_mut().find(|l| l.path == path) else { continue };
            if x.dims()[0] < layer.count {
                continue; // too few positions for so many components
            }
            let next = Pca::after(layer.pca.as_ref(), &x, layer.count)?;
            if let Some(before) = &layer.pca {
                layer.settled = next.settled(before, self.config.tau)?;
            }
            layer.pca = Some(next);
        }
        if self.layers.iter().all(|l| l.pca.is_some()) {
            self.share();
        }
        Ok(false)
    }

    /// Gives the ranks out where the most variance is explained.
    fn share(&mut self) {
        let mut all: Vec<(f64, &str)> = Vec::new();
        for (path, at) in &self.same {
            if let Some(pca) = &self.layers[*at].pca {
                all.extend(pca.ratios.iter().take(self.most[path]).map(|&ratio| (ratio, path.as_str())));
            }
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut ranks: HashMap<String, usize> = self.same.iter().map(|(path, _)| (path.clone(), 0)).collect();
        for (_, path) in all.into_iter().take(self.budget) {
            *ranks.entry(path.to_owned()).or_default() += 1;
        }
        for (path, at) in &self.same {
            let first = &self.layers[*at].path;
            let (rank, of_first) = (ranks[path], ranks[first]);
            // The layer that is watched needs no fewer components than those that share its input.
            if path != first && of_first < rank {
                ranks.insert(first.clone(), rank);
                ranks.insert(path.clone(), of_first);
            }
        }
        self.ranks = ranks;
    }

    /// Puts the components into A, with the ranks that the layers have earned. A layer of rank 0 loses its adapter.
    pub fn finish(self, model: &mut TunedModel) -> Result<()> {
        let id = model.id(&self.adapter)?;
        let config = model.adapters()[&self.adapter].config.clone();
        let typed = PeftLoraConfig::of(&config)?;
        let (mut targets, mut ranks, mut alphas) = (Vec::new(), Map::new(), Map::new());
        let mut new: HashMap<NodeId, Option<(Param, Param, f64)>> = HashMap::new();
        for (path, node) in named_nodes(&model.model.root) {
            let Some(lora) = node.tuner::<Layer<Lora>>().and_then(|l| l.adapter(id)) else { continue };
            let (r, mut alpha) = typed.lora.rank_and_alpha(&path)?;
            let mut rank = r;
            if let Some(&earned) = self.ranks.get(&path) {
                rank = earned;
                if rank == 0 {
                    new.insert(node.id(), None);
                    continue;
                }
                if rank != r && self.config.adjust_scaling_factors {
                    alpha *= rank as f64 / r as f64;
                }
                let watched = self.same.iter().find(|(p, _)| *p == path).map(|(_, at)| &self.layers[*at]);
                let Some(pca) = watched.and_then(|l| l.pca.as_ref()) else {
                    return Err(Error::Invalid(format!("EVA: no batch has gone through {path}")));
                };
                let mut a = pca.components.narrow(0, 0, rank)?;
                if self.config.whiten {
                    let roots: Vec<f64> = pca.singular[..rank].iter().map(|s| s.sqrt()).collect();
                    a = a.broadcast_div(&Array::from_vec(roots, (rank, 1), a.device())?)?;
                }
                let a = a.contiguous()?.to_dtype(lora.a.dtype())?.to_device(&lora.a.device())?;
                let b = Array::zeros((lora.b.shape()[0], rank), lora.b.dtype(), &lora.b.device())?;
                let scaling = typed.lora.scaling(rank, alpha);
                let on = (lora.a.requires_grad(), lora.b.requires_grad());
                new.insert(node.id(), Some((Param::new(a, on.0), Param::new(b, on.1), scaling)));
            }
            if rank != typed.lora.r {
                ranks.insert(path.clone(), rank.into());
            }
            if alpha != typed.lora.lora_alpha.0 {
                alphas.insert(path.clone(), alpha.into());
            }
            targets.push(path);
        }
        for_each_node_mut(&mut model.model.root, &mut |node| match new.remove(&node.id()) {
            Some(Some((a, b, scaling))) => {
                if let Some(lora) = node.tuner_mut::<Layer<Lora>>().and_then(|l| l.adapter_mut(id)) {
                    (lora.a, lora.b, lora.scaling) = (a, b, scaling);
                }
            }
            Some(None) => {
                let empty =
                    node.tuner_mut::<Layer<Lora>>().is_some_and(|l| swift_tuners_nn::module::Tuner::detach(l, id));
                if empty {
                    node.tuners.retain(|t| !t.as_any().is::<Layer<Lora>>());
                }
            }
            None => {}
        });
        let mut config = config;
        config.set("target_modules", targets);
        config.set("rank_pattern", Json::Object(ranks));
        config.set("alpha_pattern", Json::Object(alphas));
        config.typed = (registry::find(config.dialect, &config.kind)?.read)(&config)?;
        model.set_config(&self.adapter, config);
        Ok(())
    }
}

/// The inputs without what a loss is taken of.
fn unlabelled(inputs: &Inputs) -> Inputs {
    Inputs { labels: None, float_labels: None, target: None, ..inputs.clone() }
}

/// Of what goes into a layer the positions that count, `[positions, features]`.
fn chosen(x: &Array, inputs: &Inputs, c: &EvaConfig) -> Result<Array> {
    let width = x.dims().last().copied().unwrap_or(1);
    let rows = x.elem_count() / width.max(1);
    let flat = x.reshape((rows, width))?;
    let mask = inputs.attention_mask.as_ref().filter(|m| m.data.len() == rows);
    let labels = inputs.labels.as_ref().filter(|l| c.use_label_mask && l.data.len() == rows);
    if mask.is_none() && labels.is_none() {
        return Ok(flat);
    }
    let counts = |i: &usize| {
        mask.is_none_or(|m| m.data[*i] != 0) && labels.is_none_or(|l| l.data[*i] as f64 != c.label_mask_value)
    };
    let kept: Vec<u32> = (0..rows).filter(counts).map(|i| i as u32).collect();
    let n = kept.len();
    Ok(flat.contiguous()?.index_select(&Array::from_vec(kept, n, flat.device())?, 0)?)
}
