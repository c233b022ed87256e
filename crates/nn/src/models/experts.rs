//! Mixture-of-experts feed-forward layers as Qwen3-MoE has them: a router picks experts per token.
//!
//! Fedus et al. 2021 (arXiv 2101.03961); numbers as `transformers.models.qwen3_moe`. The running model keeps all experts of
//! a layer in two tensors, files keep each expert's matrices apart.

use super::builder::{activation, Builder};
use super::config::Config;
use super::llama::mlp::gate_and_up;
use super::source::Init;
use crate::context::Context;
use crate::fields;
use crate::module::{Args, Module, Node, Value};
use crate::ops::{self, Activation, WeightLayout};
use crate::param::Param;
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

pub(super) struct MoeConfig {
    experts: usize,
    per_token: usize,
    inner: usize,
    normalise: bool,
    step: usize,
    dense_layers: Vec<u64>,
}

impl MoeConfig {
    pub fn new(c: &Config, kind: &str) -> Result<Option<Self>> {
        if kind != "qwen3_moe" {
            return Ok(None);
        }
        c.refuse("output_router_logits", &[false.into()])?;
        let experts = match c.optional_size("num_experts")? {
            Some(n) => n,
            None => c.size_or("num_local_experts", 128)?,
        };
        let per_token = c.size_or("num_experts_per_tok", 8)?;
        if per_token > experts {
            return Err(Error::config(
                "config.json: num_experts_per_tok",
                format!("{per_token} of {experts} experts cannot be picked"),
            ));
        }
        let dense_layers = match c.get("mlp_only_layers").and_then(|l| l.as_array()) {
            Some(list) => list.iter().filter_map(|v| v.as_u64()).collect(),
            None => Vec::new(),
        };
        Ok(Some(Self {
            experts,
            per_token,
            inner: c.size_or("moe_intermediate_size", 768)?,
            normalise: c.flag("norm_topk_prob", false)?,
            step: c.size_or("decoder_sparse_step", 1)?,
            dense_layers,
        }))
    }

    pub fn has_layer(&self, index: usize) -> bool {
        !self.dense_layers.contains(&(index as u64)) && (index + 1).is_multiple_of(self.step)
    }
}

pub(super) fn build(b: &Builder, c: &MoeConfig, hidden: usize, act: Activation) -> Result<Node> {
    let e = b.at("experts");
    // Files of transformers hold each expert apart; a file of the merged tensors is taken as it is.
    let merged = |name: &str, parts: &[&str], shape: [usize; 2]| -> Result<Param> {
        if e.has(name) {
            return e.param(name, &[c.experts, shape[0], shape[1]], Init::Normal(e.deviation));
        }
        let rows = shape[0] / parts.len();
        let mut all = Vec::with_capacity(c.experts);
        for i in 0..c.experts {
            let one = parts.iter().map(|p| e.at(i).at(p).param("weight", &[rows, shape[1]], Init::Normal(e.deviation)));
            all.push(one.collect::<Result<Vec<_>>>()?);
        }
        let pending = all[0][0].is_pending();
        let join = move || {
            let one = |parts: &Vec<Param>| -> Result<Array> {
                Ok(Array::cat(&parts.iter().map(Param::array).collect::<Result<Vec<_>>>()?, 0)?)
            };
            Ok(Array::stack(&all.iter().map(one).collect::<Result<Vec<_>>>()?, 0)?)
        };
        if pending {
            return Ok(Param::pending(&[c.experts, shape[0], shape[1]], e.dtype, &e.device, true, join));
        }
        Ok(Param::new(join()?, true))
    };
    let experts = Experts {
        gate_up_proj: merged("gate_up_proj", &["gate_proj", "up_proj"], [2 * c.inner, hidden])?,
        down_proj: merged("down_proj", &["down_proj"], [hidden, c.inner])?,
        act_fn: activation(act),
        act,
    };
    let gate = Router {
        weight: b.at("gate").param("weight", &[c.experts, hidden], Init::Normal(b.deviation))?,
        per_token: c.per_token,
        normalise: c.normalise,
    };
    Ok(Node::new(SparseMoe { experts: Node::new(experts), gate: Node::new(gate) }))
}

/// The merged tensors of a running model.
const MERGED: [&str; 2] = [".experts.gate_up_proj", ".experts.down_proj"];

/// A matrix of one expert inside of a merged tensor.
pub(crate) struct Part {
    expert: usize,
    /// Its first row.
    start: usize,
    pub shape: Vec<usize>,
}

impl Part {
    pub fn of(&self, merged: &Array) -> Result<Array> {
        Ok(merged.get(self.expert)?.narrow(0, self.start, self.shape[0])?.contiguous()?)
    }
}

