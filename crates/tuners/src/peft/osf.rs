//! OSF: trains the smaller singular triplets of a weight, at right angles to its larger ones.
//!
//! Nayak et al. 2025 (arXiv 2504.07097); PEFT's `peft.tuners.osf`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::FieldType;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::pattern::FullMatch;
use crate::site::{Call, Input, Site};
use serde_json::Value as Json;
use swift_tuners_nn::linalg::svd;
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::ops::{self, LoraTerm};
use swift_tuners_nn::{Array, Error, Model, Param, Result, Tensor};

crate::config! {
    /// `OSFConfig`
    pub struct OsfConfig {
        standard: [peft, target_modules, modules_to_save];
        /// How many of the largest singular triplets stay as they are: a number, or a share of all below or equal to 1.0 (with a point).
        /// Default: half of them.
        effective_rank: Option<Triplets> = None;
        /// The same by patterns that are found in module names; the first counts.
        rank_pattern: Option<RankPatterns> = None;
        /// False starts with random triplets in place of the weight's, so that the adapter acts at once.
        init_weights: Option<bool> = Some(true);
        /// Python keeps it and uses it nowhere.
        target_svd_config: Json = Json::Null;
    }
}

/// A number of triplets, or a share of all.
#[derive(Clone, Copy, Debug)]
pub enum Triplets {
    Count(f64),
    Share(f64),
}

impl FieldType for Triplets {
    const WANTED: &'static str = "a number";
    fn typescript() -> String {
        "number".into()
    }
    fn of(value: &Json) -> Option<Self> {
        let number = value.as_f64()?;
        Some(if value.is_f64() && number > 0. && number <= 1. { Self::Share(number) } else { Self::Count(number) })
    }
    fn json(&self) -> Json {
        match self {
            Self::Count(n) if n.fract() == 0. => (*n as i64).into(),
            Self::Count(n) | Self::Share(n) => (*n).into(),
        }
    }
}

impl Triplets {
    fn of_all(self, all: usize) -> usize {
        let n = match self {
            Self::Count(n) => n,
            Self::Share(share) => all as f64 * share,
        };
        n.clamp(0., all as f64) as usize
    }
}

/// Numbers by patterns, in the order of the file.
#[derive(Clone, Debug)]
pub struct RankPatterns(Vec<(String, Triplets)>);

impl FieldType for RankPatterns {
    const WANTED: &'static str = "an object of patterns and numbers";
    fn typescript() -> String {
        "Record<string, number>".into()
    }
    fn of(value: &Json) -> Option<Self> {
        let pairs = value.as_object()?.iter().map(|(k, v)| Some((k.clone(), Triplets::of(v)?)));
        pairs.collect::<Option<_>>().map(Self)
    }
    fn json(&self) -> Json {
        Json::Object(self.0.iter().map(|(k, v)| (k.clone(), v.json())).collect())
    }
}

/// `W' = W + U diag(S) V − U₀ diag(S₀) V₀`, the latter what the weight has of the triplets that train. Gradients of U and V have no part
/// in the space of the triplets that stay.
#[derive(Clone)]
pub struct Osf {
    /// `[out, n]`
    u: Param,
    /// `[n]`
    s: Param,
    /// `[n, in]`
    v: Param,
    first: [Array; 3],
    /// Those that stay, `[out, k]` and `[k, in]`, where they are not all that `first` leaves.
    high: (Option<Array>, Option<Array>),
}

/// PEFT's table by model type; all linear layers for others.
fn defaults(model_type: &str) -> &'static [&'static str] {
    match model_type {
        "llama" | "mistral" | "qwen2" | "qwen3" | "gemma" | "gemma2" | "gemma3_text" => {
            &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj", "up_proj"]
        }
        "gpt2" => &["c_attn", "c_proj"],
        _ => &["all-linear"],
    }
}

fn check_pattern(pattern: &str) -> Result<FullMatch> {
    FullMatch::new(&format!("(?s:.*)(?:{pattern})(?s:.*)"), "rank_pattern")
}

impl LayerKind for Osf {
    const NAME: &'static str = "OSF";
    const CLASS: &'static str = "OSFConfig";
    const ABOUT: &'static str =
        "Training of the smaller singular triplets, at right angles to the larger ones. Nayak et al. 2025 (arXiv 2504.07097).";
    type Config = OsfConfig;
    type Adapter = Self;

    fn check(c: &OsfConfig) -> Result<()> {
        c.rank_pattern.iter().flat_map(|p| &p.0).try_for_each(|(pattern, _)| check_pattern(pattern).map(|_| ()))
    }

