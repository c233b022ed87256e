//! Which triplets stay: their importance, the budget of a step, and the term of the loss that keeps singular vectors orthonormal.
//!
//! Zhang et al. 2023 (arXiv 2303.10512), sections 3.1 to 3.3; PEFT's `RankAllocator`.

use super::{AdaLora, AdaLoraConfig};
use crate::layer::Layer;
use crate::method::Attach;
use candle_core::DType;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;
use swift_tuners_nn::module::{named_nodes, Args, Changed, Next, Steps, Tuner, Value};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Param, Result, Tensor};

/// The triplets of one layer.
#[derive(Clone)]
struct Triplets {
    path: String,
    adapter: AdaLora,
}

impl Triplets {
    fn tensors(&self) -> [(&'static str, &Param); 3] {
        [("lora_A", &self.adapter.a), ("lora_B", &self.adapter.b), ("lora_E", &self.adapter.e)]
    }
}

/// Moving averages of a tensor's importance `|value · gradient|`, and of how far it is from its own average.
#[derive(Clone)]
struct Importance {
    average: Array,
    uncertainty: Array,
}

#[derive(Default)]
struct State {
    /// Of every layer A, B and E; empty before the first step, and from the last allocation on.
    importance: Vec<[Importance; 3]>,
    /// Of every layer which triplets are left, once there was an allocation.
    kept: Option<Vec<Vec<bool>>>,
}

/// One adapter's.
#[derive(Clone)]
struct Entry {
    id: AdapterId,
    name: String,
    config: AdaLoraConfig,
    layers: Vec<Triplets>,
    /// The sum of ranks at the start.
    budget: usize,
    state: Arc<Mutex<State>>,
}

/// Allocates the ranks of all AdaLoRAs of a model. Sits at the root, where there is nothing for it to do in a pass but its part of the
/// loss.
#[derive(Clone, Default)]
pub struct Allocator {
    ids: Vec<AdapterId>,
    entries: Vec<Entry>,
}

impl Allocator {
    pub fn attach(config: &AdaLoraConfig, a: &mut Attach<'_>) {
        let id = a.id;
        let here = |(path, node): (String, &swift_tuners_nn::module::Node)| {
            let adapter = node.tuner::<Layer<AdaLora>>()?.adapter(id)?.clone();
            Some(Triplets { path, adapter })
        };
        let layers: Vec<Triplets> = named_nodes(&a.model.root).into_iter().filter_map(here).collect();
        let budget = layers.iter().map(|l| l.adapter.e.numel()).sum();
        let (name, config) = (a.name.to_owned(), config.clone());
        let entry = Entry { id, name, config, layers, budget, state: Arc::default() };
        let root = &mut a.model.root;
        if root.tuner::<Self>().is_none() {
            root.tuners.push(Box::new(Self::default()));
        }
        if let Some(all) = root.tuner_mut::<Self>() {
            all.ids.push(id);
            all.entries.push(entry);
        }
    }
}

impl Tuner for Allocator {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        next.run(cx, args)
    }

    fn adapters(&self) -> &[AdapterId] {
        &[]
    }

    fn unloads(&self) -> bool {
        true
    }

    fn rename(&mut self, adapter: AdapterId, name: &str) {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.entries[at].name = name.to_owned();
        }
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.entries.remove(at);
        }
        self.ids.is_empty()
    }

    fn loss(&self, cx: &Context) -> Result<Option<Tensor>> {
        let mut sum: Option<Tensor> = None;
        for entry in self.entries.iter().filter(|e| cx.is_active(e.id) && e.trains()) {
            if let Some(term) = entry.orthogonality(cx)? {
                sum = Some(match sum {
                    Some(sum) => sum.add(&term)?,
                    None => term,
                });
            }
        }
        Ok(sum)
    }

    fn steps(&self) -> Option<&dyn Steps> {
        Some(self)
    }
}

impl Steps for Allocator {
    fn after_step(&self, step: u64) -> Result<Vec<Changed>> {
        let training = self.entries.iter().filter(|e| e.trains());
        training.filter_map(|e| e.allocate(step).transpose()).collect()
    }

    fn state(&self) -> Vec<(String, Array)> {
        self.entries.iter().flat_map(Entry::state).collect()
    }

    fn load_state(&self, state: &HashMap<String, Array>) -> Result<Vec<Changed>> {
        self.entries.iter().filter_map(|e| e.load_state(state).transpose()).collect()
    }
}

impl Entry {
    fn trains(&self) -> bool {
        self.layers.iter().any(|l| l.adapter.e.requires_grad())
    }

