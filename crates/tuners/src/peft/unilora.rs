//! UniLora: a LoRA of all layers whose entries are those of one short vector.
//!
//! Li et al. 2025 (arXiv 2506.00799); PEFT's `peft.tuners.unilora`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use candle_core::{DType, Device};
use std::sync::{Arc, OnceLock};
use swift_tuners_nn::init::numpy;
use swift_tuners_nn::module::{Part, Role};
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::config! {
    /// `UniLoraConfig`
    pub struct UniLoraConfig {
        standard: [
            peft, target_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Rank of the update.
        r: usize = 4, in 1..;
        /// Seed of where each entry of the matrices is in the vector.
        proj_seed: u64 = 42;
        /// Length of the vector, which is all that trains.
        theta_d_length: usize = 256, in 1..;
        unilora_dropout: Probability = Probability(0.);
        /// The vector starts uniform within it.
        init_theta_d_bound: f64 = 0.02;
        /// False starts with a standard normal vector.
        init_weights: bool = true;
        /// Whether checkpoints hold where the entries are; without it they are found again from the seed.
        save_indices: bool = false;
    }
}

/// `ΔW = B A`, each entry of `A [r, in]` and `B [out, r]` an entry of `unilora_theta_d` times one over the root of how often that is used.
#[derive(Clone)]
pub struct UniLora {
    a: Entries,
    b: Entries,
    /// `[length]`
    theta: Param,
    saved: bool,
    dropout: f64,
}

/// Where a matrix has its entries from, and their scales.
#[derive(Clone)]
struct Entries {
    indices: Param,
    scales: Param,
}

/// Which entry of the vector each of all layers' entries is, layer by layer, A before B, and the scale of each entry of the vector.
type Assignment = (Vec<u32>, Vec<f32>);

/// Every entry of the vector is used equally often, or once more: the first as often as all are, the rest drawn, all shuffled. With
/// them one over the root of how often each is used.
fn assign(count: usize, length: usize, seed: u64) -> Assignment {
    let (often, left) = (count / length, count % length);
    let mut rng = numpy::Generator::new(seed);
    let mut all: Vec<u32> = (0..length as u32).flat_map(|i| std::iter::repeat_n(i, often)).collect();
    if left > 0 {
        all.extend(rng.choice(length, left).into_iter().map(|i| i as u32));
    }
    rng.shuffle(&mut all);
    let mut counts = vec![0u32; length];
    all.iter().for_each(|&i| counts[i as usize] += 1);
    (all, counts.into_iter().map(|n| if n == 0 { 0. } else { 1. / (n as f32).sqrt() }).collect())
}

impl Entries {
    /// Of a bank that has them.
    fn of(bank: &Bank, [indices, scales]: [&str; 2], site: &Site) -> Result<Self> {
        Ok(Self { indices: bank.find(indices, &site.path)?.clone(), scales: bank.find(scales, &site.path)?.clone() })
    }

    fn matrix(&self, call: &Call<'_>, theta: &Tensor) -> Result<Tensor> {
        let scales = call.value(&self.scales)?;
        let index = self.indices.array()?.flatten_all()?.to_device(theta.device())?;
        theta.index_select(&index, 0)?.reshape(scales.dims())?.mul(&scales)
    }
}

const THETA: &str = "unilora_theta_d";
const A: [&str; 2] = ["unilora_indices_A", "unilora_scales_A"];
const B: [&str; 2] = ["unilora_indices_B", "unilora_scales_B"];

impl LayerKind for UniLora {
    const NAME: &'static str = "UNILORA";
    const CLASS: &'static str = "UniLoraConfig";
    const ABOUT: &'static str =
        "A LoRA of all layers whose entries are those of one short vector. Li et al. 2025 (arXiv 2506.00799).";
    type Config = UniLoraConfig;
    type Adapter = Self;

    fn check(c: &UniLoraConfig) -> Result<()> {
        if c.init_theta_d_bound <= 0. {
            return Err(Error::config("init_theta_d_bound", "expected a positive number"));
        }
        Ok(())
    }

    fn bank(c: &UniLoraConfig, sites: &[Site], init: &mut Init) -> Result<Option<Bank>> {
        let (n, bound, uniform) = (c.theta_d_length, c.init_theta_d_bound, c.init_weights);
        let theta = init.param(&[n], move |g| if uniform { g.uniform(&[n], -bound, bound) } else { g.randn(&[n]) })?;
        let mut bank = Bank::of(sites).with(THETA, Role::Trained, theta);
        let count = sites.iter().map(|s| c.r * (s.inputs + s.outputs)).sum();
        let (seed, once) = (c.proj_seed, Arc::new(OnceLock::<Assignment>::new()));
        let mut start = 0;
        for site in sites {
            for (groups, shape) in [(A, [c.r, site.inputs]), (B, [site.outputs, c.r])] {
                let range = start..start + shape[0] * shape[1];
                start = range.end;
                let (all, of) = (once.clone(), range.clone());
                let indices = Param::indices(&shape, DType::I64, &Device::Cpu, [n; 2], move || {
                    let (all, _) = all.get_or_init(|| assign(count, n, seed));
                    let here: Vec<i64> = all[of.clone()].iter().map(|&i| i64::from(i)).collect();
                    Ok(Array::from_vec(here, &shape[..], &Device::Cpu)?)
                });
                let (all, base) = (once.clone(), site.base_dtype);
                let scales = Param::pending(&shape, init.dtype, &init.device, false, move || {
                    let (all, scales) = all.get_or_init(|| assign(count, n, seed));
                    let here: Vec<f32> = all[range.clone()].iter().map(|&i| scales[i as usize]).collect();
                    // PEFT rounds them to the base's type.
                    Ok(Array::from_vec(here, &shape[..], &Device::Cpu)?.to_dtype(base)?)
                });
                bank = bank.inside(groups[0], site.path.clone(), indices).inside(groups[1], site.path.clone(), scales);
            }
        }
        Ok(Some(bank))
    }

    fn new(c: &UniLoraConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "linear layer")?;
        let bank = bank.ok_or_else(|| Error::Invalid("UniLora has no vector".into()))?;
        // Python draws indices here, a word each, and replaces them.
        init.discard(|g| {
            g.skip_uniforms(c.r * (site.inputs + site.outputs));
            Ok(())
        })?;
        let (a, b) = (Entries::of(bank, A, site)?, Entries::of(bank, B, site)?);
        let theta = bank.get(THETA)?.clone();
        Ok(Self { a, b, theta, saved: c.save_indices, dropout: c.unilora_dropout.0 })
    }
}

impl UniLora {
    /// `A [r, in]` and `B [out, r]`.
    fn factors(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let theta = call.value(&self.theta)?;
        Ok((self.a.matrix(call, &theta)?, self.b.matrix(call, &theta)?))
    }
}

impl LayerAdapter for UniLora {
    const GROUPS: &'static [&'static str] = &["unilora_dropout", A[0], B[0], A[1], B[1], THETA];

    fn parts(&self) -> Vec<Part<'_>> {
        let buffer = |group, param| Part::trained(group, param).role(Role::Buffer { saved: self.saved });
        vec![
            buffer(A[0], &self.a.indices),
            buffer(B[0], &self.b.indices),
            buffer(A[1], &self.a.scales),
            buffer(B[1], &self.b.scales),
            Part::trained(THETA, &self.theta).shared(),
        ]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (a, b) = self.factors(call)?;
        b.matmul(&a).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b) = self.factors(call)?;
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(a.dtype())?;
        ops::lora_linear(&x, None, &[LoraTerm::new(a, b, 1.)]).map(Some)
    }
}
