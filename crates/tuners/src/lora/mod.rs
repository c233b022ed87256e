//! LoRA and its relatives: rsLoRA, DoRA, LoRA with a bias, SWIFT's merged linear.
//!
//! Hu et al. 2021 (arXiv 2106.09685); Python's `peft.tuners.lora` and `swift.tuners.lora`.

mod adapter;
mod block_diagonal;
mod combine;
mod dora;
mod fields;
mod init;
mod invocation;
mod merged_linear;
mod parameter;
mod replication;
mod tied;
mod variant;

pub use adapter::Lora;
pub use fields::{LoraFields, PeftLoraConfig, Start, SwiftLoraConfig};

use crate::bank::Bank;
use crate::config::{Dialect, TunerConfig};
use crate::fields::Fields;
use crate::init::Init;
use crate::layer::Layer;
use crate::layers::{self, LayerKind};
use crate::method::{Attach, Attachment, Combinations, Kind, Traits};
use crate::site::Site;
use candle_core::DType;
use merged_linear::SwiftMergedLinear;
use std::marker::PhantomData;
use swift_tuners_nn::module::for_each_node_mut;
use swift_tuners_nn::{Model, Result};
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

const ABOUT: &str = "A low-rank update of chosen layers. Hu et al. 2021 (arXiv 2106.09685).";

/// LoRA as the configuration `C` says.
pub struct LoraOf<C>(PhantomData<C>);

impl<C: HasLora> LayerKind for LoraOf<C> {
    const NAME: &'static str = "LORA";
    const DIALECT: Dialect = C::DIALECT;
    const CLASS: &'static str = "LoraConfig";
    const ABOUT: &'static str = ABOUT;
    const COMBINATION: Option<Combinations> = Some(combine::COMBINATIONS);
    type Config = C;
    type Adapter = Lora;

    fn check(config: &C) -> Result<()> {
        match config.peft() {
            Some(peft) => fields::check_peft(peft),
            None => fields::check_swift(config.lora(), None, None),
        }
    }

    fn prepare(config: &C, a: &mut Attach<'_>) -> Result<()> {
        config.peft().map_or(Ok(()), |c| replication::replicate(c, a))
    }

    fn may_name_none(config: &C) -> bool {
        config.peft().is_some_and(PeftLoraConfig::has_parameters)
    }

    fn unmergeable(config: &C) -> Option<&'static str> {
        let peft = config.peft()?;
        if peft.layer_replication.is_some() {
            return Some("its layers share their weights");
        }
        peft.invocation().map(|_| "it acts on a part of each row")
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
        let Some(peft) = config.peft() else { return Ok(()) };
        if let Some(tokens) = peft.invocation() {
            invocation::attach(tokens, a);
            let id = a.id;
            for_each_node_mut(&mut a.model.root, &mut |node| {
                if let Some(lora) = node.tuner_mut::<Layer<Lora>>().and_then(|l| l.adapter_mut(id)) {
                    lora.variant = Variant::Activated(Some(id));
                }
            });
        }
        parameter::attach(peft, a)
    }
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
    const TRAITS: Traits = Traits::LAYER;
    const COMBINATION: Option<Combinations> = Some(combine::COMBINATIONS);
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
