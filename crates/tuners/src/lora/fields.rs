//! The fields of LoRA's configurations: what both of Python's worlds have, and each one's own.

use super::corda::CordaConfig;
use super::eva::EvaConfig;
use super::loftq::LoftQConfig;
use super::lora_ga::LoraGaConfig;
use super::variant::{self, ArrowConfig, BdLoraConfig, KasaConfig, MontecloraConfig, VeloraConfig};
use crate::config::Dialect;
use crate::fields::{FieldType, Patterns, Probability, Unsupported};
use crate::site::Site;
use crate::target;
use crate::tokens::TokenIndices;
use candle_core::DType;
use serde_json::Value as Json;
use swift_tuners_nn::{Error, Result};

crate::config! {
    /// The fields that change what is computed.
    pub struct LoraFields {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
            rank_pattern, alpha_pattern,
        ];
        /// Rank of the update.
        r: usize = 8, in 1..;
        /// The update is scaled by `loraAlpha / r`.
        lora_alpha: Alpha = Alpha(8.);
        lora_dropout: Probability = Probability(0.);
        /// Scale by `loraAlpha / sqrt(r)`. Kalajdzievski 2023 (arXiv 2312.03732).
        use_rslora: bool = false;
        /// How the matrices start: true, false (both random, so that the adapter acts at once), or by name.
        init_lora_weights: Start = Start::Default;
        /// Weight and direction apart. Liu et al. 2024 (arXiv 2402.09353).
        use_dora: bool = false;
        /// A bias of B, which merges into the layer's.
        lora_bias: bool = false;
        /// Adapts a tied output projection together with the embedding.
        ensure_weight_tying: bool = false;
        /// Type of the adapter's weights; default the base's (SWIFT) or at least f32 (PEFT).
        lora_dtype: Option<LoraDtype> = None;
        lorap_emb_lr: f64 = 1e-6;
        rank_pattern: Patterns<f64> = Patterns(Vec::new());
        alpha_pattern: Patterns<f64> = Patterns(Vec::new());
        megatron_config: Unsupported = Unsupported;
        megatron_core: Json = Json::from("megatron.core");
        /// Tokens whose rows of the embedding train, too (of the modules whose names end so, where they are by name).
        trainable_token_indices: Option<TokenIndices> = None;
    }
}

crate::config! {
    /// PEFT's class.
    pub struct PeftLoraConfig {
        standard: [];
        ..lora: LoraFields;
        /// LoRA+'s factor on B's learning rate. Hayou et al. 2024 (arXiv 2402.12354).
        lorap_lr_ratio: Option<f64> = None;
        /// Tokens from whose last occurrence on a row is adapted; a row without them stays as it is. Greenewald et al. 2025
        /// (arXiv 2504.12397).
        alora_invocation_tokens: Option<Vec<u64>> = None;
        /// Parameters that are adapted where they are read, by the ends of their names, such as a layer's stacked experts.
        target_parameters: Option<Vec<String>> = None;
        /// Ranges `[first, last + 1]` of layers that a new stack is made of, over shared weights with adapters of their own.
        layer_replication: Option<Vec<Vec<usize>>> = None;
        /// Block-diagonal factors. Konopik et al. 2025 (arXiv 2510.23346).
        use_bdlora: Option<BdLoraConfig> = None;
        /// The weight rounded to a few bits, and a LoRA that starts with what that lost; with `initLoraWeights: 'loftq'`. Li et al.
        /// 2023 (arXiv 2310.08659).
        loftq_config: Given<LoftQConfig> = Given(None);
        /// Of `initLoraWeights: 'eva'`, which `initializeLoraEvaWeights` goes on with. Paischer et al. 2024 (arXiv 2410.07170).
        eva_config: Option<EvaConfig> = None;
        /// Of `initLoraWeights: 'corda'`, which `preprocessCorda` prepares. Yang et al. 2024 (arXiv 2406.05223).
        corda_config: Option<CordaConfig> = None;
        /// On packed weights A reads means over groups of inputs. Xu et al. 2023 (arXiv 2309.14717).
        use_qalora: bool = false;
        /// Inputs of a group.
        qalora_group_size: usize = 16, in 1..;
        /// Makes this adapter a router over others. Ostapenko et al. 2024 (arXiv 2405.11157).
        arrow_config: Option<ArrowConfig> = None;
        /// Of `initLoraWeights: 'lora_ga'`, which `preprocessLoraga` prepares. Wang et al. 2024 (arXiv 2407.05000).
        lora_ga_config: Option<LoraGaConfig> = None;
        /// Training keeps inputs compressed. Miles et al. 2024 (arXiv 2405.17991).
        velora_config: Option<VeloraConfig> = None;
        /// Training samples around A. Sengupta et al. 2024 (arXiv 2411.04358).
        monteclora_config: Option<MontecloraConfig> = None;
        /// Drops the weight's smallest singular values. Wang et al. 2024 (arXiv 2412.06071).
        kasa_config: Option<KasaConfig> = None;
    }
}