    /// The mean of `‖A Aᵀ − I‖` and `‖Bᵀ B − I‖` over all layers, with its weight.
    fn orthogonality(&self, cx: &Context) -> Result<Option<Tensor>> {
        let mut sum: Option<Tensor> = None;
        for layer in self.layers.iter().filter(|l| !l.adapter.is_empty()) {
            let (a, b) = (layer.adapter.a.value(cx.grad)?, layer.adapter.b.value(cx.grad)?);
            let products = [a.matmul(&a.transpose(0, 1)?)?, b.transpose(0, 1)?.contiguous()?.matmul(&b)?];
            for product in products {
                let eye = Array::eye(product.dim(0), product.dtype(), product.device())?;
                let norm = norm(&product.sub(&eye.into())?)?;
                sum = Some(match sum {
                    Some(sum) => sum.add(&norm)?,
                    None => norm,
                });
            }
        }
        let count = (2 * self.layers.len()).max(1) as f64;
        sum.map(|sum| sum.affine(self.config.orth_reg_weight / count, 0.)).transpose()
    }

    /// The budget of a step, and whether it is a step that allocates.
    fn budget(&self, step: u64) -> (usize, bool) {
        let c = &self.config;
        let target = c.target_r * self.layers.len();
        let (step, first, last) = (step as usize, c.tinit, c.total_step.0 - c.tfinal);
        if step <= first {
            return (self.budget, false);
        }
        if step > last {
            return (target, true);
        }
        let left = 1. - (step - first) as f64 / (last - first) as f64;
        let budget = (self.budget as f64 - target as f64) * left.powi(3) + target as f64;
        (budget as usize, step.is_multiple_of(c.delta_t))
    }

    fn allocate(&self, step: u64) -> Result<Option<Changed>> {
        // What a file has cut already stays as it is.
        if self.config.rank_pattern.is_some() {
            return Ok(None);
        }
        let last = (self.config.total_step.0 - self.config.tfinal) as u64;
        let mut state = self.state.lock();
        if step > last {
            if let Some(kept) = &state.kept {
                self.layers.iter().zip(kept).try_for_each(|(layer, kept)| layer.mask(kept))?;
            }
            return Ok(None);
        }
        if step < last {
            self.measure(&mut state)?;
        }
        let (budget, allocates) = self.budget(step);
        if !allocates && step < last {
            return Ok(None);
        }
        if state.importance.is_empty() {
            let why = "AdaLoRA: no step was seen before ranks are to be allocated; call it after every step";
            return Err(Error::Invalid(why.into()));
        }
        let kept = self.chosen(&state.importance, budget)?;
        self.layers.iter().zip(&kept).try_for_each(|(layer, kept)| layer.mask(kept))?;
        if step == last {
            state.importance.clear();
        }
        let changed = self.keep(&kept);
        state.kept = Some(kept);
        Ok(Some(changed))
    }