/// A merged tensor as the matrices of a file; `None` for every other tensor.
pub(crate) fn split(name: &str, shape: &[usize]) -> Option<Vec<(String, Part)>> {
    let suffix = MERGED.iter().find(|m| name.ends_with(*m))?;
    let layer = &name[..name.len() - suffix.len()];
    let &[experts, rows, width] = shape else { return None };
    let parts: &[&str] = if suffix.ends_with("gate_up_proj") { &["gate_proj", "up_proj"] } else { &["down_proj"] };
    let height = rows / parts.len();
    let part = |expert: usize, at: usize| Part { expert, start: at * height, shape: vec![height, width] };
    let all = (0..experts).flat_map(|i| parts.iter().enumerate().map(move |(at, name)| (i, at, name)));
    Some(all.map(|(i, at, name)| (format!("{layer}.experts.{i}.{name}.weight"), part(i, at))).collect())
}

#[derive(Clone)]
struct SparseMoe {
    experts: Node,
    gate: Node,
}

impl Module for SparseMoe {
    fields!(experts, gate);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let width = x.last_dim();
        let flat = x.reshape((x.data().elem_count() / width.max(1), width))?; // [tokens, hidden]
        let Value::Tuple(routed) = self.gate.call(cx, Args::one(flat.clone()))? else {
            return Err(Error::Argument("router: expected logits, weights and experts".into()));
        };
        let call = Args { positional: vec![flat.into(), routed[2].clone(), routed[1].clone()], named: Vec::new() };
        Ok(self.experts.call(cx, call)?.into_tensor()?.reshape(x.dims())?.into())
    }
}

#[derive(Clone)]
struct Router {
    weight: Param,
    per_token: usize,
    normalise: bool,
}

impl Module for Router {
    fields!(weight);

    /// `[tokens, hidden]` → logits `[tokens, experts]`, weights and expert numbers `[tokens, per_token]`
    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let logits = ops::linear(x, &self.weight.value(cx.grad)?, None, WeightLayout::OutIn)?;
        let probabilities = logits.to_dtype(ops::compute_dtype(logits.dtype()))?.softmax(-1)?;
        let order = probabilities.data().contiguous()?.arg_sort_last_dim(false)?;
        let chosen = order.narrow(1, 0, self.per_token)?.contiguous()?;
        let mut weights = probabilities.gather(&chosen, -1)?;
        if self.normalise {
            weights = weights.div(&weights.sum(Some(&[-1]), true)?)?;
        }
        let weights = weights.to_dtype(logits.dtype())?;
        Ok(Value::Tuple(vec![logits.into(), weights.into(), Tensor::from(chosen).into()]))
    }
}

#[derive(Clone)]
struct Experts {
    /// `[experts, 2 · inner, hidden]`
    gate_up_proj: Param,
    /// `[experts, hidden, inner]`
    down_proj: Param,
    act_fn: Node,
    act: Activation,
}

impl Module for Experts {
    fields!(gate_up_proj, down_proj, act_fn);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?; // [tokens, hidden]
        let chosen: Vec<Vec<u32>> = args.tensor(1, "top_k_index")?.data().to_vec2()?;
        let weights = args.tensor(2, "top_k_weights")?; // [tokens, per_token]
        let per_token = weights.dim(1);
        let flat_weights = weights.reshape((weights.data().elem_count(), 1))?;
        let mut sum: Option<Tensor> = None;
        for expert in 0..self.down_proj.shape()[0] {
            let places: Vec<(u32, u32)> = chosen
                .iter()
                .enumerate()
                .flat_map(|(token, row)| row.iter().enumerate().map(move |(k, &e)| (token, k, e)))
                .filter(|&(_, _, e)| e as usize == expert)
                .map(|(token, k, _)| (token as u32, (token * per_token + k) as u32))
                .collect();
            if places.is_empty() {
                continue;
            }
            let index = |pick: fn(&(u32, u32)) -> u32| -> Result<Array> {
                Ok(Array::from_vec(places.iter().map(pick).collect::<Vec<_>>(), places.len(), x.device())?)
            };
            let tokens = index(|p| p.0)?;
            let both = product(&x.index_select(&tokens, 0)?, &self.gate_up_proj, expert, cx.grad)?;
            let inner = both.last_dim() / 2;
            let (gate, up) = (both.narrow(-1, 0, inner)?.contiguous()?, both.narrow(-1, inner, inner)?.contiguous()?);
            let y = gate_and_up(cx, &self.act_fn, self.act, &gate, &up)?;
            let y = product(&y, &self.down_proj, expert, cx.grad)?;
            let y = y.mul(&flat_weights.index_select(&index(|p| p.1)?, 0)?)?.scatter_rows(&tokens, x.dim(0))?;
            sum = Some(match sum {
                Some(sum) => sum.add(&y)?,
                None => y,
            });
        }
        match sum {
            Some(sum) => Ok(sum.into()),
            None => Err(Error::Argument("experts: no token was given".into())),
        }
    }
}

/// `x Wᵀ` with one expert's matrix.
fn product(x: &Tensor, all: &Param, expert: usize, grad: bool) -> Result<Tensor> {
    let (w, terms) = all.matrix_of(expert, grad)?;
    ops::lora_linear(x, Some((&w, None, WeightLayout::OutIn)), &terms)
}