    fn default_targets(model: &Model) -> &'static [&'static str] {
        defaults(model.keys.model_type)
    }

    fn new(c: &OsfConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let all = site.inputs.min(site.outputs);
        let mut high = c.effective_rank.map_or(all / 2, |r| r.of_all(all));
        for (pattern, triplets) in c.rank_pattern.iter().flat_map(|p| &p.0) {
            if check_pattern(pattern)?.matches(&site.path)? {
                high = triplets.of_all(all);
                break;
            }
        }
        if high == 0 || high == all {
            let why = format!("{high} of {all} triplets of {} are to stay; some must, and some must train", site.path);
            return Err(Error::config("effective_rank", why));
        }
        let (u, s, v) = svd(&site.matrix()?, all)?;
        // Rounded as the weight is.
        let round = |x: Array| -> Result<Array> {
            Ok(x.contiguous()?.to_dtype(site.base_dtype)?.to_dtype(init.dtype)?.to_device(&init.device)?)
        };
        let low = all - high;
        let first = [round(u.narrow(1, high, low)?)?, round(s.narrow(0, high, low)?)?, round(v.narrow(0, high, low)?)?];
        let kept = (
            (site.outputs > site.inputs).then(|| round(u.narrow(1, 0, high)?)).transpose()?,
            (site.outputs < site.inputs).then(|| round(v.narrow(0, 0, high)?)).transpose()?,
        );
        let random = c.init_weights == Some(false);
        let mut param = |x: &Array| -> Result<Param> {
            if !random {
                return Ok(Param::new(x.copy()?, true));
            }
            let shape = x.dims().to_vec();
            init.param(x.dims(), move |g| g.randn(&shape))
        };
        let (u, s, v) = (param(&first[0])?, param(&first[1])?, param(&first[2])?);
        Ok(Self { u, s, v, first, high: kept })
    }
}

impl Osf {
    /// The trained factors, U with its columns times S.
    fn factors(&self, call: &Call<'_>) -> Result<(Tensor, Tensor)> {
        let (high_u, low_u) = (self.high.0.clone(), self.first[0].clone());
        let u = projected(&call.value(&self.u)?, move |g| match high_u {
            Some(high) => Ok((g - high.to_dtype(g.dtype())?.matmul(&high.to_dtype(g.dtype())?.t()?.matmul(g)?)?)?),
            None => Ok(low_u.to_dtype(g.dtype())?.matmul(&low_u.to_dtype(g.dtype())?.t()?.matmul(g)?)?),
        });
        let (high_v, low_v) = (self.high.1.clone(), self.first[2].clone());
        let v = projected(&call.value(&self.v)?, move |g| match high_v {
            Some(high) => Ok((g - g.matmul(&high.to_dtype(g.dtype())?.t()?)?.matmul(&high.to_dtype(g.dtype())?)?)?),
            None => Ok(g.matmul(&low_v.to_dtype(g.dtype())?.t()?)?.matmul(&low_v.to_dtype(g.dtype())?)?),
        });
        Ok((u.mul(&call.value(&self.s)?)?, v))
    }

    /// What the weight has of the triplets, in this type.
    fn firsts(&self, like: &Tensor) -> Result<(Tensor, Tensor)> {
        let [u, s, v] = &self.first;
        let us = u.broadcast_mul(s)?.to_dtype(like.dtype())?;
        Ok((us.into(), v.to_dtype(like.dtype())?.into()))
    }
}

/// `x`, whose gradient goes through `project`.
fn projected(x: &Tensor, project: impl FnOnce(&Array) -> Result<Array> + Send + 'static) -> Tensor {
    Tensor::from_op(x.data().clone(), &[x], move |g| Ok(vec![Some(project(&g.contiguous()?)?)]))
}

impl LayerAdapter for Osf {
    const GROUPS: &'static [&'static str] = &["osf_svd_params"];

    fn parts(&self) -> Vec<Part<'_>> {
        let part = |leaf, param| Part::leaf("osf_svd_params", leaf, param);
        vec![part(".S_low", &self.s), part(".U_low", &self.u), part(".V_low", &self.v)]
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (us, v) = self.factors(call)?;
        let (us0, v0) = self.firsts(&us)?;
        us.matmul(&v)?.sub(&us0.matmul(&v0)?).map(Some)
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (us, v) = self.factors(call)?;
        let (us0, v0) = self.firsts(&us)?;
        let x = x.tensor()?.to_dtype(us.dtype())?;
        ops::lora_linear(&x, None, &[LoraTerm::new(v, us, 1.), LoraTerm::new(v0, us0, -1.)]).map(Some)
    }
}