impl PeftLoraConfig {
    /// Inputs of a group where QALoRA acts: on packed weights, as PEFT's acts on GPTQ's alone.
    pub fn pooled(&self, site: &Site) -> Option<usize> {
        (self.use_qalora && site.weight().packing().is_some()).then_some(self.qalora_group_size)
    }
}

/// An object that is empty where none is given.
#[derive(Clone, Debug)]
pub struct Given<T>(pub Option<T>);

impl<T: FieldType> FieldType for Given<T> {
    const WANTED: &'static str = T::WANTED;
    fn typescript() -> String {
        T::typescript()
    }
    fn of(value: &Json) -> Option<Self> {
        Self::read("", value).ok()
    }
    fn json(&self) -> Json {
        self.0.as_ref().map_or_else(|| Json::Object(Default::default()), T::json)
    }
    fn read(name: &str, value: &Json) -> Result<Self> {
        match value {
            Json::Null => Ok(Self(None)),
            Json::Object(map) if map.is_empty() => Ok(Self(None)),
            _ => T::read(name, value).map(|given| Self(Some(given))),
        }
    }
}

crate::config! {
    /// SWIFT's class.
    pub struct SwiftLoraConfig {
        standard: [];
        ..lora: LoraFields;
        peft_type: Option<String> = Some("LORA".to_owned());
        model_key_mapping: Unsupported = Unsupported;
        loftq_config: EmptyObject = EmptyObject;
        eva_config: Unsupported = Unsupported;
        corda_config: Unsupported = Unsupported;
        alora_invocation_tokens: Unsupported = Unsupported;
        use_qalora: Off = Off;
        qalora_group_size: Unread = Unread;
        layer_replication: Unsupported = Unsupported;
        target_parameters: Unsupported = Unsupported;
        arrow_config: Unsupported = Unsupported;
        /// LoRA+'s factor on B's learning rate. Hayou et al. 2024 (arXiv 2402.12354).
        lorap_lr_ratio: Option<f64> = Some(16.);
        use_qa_lora: Off = Off;
        /// One LoRA per block of output rows of a fused projection.
        use_merged_linear: bool = false;
        /// Which of the equal blocks have one.
        enable_lora: Option<Blocks> = None;
    }
}

/// How the matrices start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A uniform in ±1/sqrt(in), B zero (`true`).
    Default,
    /// Both random (`false`), so that the adapter acts from the start.
    Random,
    Gaussian,
    /// Both random with B A = 0.
    Orthogonal,
    /// Meng et al. 2024 (arXiv 2404.02948).
    Pissa,
    /// The same by a randomised decomposition with this many iterations.
    PissaFast(usize),
    /// Li et al. 2023 (arXiv 2310.08659).
    LoftQ,
    /// Paischer et al. 2024 (arXiv 2410.07170).
    Eva,
    /// Yang et al. 2024 (arXiv 2406.05223).
    Corda,
    /// Wang et al. 2024 (arXiv 2407.05000).
    LoraGa,
    /// B spans what the weight does least, and stays; A is zero. arXiv 2604.01694.
    Mica,
    /// Büyükakyüz 2024 (arXiv 2406.01775).
    Olora,
}

