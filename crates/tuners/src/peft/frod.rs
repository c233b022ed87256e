//! FRoD: replaces a weight by its coordinates in a basis that layers of one kind share, and trains some of these.
//!
//! PEFT's `peft.tuners.frod`.

use super::projections::check_same;
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::{Fields as _, Probability};
use crate::init::Init;
use crate::layer::{Active, LayerAdapter};
use crate::layers::LayerKind;
use crate::method::Attach;
use crate::site::{Call, Input, Site};
use candle_core::{DType, Device};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::module::{Next, Part, Role};
use swift_tuners_nn::ops::{self, sparse_linear, sparse_matrix, Positions, WeightLayout};
use swift_tuners_nn::{linalg, Array, Error, Param, Result, Tensor};

crate::config! {
    /// `FrodConfig`
    pub struct FrodConfig {
        standard: [
            peft, target_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Seed of which coordinates train beside the diagonal, the same for all adapters of a model.
        projection_prng_key: u64 = 0;
        /// Whether checkpoints hold the bases; without them they are computed again from the base model.
        save_projection: bool = true;
        frod_dropout: Probability = Probability(0.);
        /// False starts with random coordinates, so that the adapter acts at once.
        init_weights: bool = true;
        /// Share of the coordinates beside the diagonal that train.
        sparse_rate: f64 = 0.01, in 0. ..=1.;
        /// Keeps the inverses stable of which the bases are made.
        regularization_alpha: f64 = 1e-3;
        /// Shows nothing here.
        progressbar: bool = true;
        /// On the CPU, where it has no effect.
        runtime_offload_base_weight: bool = false;
    }
}

/// `W' = U (S + diag(l)) Vᵀ` in place of W: `V [in, in]` is the basis of the layer's kind, S has `s [nnz]` at places that the kind has,
/// and `U [out, in]` has unit columns with `U diag(l) Vᵀ = W` at the start.
#[derive(Clone)]
pub struct Frod {
    /// `[in]`
    l: Param,
    s: Param,
    u: Param,
    v: Param,
    places: Param,
    dropout: f64,
}

const BASIS: &str = "frod_V";
const PLACES: &str = "frod_s_indices";
const SIZE: &str = "frod_s_size";

/// What a layer does in its block: the last two names of its path, which layers that share a basis have in common.
fn kind(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match parts[..] {
        [only] => only.to_owned(),
        [.., before, last] if number(before) => last.to_owned(),
        [.., "attention", "output", "dense"] => "attention_output".to_owned(),
        [.., before, last] => format!("{before}_{last}"),
        [] => String::new(),
    }
}

/// The number of the block that a layer is in: what follows `layers`, or the first number of its path.
fn block(path: &str, otherwise: usize) -> usize {
    let parts: Vec<&str> = path.split('.').collect();
    let after = parts.iter().position(|p| *p == "layers").and_then(|at| parts.get(at + 1)?.parse().ok());
    after.or_else(|| parts.iter().find_map(|p| p.parse().ok())).unwrap_or(otherwise)
}

/// The layers of each kind by their blocks; of two in one block the later counts, as in Python.
fn kinds(sites: &[Site]) -> BTreeMap<String, Vec<&Site>> {
    let mut all: BTreeMap<String, BTreeMap<usize, &Site>> = BTreeMap::new();
    for (i, site) in sites.iter().enumerate() {
        all.entry(kind(&site.path)).or_default().insert(block(&site.path, i), site);
    }
    all.into_iter().map(|(kind, sites)| (kind, sites.into_values().collect())).collect()
}

/// V `[in, in]` of the weights of a kind: a joint decomposition, hierarchically.
fn basis(weights: &[Array], alpha: f64) -> Result<Array> {
    let stacked = Array::cat(weights, 0)?;
    let (rows, n) = stacked.dims2()?;
    if rows < n {
        return linalg::full_v(&stacked);
    }
    let (q, r) = linalg::qr(&stacked)?;
    let (q, r) = (q.to_dtype(DType::F64)?, r.to_dtype(DType::F64)?);
    let ridge = (Array::eye(n, DType::F64, &Device::Cpu)? * alpha)?;
    let (mut mean, mut start) = (ridge.zeros_like()?, 0);
    for weight in weights {
        let part = q.narrow(0, start, weight.dim(0)?)?;
        start += weight.dim(0)?;
        mean = (mean + linalg::inverse(&(part.t()?.matmul(&part)? + &ridge)?)?)?;
    }
    let mean = (mean / weights.len() as f64)?;
    Ok(r.t()?.matmul(&linalg::eigenvectors(&mean)?)?)
}

/// How many coordinates beside the diagonal of `[n, n]` train.
fn count(n: usize, rate: f64) -> usize {
    let all = n * n - n;
    let some = ((n * n) as f64 * rate) as usize;
    some.min(all).max(usize::from(rate > 0. && all > 0))
}

/// Places beside the diagonal for the last of these widths; the kinds before it draw first.
fn places(widths: &[usize], rate: f64, key: u64) -> Result<Array> {
    let mut g = Generator::new(key);
    let mut drawn = Vec::new();
    for &n in widths {
        if count(n, rate) > 0 {
            drawn = g.randperm_first(n * n - n, count(n, rate))?;
        }
    }
    let n = widths.last().copied().unwrap_or(0).max(2) as i64;
    let row = |p: &u32| i64::from(*p) / (n - 1);
    let column = |p: &u32| i64::from(*p) % (n - 1) + i64::from(i64::from(*p) % (n - 1) >= row(p));
    let all: Vec<i64> = drawn.iter().map(row).chain(drawn.iter().map(column)).collect();
    Ok(Array::from_vec(all, (2, drawn.len()), &Device::Cpu)?)
}

/// U and l of a weight in a basis.
fn coordinates(weight: &Array, basis: &Array) -> Result<(Array, Array)> {
    let b = linalg::quotient(weight, basis)?;
    let l = b.sqr()?.sum(0)?.sqrt()?;
    let inverse: Vec<f64> = l.to_vec1::<f64>()?.into_iter().map(|v| if v > 1e-12 { 1. / v } else { 0. }).collect();
    Ok((b.broadcast_mul(&Array::new(inverse, &Device::Cpu)?)?, l))
}

impl LayerKind for Frod {
    const NAME: &'static str = "FROD";
    const CLASS: &'static str = "FrodConfig";
    const ABOUT: &'static str = "Coordinates of the weights in bases that layers of one kind share.";
    type Config = FrodConfig;
    type Adapter = Self;

    fn resolve(c: &FrodConfig, a: &Attach<'_>, _: &mut TunerConfig) -> Result<()> {
        if c.runtime_offload_base_weight && !a.model.device.is_cpu() {
            return Err(Error::config("runtime_offload_base_weight", "is supported on the CPU alone"));
        }
        for other in a.others.iter().filter(|o| o.kind == Self::NAME) {
            if FrodConfig::of(other)?.runtime_offload_base_weight != c.runtime_offload_base_weight {
                let why = "must be the same for all adapters of a model";
                return Err(Error::config("runtime_offload_base_weight", why));
            }
        }
        check_same(a, c, |c| (c.projection_prng_key, c.save_projection))
    }

    fn bank(c: &FrodConfig, sites: &[Site], init: &mut Init) -> Result<Option<Bank>> {
        let role = Role::Buffer { saved: c.save_projection };
        let (rate, key, alpha) = (c.sparse_rate, c.projection_prng_key, c.regularization_alpha);
        let mut widths = Vec::new();
        let mut parts = [Vec::new(), Vec::new(), Vec::new()];
        for (kind, sites) in kinds(sites) {
            let n = sites[0].inputs;
            if let Some(other) = sites.iter().find(|s| s.inputs != n) {
                let why = format!("{} and {} share a basis, but differ in inputs", sites[0].path, other.path);
                return Err(Error::config("target_modules", why));
            }
            widths.push(n);
            let (of, base): (Vec<Site>, DType) = (sites.iter().map(|&s| s.clone()).collect(), sites[0].base_dtype);
            let v = Param::pending(&[n, n], init.dtype, &init.device, false, move || {
                let weights: Vec<Array> = of.iter().map(Site::matrix).collect::<Result<_>>()?;
                Ok(basis(&weights, alpha)?.to_dtype(base)?)
            });
            let before = widths.clone();
            let shape = [2, count(n, rate)];
            let places = Param::indices(&shape, DType::I64, &Device::Cpu, [n, n], move || places(&before, rate, key));
            let size = Param::indices(&[2], DType::I64, &Device::Cpu, [n + 1; 2], move || {
                Ok(Array::new(&[n as i64; 2], &Device::Cpu)?)
            });
            parts[0].push((BASIS, kind.clone(), v));
            parts[1].push((PLACES, kind.clone(), places));
            parts[2].push((SIZE, kind, size));
        }
        let parts = parts.into_iter().flatten();
        Ok(Some(parts.fold(Bank::of(sites), |bank, (group, kind, param)| bank.keyed(group, kind, true, role, param))))
    }

    fn new(c: &FrodConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "linear layer")?;
        let bank = bank.ok_or_else(|| Error::Invalid("FRoD has no bases".into()))?;
        let kind = kind(&site.path);
        let (v, places) = (bank.find(BASIS, &kind)?.clone(), bank.find(PLACES, &kind)?.clone());
        init.discard(|_| v.settle())?;
        let (n, nnz, fresh) = (site.inputs, places.shape()[1], c.init_weights);
        let s =
            if fresh { init.constant(&[nnz], 0.)? } else { init.param(&[nnz], move |g| g.normal(&[nnz], 0., 0.1))? };
        // Of the basis that is there in the end, which may be a checkpoint's.
        let once = Arc::new(OnceLock::<(Array, Array)>::new());
        let made = {
            let (v, site) = (v.clone(), site.clone());
            move || -> Result<(Array, Array)> {
                if once.get().is_none() {
                    let _ = once.set(coordinates(&site.matrix()?, &v.array()?)?);
                }
                once.get().cloned().ok_or_else(|| Error::Invalid("no coordinates".into()))
            }
        };
        let of_u = made.clone();
        let u = Param::pending(&[site.outputs, n], init.dtype, &init.device, false, move || Ok(of_u()?.0));
        let l = init.param(&[n], move |g| {
            let l = made()?.1.to_dtype(DType::F32)?;
            Ok(if fresh { l } else { (l + (g.randn(&[n])? * 0.1)?)? })
        })?;
        Ok(Self { l, s, u, v, places, dropout: c.frod_dropout.0 })
    }
}

