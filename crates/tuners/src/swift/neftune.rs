//! NEFTune: noise on embeddings in training.
//!
//! Jain et al. 2023 (arXiv 2310.05914); Python's `swift.tuners.neftune`.

use crate::config::Dialect;
use crate::method::{Attach, Attachment, Kind, Traits};
use serde_json::Value as Json;
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::module::{for_each_node_mut, Args, Next, Own, Tuner, Value, Weights};
use swift_tuners_nn::{Context, Error, Result};

crate::config! {
    /// `NEFTuneConfig`
    pub struct NefTuneConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        /// The noise is uniform within `noiseAlpha / sqrt(seq · dim)`.
        noise_alpha: f64 = 5.0, in 0. ..;
    }
}

/// The kind of tuner.
pub struct NefTuning;

impl Kind for NefTuning {
    const NAME: &'static str = "neftune";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "NEFTuneConfig";
    const ABOUT: &'static str =
        "Noise on embeddings in training; alone it freezes nothing. Jain et al. 2023 (arXiv 2310.05914).";
    const TRAITS: Traits = Traits { freezes: false, has_tensors: false, ..Traits::DEFAULT };
    type Config = NefTuneConfig;

    fn attach(config: &NefTuneConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

fn attach(c: &NefTuneConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    let alpha = c.noise_alpha;
    let mut second = false;
    let mut found = false;
    for_each_node_mut(&mut a.model.root, &mut |node| {
        if !matches!(node.module().weights(), Some(Weights::Embedding { .. })) {
            return;
        }
        second |= node.tuners.iter().any(|t| t.as_any().is::<NefTune>());
        found = true;
        let own = Own { adapter: id, before: "neftune_", name: name.to_owned(), params: Vec::new() };
        // Innermost: a LoRA on the embedding adds to what is noisy already.
        node.tuners.insert(0, Box::new(NefTune { own, alpha }));
    });
    if second {
        return Err(Error::Invalid("NEFTune does not support a second tuner".into()));
    }
    if !found {
        return Err(Error::target("an embedding", Vec::new()));
    }
    Ok(Attachment::new(a.config))
}

/// Adds `U(-m, m)` to an embedding's output `[.., D1, D2]` in training, with `m = noise_alpha / sqrt(D1 · D2)`.
#[derive(Clone)]
struct NefTune {
    own: Own,
    alpha: f64,
}

impl Tuner for NefTune {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let value = next.run(cx, args)?;
        if !cx.training {
            return Ok(value);
        }
        let x = value.into_tensor()?;
        let size: usize = x.dims().iter().rev().take(2).product();
        let bound = self.alpha / (size.max(1) as f64).sqrt();
        let noise = Rng::new(cx.next_seed()).uniform_array(x.dims(), bound, x.dtype(), x.device())?;
        Ok(x.add(&noise.into())?.into())
    }

    fn visit<'a>(&'a self, _: &mut dyn swift_tuners_nn::module::Visitor<'a>) {}

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}
