//! VB-LoRA: LoRA whose matrices are mixed of few vectors from a bank that all layers share.
//!
//! Li et al. 2024 (arXiv 2405.15179); PEFT's `peft.tuners.vblora`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Probability;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use candle_core::{DType, Device};
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::module::{Excerpt, Part, Role};
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Array, Error, Model, Param, Result, Tensor};

crate::config! {
    /// `VBLoRAConfig`
    pub struct VbLoraConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Rank of the update.
        r: usize = 4, in 1..;
        /// Vectors of the bank.
        num_vectors: usize = 256, in 1..;
        /// Their length, which inputs and outputs of all layers are multiples of.
        vector_length: usize = 256, in 1..;
        /// How many vectors each part of a matrix is mixed of.
        topk: usize = 2, in 1..;
        /// Checkpoints hold the chosen vectors and their shares in place of all logits: for inference only.
        save_only_topk_weights: bool = false;
        vblora_dropout: Probability = Probability(0.);
        /// The bank starts uniform within it.
        init_vector_bank_bound: f64 = 0.02;
        /// Standard deviation of the first logits.
        init_logits_std: f64 = 0.1;
    }
}

/// `ΔW = B A`: each part of `A [r, in]` and `B [out, r]` is the sum of `topk` vectors of `vblora_vector_bank [vectors, length]`, with the
/// softmax of their logits as shares.
#[derive(Clone)]
pub struct VbLora {
    /// `[r, in / length, vectors]`
    logits_a: Param,
    /// `[out / length, r, vectors]`
    logits_b: Param,
    bank: Bank,
    topk: usize,
    excerpt: bool,
    dropout: f64,
}

const BANK: &str = "vblora_vector_bank";

impl LayerKind for VbLora {
    const NAME: &'static str = "VBLORA";
    const CLASS: &'static str = "VBLoRAConfig";
    const ABOUT: &'static str =
        "LoRA mixed of few vectors from a bank that all layers share. Li et al. 2024 (arXiv 2405.15179).";
    type Config = VbLoraConfig;
    type Adapter = Self;

    fn check(c: &VbLoraConfig) -> Result<()> {
        if c.topk > c.num_vectors {
            return Err(Error::config("topk", format!("{} of {} vectors", c.topk, c.num_vectors)));
        }
        Ok(())
    }

    fn default_targets(model: &Model) -> &'static [&'static str] {
        match model.keys.model_type {
            "mistral" => &[],
            "t5" => &["q", "k", "v", "o", "wi", "wo"],
            _ => model.keys.lora_targets,
        }
    }

    fn bank(c: &VbLoraConfig, sites: &[Site], init: &mut Init) -> Result<Option<Bank>> {
        let (shape, bound) = ([c.num_vectors, c.vector_length], c.init_vector_bank_bound);
        // With every layer Python makes the bank anew; the last one stays.
        let bank = Param::pending(&shape, init.dtype, &init.device, true, move || {
            Generator::new(0).uniform(&shape, -bound, bound)
        });
        Ok(Some(Bank::of(sites).with(BANK, Role::Trained, bank)))
    }

    fn new(c: &VbLoraConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|_| site.is_linear(), "linear layer")?;
        for (side, size) in [("inputs", site.inputs), ("outputs", site.outputs)] {
            if !size.is_multiple_of(c.vector_length) {
                let why = format!("{} does not divide the {size} {side} of {}", c.vector_length, site.path);
                return Err(Error::config("vector_length", why));
            }
        }
        let bank = bank.ok_or_else(|| Error::Invalid("VB-LoRA has no bank".into()))?.clone();
        let (vectors, bound, std) = (bank.get(BANK)?, c.init_vector_bank_bound, c.init_logits_std);
        init.discard(|g| vectors.take(&g.uniform(&vectors.shape(), -bound, bound)?))?;
        let mut logits = |shape: [usize; 3]| init.param(&shape, move |g| g.normal(&shape, 0., std));
        let logits_a = logits([c.r, site.inputs / c.vector_length, c.num_vectors])?;
        let logits_b = logits([site.outputs / c.vector_length, c.r, c.num_vectors])?;
        let (topk, excerpt, dropout) = (c.topk, c.save_only_topk_weights, c.vblora_dropout.0);
        Ok(Self { logits_a, logits_b, bank, topk, excerpt, dropout })
    }
}

/// The largest values along the last dimension, and where they are, in order; of equal ones the first comes first.
fn largest(logits: &Array, count: usize) -> Result<(Vec<f64>, Vec<u32>)> {
    let n = logits.dim(candle_core::D::Minus1)?;
    let all: Vec<f64> = logits.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let (mut values, mut places) = (Vec::new(), Vec::new());
    for row in all.chunks_exact(n.max(1)) {
        let mut order: Vec<u32> = (0..n as u32).collect();
        let before = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
        if count < n {
            order.select_nth_unstable_by(count, before);
            order.truncate(count);
        }
        order.sort_unstable_by(before);
        values.extend(order.iter().map(|&i| row[i as usize]));
        places.extend(order);
    }
    Ok((values, places))
}

fn with_last(shape: &[usize], last: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if let Some(end) = shape.last_mut() {
        *end = last;
    }
    shape
}

