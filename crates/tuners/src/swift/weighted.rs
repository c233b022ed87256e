//! Combining several LoRAs into a new one: PEFT's `add_weighted_adapter`.

use super::TunedModel;
use crate::config::{check_adapter_name, AdapterConfig};
use crate::lora::{LoraConfig, LoraLayer};
use candle_core::DType;
use std::collections::HashMap;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::linalg::svd;
use swift_tuners_nn::module::named_nodes;
use swift_tuners_nn::{AdapterId, Array, Error, Result};

/// How deltas or factors are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    Linear,
    Cat,
    /// Combines deltas with the inner method and factors the result.
    Svd(Method),
    Factors(Method),
}

/// Methods of model merging. TIES: Yadav et al. 2023 (arXiv 2306.01708). DARE: Yu et al. 2023 (arXiv 2311.03099).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Sum,
    Ties,
    DareTies,
    DareLinear,
    MagnitudePrune,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignMethod {
    Total,
    Frequency,
}

#[derive(Clone, Debug)]
pub struct WeightedOptions {
    pub adapters: Vec<String>,
    pub weights: Vec<f64>,
    pub name: String,
    pub combination: Combination,
    pub svd_rank: Option<usize>,
    pub svd_clamp: Option<f64>,
    pub density: Option<f64>,
    pub sign: SignMethod,
    pub seed: u64,
}

impl Combination {
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "linear" => Self::Linear,
            "cat" => Self::Cat,
            "svd" => Self::Svd(Method::Sum),
            "ties" => Self::Factors(Method::Ties),
            "ties_svd" => Self::Svd(Method::Ties),
            "dare_ties" => Self::Factors(Method::DareTies),
            "dare_ties_svd" => Self::Svd(Method::DareTies),
            "dare_linear" => Self::Factors(Method::DareLinear),
            "dare_linear_svd" => Self::Svd(Method::DareLinear),
            "magnitude_prune" => Self::Factors(Method::MagnitudePrune),
            "magnitude_prune_svd" => Self::Svd(Method::MagnitudePrune),
            other => return Err(Error::config("combinationType", format!("{:?} is unknown", printable(other, 40)))),
        })
    }
}

impl SignMethod {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "total" => Ok(Self::Total),
            "frequency" => Ok(Self::Frequency),
            other => Err(Error::config(
                "majoritySignMethod",
                format!("expected total or frequency, found {:?}", printable(other, 40)),
            )),
        }
    }
}

/// The factors of one module for the new adapter.
struct Factors {
    a: Array,
    b: Array,
}

