//! Arrow: routes each token through the adapters that it looks most like.
//!
//! Ostapenko et al. 2024 (arXiv 2405.11157), with GenKnowSub (2025.acl-short.54); PEFT's `ArrowLoraLinearLayer`.

use candle_core::{DType, Device};
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{Array, Context, Error, Param, Result, Tensor};

crate::object! {
    /// How tokens are routed.
    pub struct ArrowConfig {
        /// Adapters for each token.
        top_k: usize = 3, in 1..;
        /// Of the softmax over their likenesses.
        router_temperature: f64 = 1., in f64::MIN_POSITIVE..;
        /// Whether the mean of the general adapters is taken out of the others. Python changes those for good, here they stay.
        use_gks: bool = false;
        /// The adapters to choose from; absent: all that the layer has but routers and `gks_<number>`.
        task_adapter_names: Option<Vec<String>> = None;
        /// The general ones.
        gks_adapter_names: Option<Vec<String>> = None;
        /// Of the vector that the search for an adapter's direction starts with.
        rng_seed: Option<u64> = None;
    }
}

impl ArrowConfig {
    pub fn check(&self) -> Result<()> {
        if self.use_gks && self.gks_adapter_names.as_ref().is_none_or(Vec::is_empty) {
            return Err(Error::config("arrow_config.gks_adapter_names", "use_gks needs general adapters"));
        }
        Ok(())
    }
}

/// An adapter to choose from.
#[derive(Clone)]
pub struct Expert {
    pub name: String,
    /// `[r, in]`
    pub a: Param,
    /// `[out, r]`
    pub b: Param,
    pub scaling: f64,
}

/// Passes of the search for the largest singular vector.
const PASSES: usize = 15;
const TINY: f64 = 1e-8;

#[derive(Clone)]
pub struct Arrow {
    config: ArrowConfig,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    experts: Vec<Expert>,
    general: Vec<Expert>,
    /// What was there before the router.
    before: Option<Vec<String>>,
    /// Made when they are needed.
    found: Option<Found>,
}

/// What follows from the adapters' values at the first pass.
#[derive(Clone)]
struct Found {
    /// `[experts, in]`
    prototypes: Array,
    /// The means of the general adapters' factors.
    mean: Option<(Array, Array)>,
}

fn named(names: &[String], here: &[Expert]) -> Vec<Expert> {
    names.iter().filter_map(|name| here.iter().find(|e| e.name == *name).cloned()).collect()
}