/// The chosen vectors, in the smallest type that holds their numbers, and their shares but for the last, which is what is left.
fn take(logits: &Array, topk: usize) -> Result<Vec<Array>> {
    let (values, places) = largest(logits, topk)?;
    let dtype = match logits.dim(candle_core::D::Minus1)? {
        0..0x100 => DType::U8,
        0x100..0x8000 => DType::I16,
        0x8000..0x8000_0000 => DType::I32,
        _ => DType::I64,
    };
    let places: Vec<i64> = places.into_iter().map(i64::from).collect();
    let places = Array::from_vec(places, with_last(logits.dims(), topk), &Device::Cpu)?.to_dtype(dtype)?;
    let mut shares = Vec::with_capacity(values.len());
    for row in values.chunks_exact(topk.max(1)) {
        let powers: Vec<f64> = row.iter().map(|v| (v - row[0]).exp()).collect();
        let sum: f64 = powers.iter().sum();
        shares.extend(powers[..topk - 1].iter().map(|p| (p / sum) as f32));
    }
    Ok(vec![
        places,
        Array::from_vec(shares, with_last(logits.dims(), topk - 1), &Device::Cpu)?.to_dtype(logits.dtype())?,
    ])
}

/// Logits that give these shares: the others are −∞.
fn restore(parts: &[&Array], shape: &[usize]) -> Result<Array> {
    let [places, shares] = parts else { return Err(Error::Argument("two tensors are expected".into())) };
    let (n, topk) = (shape.last().copied().unwrap_or(0), places.dims().last().copied().unwrap_or(0));
    if topk == 0 || places.dims() != with_last(shape, topk) || shares.dims() != with_last(shape, topk - 1) {
        let found = format!("{:?} and {:?} for logits {shape:?}", places.dims(), shares.dims());
        return Err(Error::Argument(found));
    }
    if places.dtype().is_float() {
        return Err(Error::Argument(format!("{:?} values are no numbers of vectors", places.dtype())));
    }
    let places: Vec<i64> = places.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?;
    let shares: Vec<f32> = shares.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let mut logits = vec![f32::NEG_INFINITY; shape.iter().product()];
    for (i, row) in logits.chunks_exact_mut(n.max(1)).enumerate() {
        let shares = &shares[i * (topk - 1)..(i + 1) * (topk - 1)];
        let last = 1. - shares.iter().sum::<f32>();
        for (place, share) in places[i * topk..(i + 1) * topk].iter().zip(shares.iter().chain([&last])) {
            let at = usize::try_from(*place).ok().filter(|at| *at < n);
            let at = at.ok_or_else(|| Error::Argument(format!("the index {place} is not in 0..{n}")))?;
            row[at] = share.ln();
        }
    }
    Ok(Array::from_vec(logits, shape, &Device::Cpu)?)
}

impl VbLora {
    /// The vectors that these logits mean: `[.., vectors]` → `[.., length]`.
    fn mixed(&self, call: &Call<'_>, logits: &Param) -> Result<Tensor> {
        let logits = call.value(logits)?;
        let (_, places) = largest(logits.data(), self.topk)?;
        let bank = call.value(self.bank.get(BANK)?)?;
        let (shape, count) = (with_last(logits.dims(), self.topk), places.len());
        let index = Array::from_vec(places, count, logits.device())?;
        let shares = logits.gather(&index.reshape(shape.as_slice())?, -1)?.softmax(-1)?; // [.., k]
        let length = bank.dim(1);
        let vectors = bank.index_select(&index, 0)?.reshape((count / self.topk, self.topk, length))?;
        let mixed = shares.reshape((count / self.topk, 1, self.topk))?.matmul(&vectors)?;
        mixed.reshape(with_last(logits.dims(), length))
    }

    /// `A [r, in]` and `B [out, r]`.
    fn factors(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let (a, b) = (self.mixed(call, &self.logits_a)?, self.mixed(call, &self.logits_b)?);
        let r = a.dim(0);
        let (inputs, outputs) = (call.site.inputs, call.site.outputs);
        Ok((a.reshape((r, inputs))?, b.transpose(1, 2)?.contiguous()?.reshape((outputs, r))?))
    }
}

impl LayerAdapter for VbLora {
    const GROUPS: &'static [&'static str] = &["vblora_dropout", "vblora_logits_A", "vblora_logits_B", BANK];

    fn parts(&self) -> Vec<Part<'_>> {
        let endings = &["_topk_indices", "_topk_weights"];
        let excerpt = self.excerpt.then_some(Excerpt { endings, keep: self.topk, take, restore });
        let mut parts = vec![
            Part::trained("vblora_logits_A", &self.logits_a).excerpt(excerpt),
            Part::trained("vblora_logits_B", &self.logits_b).excerpt(excerpt),
        ];
        parts.extend(self.bank.parts(BANK));
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (a, b) = self.factors(call)?;
        b.matmul(&a).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        if call.training() && self.excerpt && !ops::all_finite(&self.logits_a.array()?)? {
            return Err(Error::Invalid(format!(
                "{}: the logits come from a checkpoint with save_only_topk_weights, which is for inference only",
                call.site.path
            )));
        }
        let (a, b) = self.factors(call)?;
        let x = call.cx.dropout(x.tensor()?, self.dropout)?.to_dtype(a.dtype())?;
        ops::lora_linear(&x, None, &[LoraTerm::new(a, b, 1.)]).map(Some)
    }
}