impl FieldType for Start {
    const WANTED: &'static str =
        "true, false, gaussian, orthogonal, pissa, pissa_niter_<number>, olora, mica, loftq, eva, corda or lora_ga";
    fn typescript() -> String {
        "boolean | 'gaussian' | 'orthogonal' | 'pissa' | `pissa_niter_${number}` | 'olora' | 'mica' | 'loftq' | 'eva' | 'corda' | 'lora_ga'".into()
    }
    fn of(value: &Json) -> Option<Self> {
        match value {
            Json::Null | Json::Bool(true) => Some(Self::Default),
            Json::Bool(false) => Some(Self::Random),
            Json::String(s) => match s.to_ascii_lowercase().as_str() {
                "gaussian" => Some(Self::Gaussian),
                "orthogonal" => Some(Self::Orthogonal),
                "pissa" => Some(Self::Pissa),
                "olora" => Some(Self::Olora),
                "mica" => Some(Self::Mica),
                "loftq" => Some(Self::LoftQ),
                "eva" => Some(Self::Eva),
                "corda" => Some(Self::Corda),
                "lora_ga" => Some(Self::LoraGa),
                "true" => Some(Self::Default),
                other => other.strip_prefix("pissa_niter_")?.parse().ok().map(Self::PissaFast),
            },
            _ => None,
        }
    }
    fn json(&self) -> Json {
        match self {
            Self::Default => true.into(),
            Self::Random => false.into(),
            Self::Gaussian => "gaussian".into(),
            Self::Orthogonal => "orthogonal".into(),
            Self::Pissa => "pissa".into(),
            Self::PissaFast(iterations) => format!("pissa_niter_{iterations}").into(),
            Self::Olora => "olora".into(),
            Self::Mica => "mica".into(),
            Self::LoftQ => "loftq".into(),
            Self::Eva => "eva".into(),
            Self::Corda => "corda".into(),
            Self::LoraGa => "lora_ga".into(),
        }
    }
}

/// A number that Python gives as an integer.
#[derive(Clone, Copy, Debug)]
pub struct Alpha(pub f64);

impl FieldType for Alpha {
    const WANTED: &'static str = "a number";
    fn typescript() -> String {
        "number".into()
    }
    fn of(value: &Json) -> Option<Self> {
        f64::of(value).map(Self)
    }
    fn json(&self) -> Json {
        (self.0 as i64).into()
    }
}

/// Both spellings: `float16` as torch, `fp16` as SWIFT's documentation (which Python refuses).
#[derive(Clone, Copy, Debug)]
pub struct LoraDtype(pub DType);

impl FieldType for LoraDtype {
    const WANTED: &'static str = "float32, float16 or bfloat16";
    fn typescript() -> String {
        "'float32' | 'float16' | 'bfloat16' | 'fp32' | 'fp16' | 'bf16'".into()
    }
    fn of(value: &Json) -> Option<Self> {
        Some(Self(match value.as_str()?.trim_start_matches("torch.") {
            "float32" | "fp32" | "f32" => DType::F32,
            "float16" | "fp16" | "f16" | "half" => DType::F16,
            "bfloat16" | "bf16" => DType::BF16,
            "float64" | "f64" => DType::F64,
            _ => return None,
        }))
    }
    fn json(&self) -> Json {
        self.0.as_str().into()
    }
}

/// Which blocks of a merged linear are adapted.
#[derive(Clone, Debug)]
pub struct Blocks(pub Vec<bool>);

impl FieldType for Blocks {
    const WANTED: &'static str = "a list of true and false";
    fn typescript() -> String {
        "boolean[]".into()
    }
    fn of(value: &Json) -> Option<Self> {
        match value {
            Json::Bool(b) => Some(Self(vec![*b])),
            Json::Array(list) if !list.is_empty() => Vec::of(value).map(Self),
            _ => None,
        }
    }
    fn json(&self) -> Json {
        self.0.json()
    }
}

/// A size that says nothing while what it is for stays off.
#[derive(Clone, Copy, Debug)]
pub struct Unread;

impl FieldType for Unread {
    const WANTED: &'static str = "a value";
    fn typescript() -> String {
        String::new()
    }
    fn of(_: &Json) -> Option<Self> {
        Some(Self)
    }
    fn json(&self) -> Json {
        16.into()
    }
}

/// A flag that must stay off, and an object that must stay empty: their defaults are written so.
#[derive(Clone, Copy, Debug)]
pub struct Off;
#[derive(Clone, Copy, Debug)]
pub struct EmptyObject;

macro_rules! unsupported_as {
    ($name:ident, $json:expr) => {
        impl FieldType for $name {
            const WANTED: &'static str = Unsupported::WANTED;
            fn typescript() -> String {
                String::new()
            }
            fn of(value: &Json) -> Option<Self> {
                Unsupported::of(value).map(|_| Self)
            }
            fn json(&self) -> Json {
                $json
            }
            fn read(name: &str, value: &Json) -> Result<Self> {
                Unsupported::read(name, value).map(|_| Self)
            }
        }
    };
}
unsupported_as!(Off, Json::Bool(false));
unsupported_as!(EmptyObject, Json::Object(Default::default()));

