//! Several adapters' values made into one: the methods of model merging.

use crate::error::printable;
use crate::init::Rng;
use crate::param::Param;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::DType;

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

/// How one combination is made.
pub struct Combining {
    pub combination: Combination,
    /// Rank of the result, where it has one.
    pub rank: usize,
    /// Share of the values that pruning keeps.
    pub density: f64,
    pub sign: SignMethod,
    /// Clips the factors of an `svd` at this quantile of their values.
    pub svd_clamp: Option<f64>,
    pub rng: Rng,
    /// Reads a value, wherever it is.
    pub read: fn(&Param) -> Result<Array>,
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

impl Combining {
    /// The weighted sum of equally shaped tensors by one of the methods.
    pub fn mix(&mut self, x: &[Array], weights: &[f64], method: Method) -> Result<Array> {
        let pruned = x
            .iter()
            .map(|t| match method {
                Method::Sum => Ok(t.clone()),
                Method::Ties | Method::MagnitudePrune => keep_largest(t, self.density),
                Method::DareTies | Method::DareLinear => keep_random(t, self.density, &mut self.rng),
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
        let votes = total(if self.sign == SignMethod::Total { &pruned } else { &signs })?;
        // +1 where the votes are zero or more, else -1; a pruned entry's sign is 0 and never agrees.
        let majority = votes.ge(0f64)?.to_dtype(DType::F32)?.affine(2., -1.)?;
        let masks =
            signs.iter().map(|s| s.eq(&majority)?.to_dtype(DType::F32)).collect::<candle_core::Result<Vec<_>>>()?;
        let agreeing = weighted.iter().zip(&masks).map(|(t, m)| t * m).collect::<candle_core::Result<Vec<_>>>()?;
        Ok((total(&agreeing)? / total(&masks)?.clamp(1f64, f64::MAX)?)?)
    }
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

/// Clips both factors at a quantile of their values.
pub fn clamp(a: Array, b: Array, quantile: f64) -> Result<(Array, Array)> {
    let mut values: Vec<f32> = b.flatten_all()?.to_vec1()?;
    values.extend(a.flatten_all()?.to_vec1::<f32>()?);
    values.sort_unstable_by(f32::total_cmp);
    let at = quantile.clamp(0., 1.) * (values.len() - 1) as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    let limit = (f64::from(low) + (f64::from(high) - f64::from(low)) * at.fract()).abs();
    Ok((a.clamp(-limit, limit)?, b.clamp(-limit, limit)?))
}
