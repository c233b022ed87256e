//! Combining several adapters of one kind into a new one: PEFT's `add_weighted_adapter`.

use super::{PrepareOptions, TunedModel};
use crate::config::{check_adapter_name, TunerConfig};
use crate::init::Init;
use crate::method::Made;
use crate::registry::{self, Unknown};
use swift_tuners_nn::combine::{Combination, Combining, Method, SignMethod};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::module::named_nodes;
use swift_tuners_nn::{AdapterId, Error, Result};

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

impl TunedModel {
    /// Adds an adapter that combines others and makes it the only active one.
    ///
    /// Fails before anything is changed when the adapters are not of one kind, or of one that has no combinations.
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
        let needs_density = matches!(o.combination, Combination::Factors(_))
            || matches!(o.combination, Combination::Svd(m) if m != Method::Sum);
        if needs_density && !o.density.is_some_and(|d| (0. ..=1.).contains(&d)) {
            return Err(Error::config("density", "this combination needs a density between 0 and 1"));
        }
        let ids = self.ids(&o.adapters)?;
        let configs: Vec<&TunerConfig> = o.adapters.iter().map(|name| &self.adapters[name].config).collect();
        let first = configs[0];
        if let Some((name, other)) = o.adapters.iter().zip(&configs).find(|(_, c)| c.kind != first.kind) {
            return Err(Error::UnsupportedTuner(format!(
                "{name} is of the type {}, {} of the type {}; only adapters of one type can be combined",
                other.kind, o.adapters[0], first.kind
            )));
        }
        let method = registry::find(first.dialect, &first.kind)?;
        let Some(combination) = &method.combination else {
            return Err(Error::UnsupportedTuner(format!("adapters of the type {} cannot be combined", first.kind)));
        };
        self.refuse_common_copies(&o.adapters)?;
        let rank = (combination.rank)(&configs, o.combination, o.svd_rank)?;
        let mut how = Combining {
            combination: o.combination,
            rank,
            density: o.density.unwrap_or(1.),
            sign: o.sign,
            svd_clamp: o.svd_clamp,
            rng: Rng::new(o.seed),
            read: super::activation::value_anywhere,
        };
        let of: Vec<(AdapterId, f64)> = ids.iter().copied().zip(o.weights.iter().copied()).collect();
        let mut made: Vec<Made> = Vec::new();
        for (path, node) in named_nodes(&self.model.root) {
            for tuner in &node.tuners {
                if let Some(values) = tuner.combined(&of, &mut how)? {
                    made.push(Made { path: path.clone(), values });
                }
            }
        }
        let config = registry::parse(&(combination.config)(&configs, rank, &made)?.to_json(), Unknown::Keep)?;
        self.transaction(&[], |m| {
            let mut init = Init::new(&m.model, o.seed);
            m.add(thread, &o.name, &config, &PrepareOptions::default(), &mut init)?;
            let id = m.id(&o.name)?;
            for (path, node) in named_nodes(&m.model.root) {
                // Elsewhere it stays as it starts, which is to do nothing.
                let Some(made) = made.iter().find(|made| made.path == path) else { continue };
                for tuner in node.tuners.iter().filter(|t| t.merges()) {
                    for (part, value) in tuner.parts(id).iter().zip(&made.values) {
                        part.param.set(&value.reshape(part.param.shape())?)?;
                    }
                }
            }
            if m.flavor == super::Flavor::Peft {
                m.set_adapter(thread, std::slice::from_ref(&o.name), false)?;
            } else {
                m.edit_active(thread, |active| *active = vec![id]);
            }
            Ok(())
        })
    }

    /// PEFT combines adapters with `modules_to_save` as long as no two of them copy one module.
    fn refuse_common_copies(&self, names: &[String]) -> Result<()> {
        let ids = self.ids(names)?;
        for (path, node) in named_nodes(&self.model.root) {
            let copies = |id: &&AdapterId| node.tuners.iter().any(|t| t.replacement(&[**id]).is_some());
            if ids.iter().filter(copies).count() > 1 {
                let why = format!("several of them have a copy of {} (modules_to_save)", printable(&path, 80));
                return Err(Error::config("adapters", why));
            }
        }
        Ok(())
    }
}
