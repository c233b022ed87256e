//! LoRA and its relatives: rsLoRA, DoRA, LoRA with a bias, SWIFT's merged linear.
//!
//! Hu et al. 2021 (arXiv 2106.09685); Python's `peft.tuners.lora` and `swift.tuners.lora`.

mod adapter;
mod arrow;
mod block_diagonal;
mod combine;
mod corda;
mod dora;
mod eva;
mod fields;
mod init;
mod invocation;
mod kasa;
mod loftq;
mod lora_ga;
mod merged_linear;
mod monteclora;
mod pairs;
mod parameter;
mod pca;
mod replication;
mod rescale;
mod restored;
mod routing;
mod tied;
mod variant;
mod velora;

pub use adapter::Lora;
pub use eva::Eva;
pub use fields::{Alpha, EmptyObject, LoraFields, Off, PeftLoraConfig, Start, SwiftLoraConfig};
pub use pairs::FactorPair;
pub use tied::share_copy;

use crate::bank::Bank;
use crate::config::{Dialect, TunerConfig};
use crate::fields::Fields;
use crate::init::Init;
use crate::layer::Layer;
use crate::layers::{self, LayerKind};
use crate::method::{Attach, Attachment, Combinations, Conversion, Kind, Restored, Traits};
use crate::site::Site;
use crate::tokens;
use candle_core::DType;
use merged_linear::SwiftMergedLinear;
use std::marker::PhantomData;
use swift_tuners_nn::module::for_each_node_mut;
use swift_tuners_nn::{Error, Model, Result};
use variant::Variant;

/// A configuration that holds LoRA's fields.
pub trait HasLora: Fields + Clone {
    const DIALECT: Dialect;
    fn lora(&self) -> &LoraFields;
    /// What PEFT's class has beside them.
    fn peft(&self) -> Option<&PeftLoraConfig> {
        None
    }
}

impl HasLora for PeftLoraConfig {
    const DIALECT: Dialect = Dialect::Peft;
    fn lora(&self) -> &LoraFields {
        &self.lora
    }
    fn peft(&self) -> Option<&PeftLoraConfig> {
        Some(self)
    }
}

impl HasLora for SwiftLoraConfig {
    const DIALECT: Dialect = Dialect::Swift;
    fn lora(&self) -> &LoraFields {
        &self.lora
    }
}

const TRAITS: Traits = Traits { converts: Some(&CONVERSION), ..Traits::LAYER };

/// SWIFT adds fields to PEFT's class, and names to its keys.
static CONVERSION: Conversion = Conversion {
    added: &[
        "model_key_mapping",
        "lora_dtype",
        "lorap_lr_ratio",
        "lorap_emb_lr",
        "use_qa_lora",
        "use_merged_linear",
        "enable_lora",
    ],
    beside: &["lora_dtype", "lorap_lr_ratio", "lorap_emb_lr"],
    refused: &["use_qa_lora", "use_merged_linear"],
    groups: &[
        ("lora_A", false),
        ("lora_B", false),
        ("lora_embedding_A", false),
        ("lora_embedding_B", false),
        ("lora_magnitude_vector", true),
    ],
};

const ABOUT: &str = "A low-rank update of chosen layers. Hu et al. 2021 (arXiv 2106.09685).";

/// LoRA as the configuration `C` says.
pub struct LoraOf<C>(PhantomData<C>);

impl<C: HasLora> LayerKind for LoraOf<C> {
    const NAME: &'static str = "LORA";
    const DIALECT: Dialect = C::DIALECT;
    const CLASS: &'static str = "LoraConfig";
    const ABOUT: &'static str = ABOUT;
    const TRAITS: Traits = TRAITS;
    const COMBINATION: Option<Combinations> = Some(combine::COMBINATIONS);
    const RESTORED: Option<Restored> = Some(restored::restored);
    type Config = C;
    type Adapter = Lora;

    fn check(config: &C) -> Result<()> {
        match config.peft() {
            Some(peft) => fields::check_peft(peft),
            None => fields::check_swift(config.lora(), None, None),
        }
    }