    fn measure(&self, state: &mut State) -> Result<()> {
        let mut measured = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let before = state.importance.get(i);
            let mut here = Vec::with_capacity(3);
            for (j, (group, param)) in layer.tensors().into_iter().enumerate() {
                let grad = param.grad().ok_or_else(|| {
                    Error::Invalid(format!(
                        "AdaLoRA: {}.{group} has no gradient; keep gradients until ranks are allocated",
                        layer.path
                    ))
                })?;
                let now = (param.array()? * grad.to_dtype(param.dtype())?)?.abs()?;
                let (beta1, beta2) = (self.config.beta1, self.config.beta2);
                let old = |of: fn(&Importance) -> &Array| match before {
                    Some(before) => Ok(of(&before[j]).clone()),
                    None => now.zeros_like(),
                };
                let average = ((old(|i| &i.average)? * beta1)? + (&now * (1. - beta1))?)?;
                let off = (&now - &average)?.abs()?;
                let uncertainty = ((old(|i| &i.uncertainty)? * beta2)? + (off * (1. - beta2))?)?;
                here.push(Importance { average, uncertainty });
            }
            measured.push(here.try_into().map_err(|_| Error::Invalid("AdaLoRA: three tensors of a layer".into()))?);
        }
        state.importance = measured;
        Ok(())
    }

    /// Of every layer which triplets are left: those whose score is above that of the least important that must go.
    fn chosen(&self, importance: &[[Importance; 3]], budget: usize) -> Result<Vec<Vec<bool>>> {
        let score = |i: &Importance| i.average.mul(&i.uncertainty);
        let mut scores: Vec<Vec<f32>> = Vec::with_capacity(importance.len());
        for [a, b, e] in importance {
            let sum = (score(e)?.flatten_all()? + (score(a)?.mean(1)? + score(b)?.mean(0)?)?)?;
            scores.push(sum.to_dtype(DType::F32)?.to_vec1()?);
        }
        let gone = self.budget.saturating_sub(budget);
        let mut all: Vec<f32> = scores.iter().flatten().copied().collect();
        all.sort_by(f32::total_cmp);
        let threshold = gone.checked_sub(1).and_then(|k| all.get(k)).copied();
        Ok(scores.iter().map(|s| s.iter().map(|s| threshold.is_none_or(|t| *s > t)).collect()).collect())
    }

    /// Lets files hold what is left, as the configuration then says.
    fn keep(&self, kept: &[Vec<bool>]) -> Changed {
        let mut pattern = Map::new();
        for (layer, kept) in self.layers.iter().zip(kept) {
            let left: Vec<u32> = (0..).zip(kept).filter(|(_, kept)| **kept).map(|(i, _)| i).collect();
            *layer.adapter.kept.lock() = (left.len() < kept.len()).then_some(left);
            pattern.insert(format!("{}.lora_E", layer.path), kept.iter().map(|&k| Json::Bool(k)).collect());
        }
        Changed { adapter: self.id, field: "rank_pattern", value: Json::Object(pattern) }
    }

    fn key(&self, layer: &Triplets, what: &str) -> String {
        format!("{}.{}.{what}", self.name, layer.path)
    }

    fn state(&self) -> Vec<(String, Array)> {
        let state = self.state.lock();
        let mut out = Vec::new();
        for (layer, importance) in self.layers.iter().zip(&state.importance) {
            for ((group, _), i) in layer.tensors().iter().zip(importance) {
                out.push((self.key(layer, &format!("{group}.exp_avg_ipt")), i.average.clone()));
                out.push((self.key(layer, &format!("{group}.exp_avg_unc")), i.uncertainty.clone()));
            }
        }
        for (layer, kept) in self.layers.iter().zip(state.kept.iter().flatten()) {
            let kept: Vec<f32> = kept.iter().map(|&k| f32::from(u8::from(k))).collect();
            if let Ok(array) = Array::new(kept, &candle_core::Device::Cpu) {
                out.push((self.key(layer, "lora_E.kept"), array));
            }
        }
        out
    }

    fn load_state(&self, given: &HashMap<String, Array>) -> Result<Option<Changed>> {
        let (mut importance, mut kept) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            let mut here = Vec::with_capacity(3);
            for (group, param) in layer.tensors() {
                let find = |what: &str| -> Result<Option<Array>> {
                    let Some(found) = given.get(&self.key(layer, &format!("{group}.{what}"))) else { return Ok(None) };
                    if found.dims() != param.shape() {
                        let path = self.key(layer, &format!("{group}.{what}"));
                        return Err(Error::Shape { path, expected: param.shape(), actual: found.dims().to_vec() });
                    }
                    Ok(Some(found.to_dtype(param.dtype())?.to_device(&param.device())?))
                };
                if let (Some(average), Some(uncertainty)) = (find("exp_avg_ipt")?, find("exp_avg_unc")?) {
                    here.push(Importance { average, uncertainty });
                }
            }
            importance.extend(<[Importance; 3]>::try_from(here).ok());
            if let Some(found) = given.get(&self.key(layer, "lora_E.kept")) {
                let values: Vec<f32> = found.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                kept.push(values.iter().map(|&k| k != 0.).collect::<Vec<bool>>());
            }
        }
        let whole = |n: usize| n == self.layers.len();
        let mut state = self.state.lock();
        state.importance = if whole(importance.len()) { importance } else { Vec::new() };
        state.kept = whole(kept.len()).then_some(kept);
        Ok(state.kept.as_ref().map(|kept| self.keep(kept)))
    }
}

impl Triplets {
    /// Takes the singular values of those that are gone away.
    fn mask(&self, kept: &[bool]) -> Result<()> {
        let e = &self.adapter.e;
        let mut values: Vec<f64> = e.array()?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        if values.len() != kept.len() {
            let (expected, actual) = (vec![values.len(), 1], vec![kept.len(), 1]);
            return Err(Error::Shape { path: format!("{}.lora_E", self.path), expected, actual });
        }
        values.iter_mut().zip(kept).filter(|(_, kept)| !**kept).for_each(|(v, _)| *v = 0.);
        e.take(&Array::from_vec(values, e.shape(), &candle_core::Device::Cpu)?)
    }
}

/// Frobenius'. Its gradient at zero counts as zero, as PyTorch's does.
fn norm(x: &Tensor) -> Result<Tensor> {
    let value = x.data().sqr()?.sum_all()?.sqrt()?;
    let (data, y) = (x.data().clone(), value.clone());
    Ok(Tensor::from_op(value, &[x], move |g| {
        let zero = y.to_dtype(DType::F64)?.to_scalar::<f64>()? == 0.;
        Ok(vec![Some(if zero { data.zeros_like()? } else { data.broadcast_mul(&(g / y)?)? })])
    }))
}
