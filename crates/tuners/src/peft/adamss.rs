//! AdaMSS: low-rank updates of clusters of the weight's rows, inside of its principal subspace.
//!
//! Zheng et al. 2025 (NeurIPS, "AdaMSS: Adaptive Multi-Subspace Approach"); PEFT's `peft.tuners.adamss`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::linalg::{kmeans, qr, svd_lowrank};
use swift_tuners_nn::module::{Part, Role, WeightKind};
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `AdamssConfig`
    pub struct AdamssConfig {
        standard: [peft, target_modules, modules_to_save, layers_to_transform, layers_pattern];
        /// Dimensions of the principal subspace.
        r: usize = 100, in 1..;
        /// Clusters of rows.
        num_subspaces: usize = 5, in 1..;
        /// Rank of a cluster's update.
        subspace_rank: usize = 1, in 1..;
        /// 'orthogonal' starts with B zero; false or null at random, so that the adapter acts at once.
        init_weights: Option<Start> = Some(Start::Orthogonal);
        /// Training clusters by their importance is not supported.
        use_asa: bool = false;
        asa_target_subspaces: usize = 50;
        init_warmup: usize = 50;
        final_warmup: usize = 1000;
        mask_interval: usize = 100;
        asa_importance_beta: f64 = 0.85;
        asa_uncertainty_beta: f64 = 0.85;
        asa_schedule_exponent: f64 = 3.;
        /// Takes a cluster's rank from the singular values of its rows.
        use_dynamic_rank: bool = false;
        /// Share of the largest singular value that counts, with `useDynamicRank`.
        svd_threshold: f64 = 0.1;
        /// Seed of the principal subspace.
        random_seed: u64 = 0;
    }
}

crate::choices! {
    /// How B starts.
    pub enum Start { Orthogonal = "orthogonal", Random = false }
}

/// What scikit-learn's clustering starts from, and how often it goes on.
const SEED: u32 = 123_456_789;
const ITERATIONS: usize = 10;

/// `[ΔW Δb] = P diag(B₁ A₁, B₂ A₂, ..) N`, where N are the principal directions of `[W b]` and P puts each cluster's rows back.
#[derive(Clone)]
pub struct Adamss {
    /// `[rank, r]` and `[rows, rank]` for each cluster.
    clusters: Vec<(Param, Param)>,
    /// N `[r, in (+ 1)]`
    directions: Param,
    /// Where each output is among the clusters' rows.
    place: Vec<u32>,
}

impl LayerKind for Adamss {
    const NAME: &'static str = "ADAMSS";
    const CLASS: &'static str = "AdamssConfig";
    const ABOUT: &'static str =
        "Low-rank updates of clusters of the weight's rows, inside of its principal subspace. Zheng et al. 2025 (NeurIPS).";
    type Config = AdamssConfig;
    type Adapter = Self;

    fn check(c: &AdamssConfig) -> Result<()> {
        if c.use_asa {
            return Err(Error::config("use_asa", "true is not supported"));
        }
        Ok(())
    }

    fn new(c: &AdamssConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let mut w = site.matrix()?;
        if let Some(bias) = site.bias()? {
            w = Array::cat(&[&w, &bias.to_dtype(w.dtype())?.unsqueeze(1)?], 1)?;
        }
        let (outputs, inputs) = w.dims2()?;
        let r = c.r.min(outputs).min(inputs);
        let (rows, _, directions) = svd_lowrank(&w, r, 2, &mut Generator::new(c.random_seed))?;
        let labels = kmeans(&rows, c.num_subspaces.min(outputs), ITERATIONS, SEED)?;
        let count = labels.iter().max().map_or(0, |l| l + 1);
        let members: Vec<Vec<u32>> =
            (0..count).map(|k| (0..outputs as u32).filter(|&o| labels[o as usize] == k).collect()).collect();
        let mut place = vec![0; outputs];
        members.iter().flatten().zip(0..).for_each(|(&o, at)| place[o as usize] = at);
        let mut clusters = Vec::with_capacity(count);
        for members in members {
            let own = rows.index_select(&Array::new(members.as_slice(), rows.device())?, 0)?; // [rows, r]
            clusters.push(cluster(c, own, r, init)?);
        }
        let directions = init.derived(&[r, inputs], move || Ok(directions.clone()))?;
        Ok(Self { clusters, directions, place })
    }
}