impl TunedModel {
    /// Adds an adapter that combines others and makes it the only active one.
    ///
    /// `linear` and the pruning methods combine A and B apart (equal ranks needed), `cat` stacks them, the `svd` kinds
    /// combine the deltas. The new adapter has alpha = r, so its scaling is 1.
    pub fn add_weighted_adapter(&mut self, thread: u64, options: &WeightedOptions) -> Result<()> {
        let o = options;
        check_adapter_name(&o.name)?;
        if self.adapters.contains_key(&o.name) {
            return Err(Error::AdapterExists(o.name.clone()));
        }
        if o.adapters.is_empty() || o.adapters.len() != o.weights.len() {
            return Err(Error::config(
                "weights",
                format!("{} weights for {} adapters", o.weights.len(), o.adapters.len()),
            ));
        }
        if let Some(w) = o.weights.iter().find(|w| !w.is_finite()) {
            return Err(Error::config("weights", format!("{w} is no finite number")));
        }
        let ids = self.ids(&o.adapters)?;
        for name in &o.adapters {
            let config = LoraConfig::new(&self.adapters[name].config)?;
            if config.dora || config.merged_linear.is_some() || !config.modules_to_save.is_empty() {
                return Err(Error::config(
                    "adapters",
                    format!("{name} uses use_dora, use_merged_linear or modules_to_save, which cannot be combined"),
                ));
            }
        }
        let needs_density = matches!(o.combination, Combination::Factors(_))
            || matches!(o.combination, Combination::Svd(m) if m != Method::Sum);
        if needs_density && !o.density.is_some_and(|d| (0. ..=1.).contains(&d)) {
            return Err(Error::config("density", "this combination needs a density between 0 and 1"));
        }
        let mut ranks: Vec<usize> = Vec::new();
        for name in &o.adapters {
            ranks.push(self.adapters[name].config.size("r")?);
        }
        let rank = match o.combination {
            Combination::Cat => ranks.iter().sum(),
            Combination::Svd(_) => o.svd_rank.unwrap_or(*ranks.iter().max().expect("checked above")),
            _ => {
                if ranks.iter().any(|&r| r != ranks[0]) {
                    return Err(Error::config("adapters", format!("their ranks {ranks:?} must agree; use cat or svd")));
                }
                ranks[0]
            }
        };
        let mut computed: HashMap<String, Factors> = HashMap::new();
        let mut rng = Rng::new(o.seed);
        for (path, node) in named_nodes(&self.model.root) {
            let Some(layer) = node.tuner::<LoraLayer>() else {
                continue;
            };
            if let Some(factors) = combine(layer, &ids, o, rank, &mut rng)? {
                computed.insert(path, factors);
            }
        }
        let mut config: AdapterConfig = self.adapters[&o.adapters[0]].config.clone();
        let mut targets: Vec<String> = Vec::new();
        for name in &o.adapters {
            match self.adapters[name].config.get("target_modules") {
                Some(serde_json::Value::String(_)) => targets.extend(computed.keys().cloned()),
                _ => targets.extend(self.adapters[name].config.texts("target_modules")?.unwrap_or_default()),
            }
        }
        targets.sort();
        targets.dedup();
        let f = &mut config.fields;
        f.insert("r".into(), rank.into());
        f.insert("lora_alpha".into(), rank.into());
        f.insert("target_modules".into(), targets.into());
        f.insert("rank_pattern".into(), serde_json::json!({}));
        f.insert("alpha_pattern".into(), serde_json::json!({}));
        f.insert("use_rslora".into(), false.into());
        f.insert("init_lora_weights".into(), true.into());
        // The factors may have another rank than r where only some adapters act; the config says so.
        let other_ranks: serde_json::Map<String, serde_json::Value> = {
            let mut odd: Vec<_> = computed.iter().filter(|(_, x)| x.a.dims()[0] != rank).collect();
            odd.sort_by_key(|(path, _)| (*path).clone());
            odd.into_iter().map(|(p, x)| (fancy_regex::escape(p).into_owned(), x.a.dims()[0].into())).collect()
        };
        if !other_ranks.is_empty() {
            config.fields.insert("rank_pattern".into(), other_ranks.clone().into());
            config.fields.insert("alpha_pattern".into(), other_ranks.into());
        }
        self.transaction(|m| {
            m.add(thread, &o.name, &config, &super::PrepareOptions::default())?;
            let id = m.id(&o.name)?;
            for (path, node) in named_nodes(&m.model.root) {
                let Some(adapter) = node.tuner::<LoraLayer>().and_then(|l| l.adapter(id)) else {
                    continue;
                };
                match computed.get(&path) {
                    Some(x) => {
                        adapter.a.set(&x.a.reshape(adapter.a.shape())?)?;
                        adapter.b.set(&x.b.reshape(adapter.b.shape())?)?;
                    }
                    None => adapter.b.set(&adapter.b.array()?.zeros_like()?)?,
                }
            }
            if m.flavor == super::Flavor::Peft {
                m.set_adapter(thread, std::slice::from_ref(&o.name))?;
            } else {
                m.edit_active(thread, |active| *active = vec![id]);
            }
            Ok(())
        })
    }
}

fn combine(
    layer: &LoraLayer,
    ids: &[AdapterId],
    o: &WeightedOptions,
    rank: usize,
    rng: &mut Rng,
) -> Result<Option<Factors>> {
    let here: Vec<_> = ids.iter().zip(&o.weights).filter_map(|(&id, &w)| layer.adapter(id).map(|a| (a, w))).collect();
    if here.is_empty() {
        return Ok(None);
    }
    let mut a: Vec<Array> = Vec::new();
    let mut b: Vec<Array> = Vec::new();
    for (x, _) in &here {
        a.push(super::activation::value_anywhere(&x.a)?.to_dtype(DType::F32)?.flatten_from(1)?);
        b.push(super::activation::value_anywhere(&x.b)?.to_dtype(DType::F32)?.flatten_from(1)?);
    }
    let scaled: Vec<f64> = here.iter().map(|(x, w)| w * x.scaling).collect();
    let density = o.density.unwrap_or(1.);
    let factors = |method: Method, rng: &mut Rng| -> Result<Factors> {
        let roots: Vec<f64> = scaled.iter().map(|w| w.abs().sqrt()).collect();
        let signed: Vec<f64> = scaled.iter().zip(&roots).map(|(w, r)| r.copysign(*w)).collect();
        if a.iter().any(|x| x.dims() != a[0].dims()) {
            return Err(Error::config("adapters", "their ranks on one module must agree; use cat or svd"));
        }
        Ok(Factors {
            a: mix(&a, &signed, method, density, o.sign, rng)?,
            b: mix(&b, &roots, method, density, o.sign, rng)?,
        })
    };
    Ok(Some(match o.combination {
        Combination::Linear => factors(Method::Sum, rng)?,
        Combination::Factors(method) => factors(method, rng)?,
        Combination::Cat => {
            let rows = a.iter().zip(&scaled).map(|(x, &w)| x * w).collect::<candle_core::Result<Vec<_>>>()?;
            Factors { a: Array::cat(&rows, 0)?, b: Array::cat(&b, 1)?.contiguous()? }
        }
        Combination::Svd(method) => {
            // The deltas hold the scaling once, the weights once more: as PEFT computes it.
            let deltas = here.iter().map(|(x, _)| Ok(x.delta()?.to_dtype(DType::F32)?)).collect::<Result<Vec<_>>>()?;
            let sum = mix(&deltas, &scaled, method, density, o.sign, rng)?;
            let limit = sum.dims().iter().copied().min().unwrap_or(0);
            let kept = rank.min(limit);
            let (u, s, vt) = svd(&sum, kept)?;
            let (mut b, mut a) = (u.broadcast_mul(&s.unsqueeze(0)?)?, vt);
            if let Some(quantile) = o.svd_clamp {
                (a, b) = clamp(a, b, quantile)?;
            }
            Factors { a, b }
        }
    }))
}