    fn prepare(config: &C, a: &mut Attach<'_>) -> Result<()> {
        let Some(peft) = config.peft() else { return Ok(()) };
        // KaSA changes the weights that other adapters see.
        let truncates = |c: &TunerConfig| c.get("kasa_config").is_some();
        if a.others.iter().any(|c| truncates(c) != peft.kasa_config.is_some()) {
            return Err(Error::config("kasa_config", "all adapters of a model use KaSA, or none"));
        }
        replication::replicate(peft, a)
    }

    fn may_name_none(config: &C) -> bool {
        config.peft().is_some_and(PeftLoraConfig::has_parameters)
    }

    fn unmergeable(config: &C) -> Option<&'static str> {
        let peft = config.peft()?;
        if peft.layer_replication.is_some() {
            return Some("its layers share their weights");
        }
        if peft.arrow_config.is_some() {
            return Some("it chooses other adapters for each token");
        }
        peft.invocation().map(|_| "it acts on a part of each row")
    }

    fn penalised(config: &C) -> bool {
        config.peft().is_some_and(|c| c.kasa_config.is_some() || c.monteclora_config.is_some())
    }

    fn more_targets(config: &C, model: &Model, found: &mut Vec<String>) {
        if config.lora().ensure_weight_tying {
            tied::add_output(model, found);
        }
    }

    fn dtype(config: &C, model: &Model) -> DType {
        config.lora().dtype(C::DIALECT, model.dtype)
    }

    fn new(config: &C, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Lora> {
        Lora::new(config.lora(), config.peft(), site, init)
    }

    fn finish(config: &C, a: &mut Attach<'_>) -> Result<()> {
        if config.lora().ensure_weight_tying {
            tied::share(a, config.lora().init_lora_weights)?;
            tied::share_copy(a)?;
        }
        if let Some(tokens) = &config.lora().trainable_token_indices {
            let saved = a.config.texts("modules_to_save")?.unwrap_or_default();
            tokens::attach_listed(a, tokens, config.lora().ensure_weight_tying, &saved)?;
        }
        let Some(peft) = config.peft() else { return Ok(()) };
        if let Some(tokens) = peft.invocation() {
            invocation::attach(tokens, a);
        }
        let id = a.id;
        let mut places = 0;
        variants(a, &mut |variant| match variant {
            Variant::Activated(of) => *of = Some(id),
            Variant::MonteCarlo(sampler) => {
                sampler.place = Some((id, places, 0));
                places += 1;
            }
            _ => {}
        });
        variants(a, &mut |variant| {
            if let Variant::MonteCarlo(sampler) = variant {
                sampler.place = sampler.place.map(|(id, at, _)| (id, at, places));
            }
        });
        routing::update(a)?;
        parameter::attach(peft, a)
    }
}

/// Calls `f` on the variant of every layer of the adapter that is being attached.
fn variants(a: &mut Attach<'_>, f: &mut dyn FnMut(&mut Variant)) {
    let id = a.id;
    for_each_node_mut(&mut a.model.root, &mut |node| {
        if let Some(lora) = node.tuner_mut::<Layer<Lora>>().and_then(|l| l.adapter_mut(id)) {
            f(&mut lora.variant);
        }
    });
}

/// PEFT's LoRA.
pub type PeftLora = LoraOf<PeftLoraConfig>;

/// SWIFT's LoRA, which may be a merged linear.
pub struct SwiftLora;

impl Kind for SwiftLora {
    const NAME: &'static str = "LORA";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "LoRAConfig";
    const ABOUT: &'static str = ABOUT;
    const TRAITS: Traits = TRAITS;
    const COMBINATION: Option<Combinations> = Some(combine::COMBINATIONS);
    const RESTORED: Option<Restored> = Some(restored::restored);
    type Config = SwiftLoraConfig;

    fn check(config: &SwiftLoraConfig) -> Result<()> {
        fields::check_swift(&config.lora, config.lorap_lr_ratio, config.blocks().as_deref())
    }

    fn attach(config: &SwiftLoraConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        if config.use_merged_linear {
            layers::attach::<SwiftMergedLinear>(config, a)
        } else {
            layers::attach::<LoraOf<SwiftLoraConfig>>(config, a)
        }
    }
}