impl Frod {
    fn positions(&self, call: &Call<'_>) -> Result<Positions> {
        Positions::pairs(&self.places.array()?, call.site.inputs, call.site.inputs)
    }

    /// `x W'ᵀ`
    fn replaced(&self, call: &Call<'_>, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (u, v, l, s) = (call.value(&self.u)?, call.value(&self.v)?, call.value(&self.l)?, call.value(&self.s)?);
        let z = ops::linear(&x.to_dtype(v.dtype())?, &v, None, WeightLayout::InOut)?;
        let z = sparse_linear(&z, &s, &self.positions(call)?)?.add(&z.mul(&l)?)?;
        ops::linear(&z, &u, bias, WeightLayout::OutIn)
    }
}

impl LayerAdapter for Frod {
    const GROUPS: &'static [&'static str] = &["frod_dropout", "frod_lambda_l", "frod_lambda_s_values", "frod_U"];

    fn parts(&self) -> Vec<Part<'_>> {
        vec![
            Part::trained("frod_lambda_l", &self.l),
            Part::trained("frod_lambda_s_values", &self.s),
            Part::trained("frod_U", &self.u).role(Role::Buffer { saved: false }),
        ]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (u, v, l, s) = (call.value(&self.u)?, call.value(&self.v)?, call.value(&self.l)?, call.value(&self.s)?);
        let weight = u.matmul(&sparse_matrix(&s, &self.positions(call)?)?)?.add(&u.mul(&l)?)?;
        let weight = weight.matmul(&v.transpose(0, 1)?)?;
        let base: Tensor = call.weights.matrix()?.to_dtype(weight.dtype())?.into();
        weight.sub(&base).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(self.l.dtype())?;
        let base: Tensor = call.weights.matrix()?.to_dtype(x.dtype())?.into();
        self.replaced(call, &x, None)?.sub(&ops::linear(&x, &base, None, WeightLayout::OutIn)?).map(Some)
    }

    /// A lone adapter takes the layer's place, whose weight is not used at all.
    fn fused(active: &[Active<'_, Self>], call: &Call<'_>, x: &Input, _: &Next<'_>) -> Result<Option<Tensor>> {
        let [Active { adapter, .. }] = active else { return Ok(None) };
        if call.cx.rows.is_some() || call.training() && adapter.dropout > 0. {
            return Ok(None);
        }
        let x = x.tensor()?;
        let bias = call.weights.bias().map(|b| b.value(call.cx.grad)?.to_dtype(adapter.l.dtype())).transpose()?;
        adapter.replaced(call, x, bias.as_ref())?.to_dtype(x.dtype()).map(Some)
    }
}