impl LoraFields {
    /// Rank and scaling for one module, after the patterns.
    pub fn rank_and_scaling(&self, name: &str) -> Result<(usize, f64)> {
        let (r, alpha) = self.rank_and_alpha(name)?;
        Ok((r, self.scaling(r, alpha)))
    }

    pub fn rank_and_alpha(&self, name: &str) -> Result<(usize, f64)> {
        let r = target::pattern_value(&self.rank_pattern.0, "rank_pattern", name)?.map_or(self.r, |r| r as usize);
        let alpha = target::pattern_value(&self.alpha_pattern.0, "alpha_pattern", name)?.unwrap_or(self.lora_alpha.0);
        Ok((r, alpha))
    }

    pub fn scaling(&self, r: usize, alpha: f64) -> f64 {
        if self.use_rslora {
            alpha / (r as f64).sqrt()
        } else {
            alpha / r as f64
        }
    }

    /// The type of the adapter's matrices: what is asked for, else the base's in SWIFT and at least f32 in PEFT.
    pub fn dtype(&self, dialect: Dialect, base: DType) -> DType {
        match (self.lora_dtype, dialect) {
            (Some(LoraDtype(dtype)), _) => dtype,
            // PEFT keeps adapters of half-precision models in f32 (`autocast_adapter_dtype`).
            (None, Dialect::Peft) => swift_tuners_nn::ops::compute_dtype(base),
            (None, Dialect::Swift) => base,
        }
    }
}

impl SwiftLoraConfig {
    /// The blocks of a merged linear, if this is one.
    pub fn blocks(&self) -> Option<Vec<bool>> {
        self.use_merged_linear.then(|| self.enable_lora.as_ref().map_or(vec![true], |b| b.0.clone()))
    }
}

/// What the fields of PEFT's class do not allow together.
pub fn check_peft(c: &PeftLoraConfig) -> Result<()> {
    check(&c.lora, c.lorap_lr_ratio, None)?;
    if c.lora.init_lora_weights == Start::LoftQ && c.loftq_config.0.is_none() {
        return Err(Error::config("loftq_config", "missing: init_lora_weights is loftq"));
    }
    if let Some(arrow) = &c.arrow_config {
        arrow.check()?;
    }
    variant::check(c)?;
    super::parameter::check(c)?;
    super::replication::check(c)
}

/// What the fields of SWIFT's classes do not allow together.
pub fn check_swift(lora: &LoraFields, lorap_lr_ratio: Option<f64>, blocks: Option<&[bool]>) -> Result<()> {
    if matches!(lora.init_lora_weights, Start::Mica | Start::LoftQ | Start::Eva | Start::Corda | Start::LoraGa) {
        return Err(Error::config("init_lora_weights", "mica, loftq, eva, corda and lora_ga are PEFT's alone"));
    }
    refuse_tokens(lora)?;
    check(lora, lorap_lr_ratio, blocks)
}

/// What the fields do not allow together.
fn check(lora: &LoraFields, lorap_lr_ratio: Option<f64>, blocks: Option<&[bool]>) -> Result<()> {
    if lora.use_dora && (lora.lora_bias || blocks.is_some()) {
        return Err(Error::config("use_dora", "does not go with lora_bias or use_merged_linear"));
    }
    if lora.lora_bias && !matches!(lora.init_lora_weights, Start::Default | Start::Random) {
        return Err(Error::config("lora_bias", "goes with init_lora_weights true or false only"));
    }
    if blocks.is_some_and(|b| !b.contains(&true)) {
        return Err(Error::config("enable_lora", "no block is enabled"));
    }
    match lorap_lr_ratio {
        Some(ratio) if ratio < 0. => {
            Err(Error::config("lorap_lr_ratio", format!("expected a positive number, found {ratio}")))
        }
        _ => Ok(()),
    }
}

/// Only PEFT's own models take single rows beside their layers.
fn refuse_tokens(lora: &LoraFields) -> Result<()> {
    if lora.trainable_token_indices.is_some() {
        return Err(Error::config("trainable_token_indices", "belongs to a PeftModel"));
    }
    Ok(())
}