fn is_general(name: &str) -> bool {
    name.strip_prefix("gks_").is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

impl Arrow {
    pub fn new(config: &ArrowConfig) -> Self {
        Self { config: config.clone(), state: Arc::default() }
    }

    /// Takes note of the adapters that are on the layer now. Those that are named may come later than the router, from files;
    /// what comes when they are there is one more to choose from.
    pub fn meet(&self, here: &[Expert]) -> Result<()> {
        let mut state = self.state.lock();
        let all = here.iter().filter(|e| !is_general(&e.name));
        let experts: Vec<Expert> = match &self.config.task_adapter_names {
            Some(names) => {
                let found = named(names, here);
                let complete = found.len() == names.len();
                let before = state.before.get_or_insert_with(|| all.clone().map(|e| e.name.clone()).collect());
                let joins = |n: &String| complete && !names.contains(n) && !before.contains(n);
                found.into_iter().chain(all.filter(|e| joins(&e.name)).cloned()).collect()
            }
            None => all.cloned().collect(),
        };
        let shapes = |e: &Expert| (e.a.shape(), e.b.shape());
        if experts.iter().any(|e| shapes(e) != shapes(&experts[0])) {
            return Err(Error::config("arrow_config", "the adapters to choose from must be of one rank"));
        }
        state.general = named(self.general(), here);
        let known: Vec<&String> = state.experts.iter().map(|e| &e.name).collect();
        if !experts.iter().map(|e| &e.name).eq(known) {
            state.experts = experts;
            state.found = None;
        }
        Ok(())
    }

    fn general(&self) -> &[String] {
        self.config.gks_adapter_names.as_deref().filter(|_| self.config.use_gks).unwrap_or_default()
    }

    /// Fails while an adapter that is named is not there, or fewer than each token takes.
    fn check(&self, state: &State) -> Result<()> {
        let here = |name: &&String| state.experts.iter().any(|e| e.name == **name);
        if let Some(name) = self.config.task_adapter_names.iter().flatten().find(|n| !here(n)) {
            return Err(Error::Invalid(format!("Arrow: there is no adapter {name:?} on a layer of the router")));
        }
        let missing = self.general().len() - state.general.len();
        if missing > 0 {
            return Err(Error::Invalid(format!(
                "Arrow: {missing} of the general adapters are not on a layer of the router"
            )));
        }
        let (n, k) = (state.experts.len(), self.config.top_k);
        if n < k {
            return Err(Error::Invalid(format!("Arrow: each token takes {k} adapters, and a layer has {n}")));
        }
        Ok(())
    }

    /// `Σ cₑ sₑ x Aₑᵀ Bₑᵀ` with the coefficients of each token, for `x [.., in]`.
    pub fn delta(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (experts, found) = {
            let mut state = self.state.lock();
            self.check(&state)?;
            if state.found.is_none() {
                state.found = Some(self.find(&state)?);
            }
            (state.experts.clone(), state.found.clone())
        };
        let (Some(Found { prototypes, mean }), Some(first)) = (found, experts.first()) else {
            return Err(Error::Invalid("Arrow: the layer has no adapters to choose from".into()));
        };
        let (mean_a, mean_b) = mean.unzip();
        let (inp, n, r) = (x.last_dim(), experts.len(), first.a.shape()[0]);
        let tokens = x.data().elem_count() / inp.max(1);
        let flat = x.reshape((tokens, inp))?.to_dtype(first.a.dtype())?;
        let prototypes: Tensor = prototypes.to_dtype(flat.dtype())?.to_device(flat.device())?.into();
        let alike = ops::linear(&flat, &prototypes, None, WeightLayout::OutIn)?.abs()?; // [tokens, experts]
        let chosen = alike.add(&self.mask(alike.data())?.into())?.affine(1. / self.config.router_temperature, 0.)?;
        let coefficients = chosen.softmax(-1)?;
        let stack = |pick: fn(&Expert) -> &Param, mean: &Option<Array>, dim: isize| -> Result<Tensor> {
            let one = |l: &Expert| match mean {
                Some(mean) => pick(l).value(cx.grad)?.sub(&mean.clone().into()),
                None => pick(l).value(cx.grad),
            };
            let all = experts.iter().map(one).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&all.iter().collect::<Vec<_>>(), dim)
        };
        let inner =
            ops::linear(&flat, &stack(|l| &l.a, &mean_a, 0)?, None, WeightLayout::OutIn)?.reshape((tokens, n, r))?;
        let scales: Vec<f64> = experts.iter().map(|l| l.scaling).collect();
        let scales = Array::from_vec(scales, (1, n), &Device::Cpu)?.to_dtype(flat.dtype())?.to_device(flat.device())?;
        let inner = inner.mul(&coefficients.mul(&scales.into())?.unsqueeze(2)?)?.reshape((tokens, n * r))?;
        let y = ops::linear(&inner, &stack(|l| &l.b, &mean_b, 1)?.contiguous()?, None, WeightLayout::OutIn)?;
        let mut shape = x.dims().to_vec();
        shape.pop();
        shape.push(y.last_dim());
        y.reshape(shape)
    }

    /// Zero at the `top_k` largest of each row, minus infinity elsewhere.
    fn mask(&self, alike: &Array) -> Result<Array> {
        let (rows, n) = alike.dims2()?;
        let values: Vec<Vec<f64>> = alike.to_dtype(DType::F64)?.to_device(&Device::Cpu)?.to_vec2()?;
        let mut mask = vec![f32::NEG_INFINITY; rows * n];
        for (row, values) in values.iter().enumerate() {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
            order.iter().take(self.config.top_k).for_each(|&e| mask[row * n + e] = 0.);
        }
        Ok(Array::from_vec(mask, (rows, n), &Device::Cpu)?.to_dtype(alike.dtype())?.to_device(alike.device())?)
    }

    fn find(&self, state: &State) -> Result<Found> {
        let mean = |pick: fn(&Expert) -> &Param| -> Result<Array> {
            let all = state.general.iter().map(|l| pick(l).array()).collect::<Result<Vec<_>>>()?;
            Ok(Array::stack(&all, 0)?.mean(0)?)
        };
        let mean = if state.general.is_empty() { None } else { Some((mean(|l| &l.a)?, mean(|l| &l.b)?)) };
        let without =
            |x: Array, mean: Option<&Array>| -> Result<Array> { mean.map_or(Ok(x.clone()), |m| Ok((x - m)?)) };
        let row = |l: &Expert| {
            let a = without(l.a.array()?, mean.as_ref().map(|m| &m.0))?;
            self.prototype(&a, &without(l.b.array()?, mean.as_ref().map(|m| &m.1))?)
        };
        let rows = state.experts.iter().map(row).collect::<Result<Vec<_>>>()?;
        Ok(Found { prototypes: Array::stack(&rows, 0)?, mean })
    }

    /// The right singular vector of `B A` that belongs to the largest singular value, `[in]`, by power iteration.
    fn prototype(&self, a: &Array, b: &Array) -> Result<Array> {
        let wide = |x: &Array| -> Result<Array> { Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?) };
        let (a, b) = (wide(a)?, wide(b)?);
        let gram = b.t()?.matmul(&b)?;
        let at = a.t()?.contiguous()?;
        let inp = a.dims()[1];
        let mut v = Generator::new(self.config.rng_seed.unwrap_or(0)).randn(&[inp])?.reshape((inp, 1))?;
        let unit = |v: Array| -> Result<Array> {
            let length = f64::from(v.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt();
            Ok((v / (length + TINY))?)
        };
        v = unit(v)?;
        for _ in 0..PASSES {
            v = unit(at.matmul(&gram.matmul(&a.matmul(&v)?)?)?)?;
        }
        Ok(v.flatten_all()?)
    }
}