/// Clips both factors at a quantile of their values.
fn clamp(a: Array, b: Array, quantile: f64) -> Result<(Array, Array)> {
    let mut values: Vec<f32> = b.flatten_all()?.to_vec1()?;
    values.extend(a.flatten_all()?.to_vec1::<f32>()?);
    values.sort_unstable_by(f32::total_cmp);
    let at = quantile.clamp(0., 1.) * (values.len() - 1) as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    let limit = (f64::from(low) + (f64::from(high) - f64::from(low)) * at.fract()).abs();
    Ok((a.clamp(-limit, limit)?, b.clamp(-limit, limit)?))
}

fn mix(x: &[Array], weights: &[f64], method: Method, density: f64, sign: SignMethod, rng: &mut Rng) -> Result<Array> {
    let pruned = x
        .iter()
        .map(|t| match method {
            Method::Sum => Ok(t.clone()),
            Method::Ties | Method::MagnitudePrune => keep_largest(t, density),
            Method::DareTies | Method::DareLinear => keep_random(t, density, rng),
        })
        .collect::<Result<Vec<_>>>()?;
    let weighted = pruned.iter().zip(weights).map(|(t, &w)| t * w).collect::<candle_core::Result<Vec<_>>>()?;
    let total = |list: &[Array]| -> Result<Array> {
        let mut sum = list[0].clone();
        for t in &list[1..] {
            sum = (sum + t)?;
        }
        Ok(sum)
    };
    if !matches!(method, Method::Ties | Method::DareTies) {
        return total(&weighted);
    }
    let signs = pruned.iter().map(Array::sign).collect::<candle_core::Result<Vec<_>>>()?;
    let votes = total(if sign == SignMethod::Total { &pruned } else { &signs })?;
    // +1 where the votes are zero or more, else -1; a pruned entry's sign is 0 and never agrees.
    let majority = votes.ge(0f64)?.to_dtype(DType::F32)?.affine(2., -1.)?;
    let masks = signs.iter().map(|s| s.eq(&majority)?.to_dtype(DType::F32)).collect::<candle_core::Result<Vec<_>>>()?;
    let agreeing = weighted.iter().zip(&masks).map(|(t, m)| t * m).collect::<candle_core::Result<Vec<_>>>()?;
    Ok((total(&agreeing)? / total(&masks)?.clamp(1f64, f64::MAX)?)?)
}

/// Keeps the `int(density · n)` entries of the largest magnitude.
fn keep_largest(t: &Array, density: f64) -> Result<Array> {
    let values: Vec<f32> = t.flatten_all()?.to_vec1()?;
    let count = (density * values.len() as f64) as usize;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].abs().total_cmp(&values[i].abs()));
    let mut out = vec![0f32; values.len()];
    order[..count].iter().for_each(|&i| out[i] = values[i]);
    Ok(Array::from_vec(out, t.dims(), t.device())?)
}

/// Keeps each entry with probability `density` and divides by it.
fn keep_random(t: &Array, density: f64, rng: &mut Rng) -> Result<Array> {
    let values: Vec<f32> = t.flatten_all()?.to_vec1()?;
    let keep = |v: f32, rng: &mut Rng| {
        if rng.uniform() < density {
            (f64::from(v) / density) as f32
        } else {
            0.
        }
    };
    let out: Vec<f32> = values.into_iter().map(|v| keep(v, rng)).collect();
    Ok(Array::from_vec(out, t.dims(), t.device())?)
}
