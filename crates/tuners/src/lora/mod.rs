//! LoRA and its relatives: rsLoRA, DoRA, LoRA with a bias, SWIFT's merged linear.
//!
//! Hu et al. 2021 (arXiv 2106.09685); Python's `peft.tuners.lora` and `swift.tuners.lora`.

mod adapter;
mod combine;
mod fields;
mod init;
mod merged_linear;
mod tied;

pub use adapter::Lora;
pub use fields::{Alpha, EmptyObject, LoraFields, Off, PeftLoraConfig, Start, SwiftLoraConfig};
pub use tied::share_copy;

use crate::bank::Bank;
use crate::config::{Dialect, TunerConfig};
use crate::fields::Fields;
use crate::init::Init;
use crate::layers::{self, LayerKind};
use crate::method::{Attach, Attachment, Combinations, Kind, Traits};
use crate::site::Site;
use crate::tokens;
use candle_core::DType;
use merged_linear::SwiftMergedLinear;
use std::marker::PhantomData;
use swift_tuners_nn::{Model, Result};

/// A configuration that holds LoRA's fields.
pub trait HasLora: Fields + Clone {
    const DIALECT: Dialect;
    fn lora(&self) -> &LoraFields;
}

impl HasLora for PeftLoraConfig {
    const DIALECT: Dialect = Dialect::Peft;
    fn lora(&self) -> &LoraFields {
        &self.lora
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
        fields::check(config.lora(), None, None)?;
        if C::DIALECT == Dialect::Swift {
            fields::refuse_tokens(config.lora())?;
        }
        Ok(())
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
        Lora::new(config.lora(), site, init)
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
        Ok(())
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
        fields::check(&config.lora, config.lorap_lr_ratio, config.blocks().as_deref())?;
        fields::refuse_tokens(&config.lora)
    }

    fn attach(config: &SwiftLoraConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        if config.use_merged_linear {
            layers::attach::<SwiftMergedLinear>(config, a)
        } else {
            layers::attach::<LoraOf<SwiftLoraConfig>>(config, a)
        }
    }
}
