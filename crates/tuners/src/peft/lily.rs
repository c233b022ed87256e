//! Lily: low-rank updates whose outer factors are mixed, by what goes in, of some that all layers share.
//!
//! Zhong et al. 2024 (arXiv 2407.09946); PEFT's `peft.tuners.lily`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::Names;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::Traits;
use crate::site::{Call, Input, Site};
use std::collections::HashMap;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{Error, Param, Result, Tensor};

crate::config! {
    /// `LilyConfig`
    pub struct LilyConfig {
        standard: [
            peft, exclude_modules, modules_to_save, layers_to_transform, layers_pattern,
        ];
        /// Rank of the updates.
        r: usize = 32, in 1..;
        /// How many layers of a kind in a row share one A.
        stride_a as "stride_A": usize = 1, in 1..;
        /// How many Bs all layers of a kind share.
        num_b as "num_B": usize = 2, in 2..;
        /// The update is scaled by it.
        scaling: f64 = 1.;
        /// Suffixes of module names, a regular expression for whole names, or 'all-linear'. Layers of one suffix and size share
        /// matrices. Default: the model type's own (PEFT's table).
        target_modules: Option<Names> = None;
        /// False starts with random Bs, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `s · (x Aᵀ) Σ pₑ Bₑ`: p is the softmax of `router (x Aᵀ)`, averaged over all rows of the batch, padding included, as Python does.
#[derive(Clone)]
pub struct Lily {
    /// `[r, in]`
    a: Param,
    /// `[num_B r, out]`
    b: Param,
    /// `[num_B, r]`
    router: Param,
    scaling: f64,
}

/// Layers that share, by number: what is targeted so, and of this size. Of several suffixes that fit the longest counts.
fn kinds(c: &LilyConfig, sites: &[Site]) -> Vec<Vec<usize>> {
    let own = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let suffix = |path: &str| match &c.target_modules {
        Some(Names::Text(text)) if !text.eq_ignore_ascii_case("all-linear") => text.clone(),
        Some(Names::List(list)) => {
            let longest = list.iter().filter(|s| path.ends_with(s.as_str())).max_by_key(|s| s.len());
            longest.cloned().unwrap_or_else(|| own(path))
        }
        _ => own(path),
    };
    let mut numbers: HashMap<(String, &[usize]), usize> = HashMap::new();
    let mut kinds: Vec<Vec<usize>> = Vec::new();
    for (i, site) in sites.iter().enumerate() {
        let at = *numbers.entry((suffix(&site.path), &site.shape)).or_insert(kinds.len());
        if at == kinds.len() {
            kinds.push(Vec::new());
        }
        kinds[at].push(i);
    }
    kinds
}

/// What `nn.Linear`'s constructor gives a weight.
fn kaiming(g: &mut Generator, shape: [usize; 2]) -> Result<swift_tuners_nn::Array> {
    g.kaiming_uniform(&shape, 5f64.sqrt())
}

impl LayerKind for Lily {
    const NAME: &'static str = "LILY";
    const CLASS: &'static str = "LilyConfig";
    const ABOUT: &'static str =
        "Low-rank updates whose outer factors are mixed, by what goes in, of some that layers share. Zhong et al. 2024 (arXiv 2407.09946).";
    const TRAITS: Traits = Traits { merges: false, by_rows: false, ..Traits::LAYER };
    type Config = LilyConfig;
    type Adapter = Self;

    fn bank(c: &LilyConfig, sites: &[Site], init: &mut Init) -> Result<Option<Bank>> {
        // First values are drawn where Python draws them; until then, and where a checkpoint lacks some, others stand here.
        let pending = |shape: [usize; 2], zero: bool| {
            Param::pending(&shape, init.dtype, &init.device, true, move || {
                let value = kaiming(&mut Generator::new(0), shape)?;
                Ok(if zero { value.zeros_like()? } else { value })
            })
        };
        let mut of: Vec<Option<(Param, Param)>> = vec![None; sites.len()];
        for kind in kinds(c, sites) {
            let first = &sites[kind[0]];
            let b = pending([c.num_b * c.r, first.outputs], c.init_weights);
            for layers in kind.chunks(c.stride_a) {
                let a = pending([c.r, first.inputs], false);
                layers.iter().for_each(|&i| of[i] = Some((a.clone(), b.clone())));
            }
        }
        let mut bank = Bank::of(sites);
        for (site, (a, b)) in sites.iter().zip(of.into_iter().flatten()) {
            bank = bank.inside("lily_A", site.path.clone(), a).inside("lily_B", site.path.clone(), b);
        }
        Ok(Some(bank))
    }

    fn new(c: &LilyConfig, site: &Site, bank: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| matches!(k, WeightKind::Linear { transposed: false }), "torch.nn.Linear")?;
        let bank = bank.ok_or_else(|| Error::Invalid("Lily has no shared matrices".into()))?;
        let (a, b) = (bank.find("lily_A", &site.path)?.clone(), bank.find("lily_B", &site.path)?.clone());
        let [of_a, of_b, of_router] = [[c.r, site.inputs], [c.num_b * c.r, site.outputs], [c.num_b, c.r]];
        // The constructors' values are replaced, and then those of all layers but the first of their kind.
        init.discard(|g| [of_a, of_b, of_router].into_iter().try_for_each(|shape| kaiming(g, shape).map(|_| ())))?;
        let keep = |group, param: &Param, value| match bank.is_first(group, site, param) {
            true => param.take(&value),
            false => Ok(()),
        };
        init.discard(|g| keep("lily_A", &a, kaiming(g, of_a)?))?;
        let router = init.param(&of_router, move |g| kaiming(g, of_router))?;
        if !c.init_weights {
            init.discard(|g| keep("lily_B", &b, kaiming(g, of_b)?))?;
        }
        Ok(Self { a, b, router, scaling: c.scaling })
    }
}

impl LayerAdapter for Lily {
    const GROUPS: &'static [&'static str] = &["lily_A", "lily_B", "lily_router"];
    const MERGES: bool = false;

    fn parts(&self) -> Vec<Part<'_>> {
        // Files hold shared matrices with every layer.
        let leaf = |group, param| Part::leaf(group, ".weight", param);
        vec![leaf("lily_A", &self.a), leaf("lily_B", &self.b), leaf("lily_router", &self.router)]
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (a, b, router) = (call.value(&self.a)?, call.value(&self.b)?, call.value(&self.router)?);
        let (r, count, outputs) = (a.dim(0), router.dim(0), b.dim(1));
        let x = x.tensor()?.to_dtype(a.dtype())?;
        let inner = ops::linear(&x, &a, None, WeightLayout::OutIn)?; // [.., r]
        let rows = inner.data().elem_count() / r;
        let logits = ops::linear(&inner, &router, None, WeightLayout::OutIn)?.reshape((rows, count))?;
        let shares = logits.softmax(-1)?.mean(Some(&[0]), true)?; // [1, num_B]
        let mixed = shares.matmul(&b.reshape((count, r * outputs))?)?.reshape((r, outputs))?;
        ops::linear(&inner, &mixed.affine(self.scaling, 0.)?, None, WeightLayout::InOut).map(Some)
    }
}