/// A `[rank, r]` and B `[rows, rank]` of a cluster with these rows of the principal subspace.
fn cluster(c: &AdamssConfig, rows: Array, r: usize, init: &mut Init) -> Result<(Param, Param)> {
    let n = rows.dims()[0];
    let gram = rows.matmul(&rows.t()?.contiguous()?)?;
    let mut rank = c.subspace_rank.min(n).max(1);
    if c.use_dynamic_rank {
        // Python draws for it what it draws for everything.
        let found: Arc<Mutex<Option<Array>>> = Arc::default();
        let (kept, of) = (found.clone(), gram.clone());
        init.discard(move |g| {
            *kept.lock() = Some(svd_lowrank(&of, n, 2, g)?.1);
            Ok(())
        })?;
        let known = found.lock().take();
        let values = match known {
            Some(values) => values,
            None => svd_lowrank(&gram, n, 2, &mut Generator::new(0))?.1,
        };
        let values: Vec<f32> = values.to_vec1()?;
        let largest = values.first().map_or(0., |v| f64::from(*v));
        let above = values.iter().filter(|&&v| f64::from(v) > c.svd_threshold * largest).count();
        rank = above.min(c.subspace_rank).clamp(1, n);
    }
    let a = init.param(&[rank, r], move |g| {
        let (u, _, _) = svd_lowrank(&gram, rank, 2, g)?;
        let (q, _) = qr(&rows.t()?.contiguous()?.matmul(&u)?)?;
        Ok(q.t()?.contiguous()?)
    })?;
    let shape = [n, rank];
    let b = match c.init_weights {
        Some(Start::Orthogonal) => init.constant(&shape, 0.)?,
        _ => init.param(&shape, move |g| Ok((g.randn(&shape)? * 0.01)?))?,
    };
    Ok((a, b))
}

impl Adamss {
    /// The update in two factors: `[ranks, in (+ 1)]` and `[out, ranks]`.
    fn factors(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let n = call.value(&self.directions)?;
        let values = self.clusters.iter().map(|(a, b)| Ok((call.value(a)?, call.value(b)?)));
        let values: Vec<(Tensor, Tensor)> = values.collect::<Result<_>>()?;
        let total: usize = values.iter().map(|(a, _)| a.dim(0)).sum();
        let a = Tensor::cat(&values.iter().map(|(a, _)| a).collect::<Vec<_>>(), 0)?.matmul(&n)?;
        let (mut before, mut rows) = (0, Vec::with_capacity(values.len()));
        for (_, b) in &values {
            // Each cluster's rows have its own ranks alone.
            let zeros = |width: usize| Array::zeros((b.dim(0), width), b.dtype(), b.device());
            let (left, right) = (zeros(before)?.into(), zeros(total - before - b.dim(1))?.into());
            rows.push(Tensor::cat(&[&left, b, &right].into_iter().filter(|p| p.dim(1) > 0).collect::<Vec<_>>(), 1)?);
            before += b.dim(1);
        }
        let place = Array::new(self.place.as_slice(), n.device())?;
        Ok((a, Tensor::cat(&rows.iter().collect::<Vec<_>>(), 0)?.index_select(&place, 0)?))
    }

    /// Without the bias's column, which comes beside it.
    fn split(call: &Call<'_>, a: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let inputs = call.site.inputs;
        if a.dim(1) == inputs {
            return Ok((a.clone(), None));
        }
        Ok((a.narrow(1, 0, inputs)?.contiguous()?, Some(a.narrow(1, inputs, 1)?.contiguous()?)))
    }
}

impl LayerAdapter for Adamss {
    const GROUPS: &'static [&'static str] = &["adamss_A", "adamss_B", "adamss_newB"];

    fn parts(&self) -> Vec<Part<'_>> {
        let all = |group: &'static str, of: fn(&(Param, Param)) -> &Param| {
            self.clusters.iter().enumerate().map(move |(i, c)| Part::leaf(group, format!(".{i}"), of(c)))
        };
        let mut parts: Vec<Part<'_>> = all("adamss_A", |c| &c.0).chain(all("adamss_B", |c| &c.1)).collect();
        parts.push(Part::trained("adamss_newB", &self.directions).role(Role::Buffer { saved: true }));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (a, b) = self.factors(call)?;
        b.matmul(&Self::split(call, &a)?.0).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b) = self.factors(call)?;
        let (a, bias) = Self::split(call, &a)?;
        let x = x.tensor()?.to_dtype(b.dtype())?;
        let y = ops::lora_linear(&x, None, &[LoraTerm::new(a, b.clone(), 1.)])?;
        match bias {
            Some(bias) => y.add(&b.matmul(&bias)?.reshape(call.site.outputs)?).map(Some),
            None => Ok(Some(y)),
        }
    }

    fn merged_bias(
        &self,
        call: &Call<'_>,
        _: &dyn Fn() -> Result<Array>,
        bias: Option<&Array>,
    ) -> Result<Option<Array>> {
        let (a, b) = self.factors(call)?;
        let (Some(bias), (_, Some(column))) = (bias, Self::split(call, &a)?) else { return Ok(None) };
        Ok(Some((bias + b.matmul(&column)?.into_data().flatten_all()?.to_dtype(bias.dtype())?)?))
    }
}
