//! Which variant of LoRA a configuration asks for: one at most, as in PEFT's `resolve_lora_variant`.

use super::{LoraFields, PeftLoraConfig, Start};
use crate::site::Site;
use swift_tuners_nn::module::WeightKind;
use swift_tuners_nn::{AdapterId, Error, Param, Result};

pub use super::arrow::{Arrow, ArrowConfig};
pub use super::block_diagonal::{BdLoraConfig, Blocks};
pub use super::kasa::{Kasa, KasaConfig};
pub use super::monteclora::{MontecloraConfig, Sampler};
pub use super::velora::{Velora, VeloraConfig};

/// What sets an adapter apart from `s B A` on the whole input.
#[derive(Clone)]
pub enum Variant {
    Plain,
    /// DoRA's magnitudes, `[out]`; convolutions `[1, out, 1, 1]`.
    Dora(Param),
    /// B stays as it starts.
    Mica,
    /// One factor is block diagonal.
    Blocks(Blocks),
    /// Acts from the invocation on; the adapter that the rows' offsets are kept for.
    Activated(Option<AdapterId>),
    Kasa(Kasa),
    Velora(Velora),
    MonteCarlo(Box<Sampler>),
    /// Chooses among the layer's other adapters.
    Arrow(Arrow),
    /// QALoRA: A reads means over groups of so many inputs, times the number of groups.
    Pooled(usize),
}

/// A variant by the field that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Plain,
    Dora,
    Mica,
    Blocks,
    Activated,
    Kasa,
    Velora,
    MonteCarlo,
    Arrow,
}

impl Asked {
    fn field(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dora => "use_dora",
            Self::Mica => "init_lora_weights",
            Self::Blocks => "use_bdlora",
            Self::Activated => "alora_invocation_tokens",
            Self::Kasa => "kasa_config",
            Self::Velora => "velora_config",
            Self::MonteCarlo => "monteclora_config",
            Self::Arrow => "arrow_config",
        }
    }

    /// Of fields, and what PEFT's class has beside them.
    pub fn of(lora: &LoraFields, peft: Option<&PeftLoraConfig>) -> Result<Self> {
        let all = [
            (Self::Dora, lora.use_dora),
            (Self::Mica, lora.init_lora_weights == Start::Mica),
            (Self::Blocks, peft.is_some_and(|p| p.use_bdlora.is_some())),
            (Self::Activated, peft.is_some_and(|p| p.invocation().is_some())),
            (Self::Kasa, peft.is_some_and(|p| p.kasa_config.is_some())),
            (Self::Velora, peft.is_some_and(|p| p.velora_config.is_some())),
            (Self::MonteCarlo, peft.is_some_and(|p| p.monteclora_config.is_some())),
            (Self::Arrow, peft.is_some_and(|p| p.arrow_config.is_some())),
        ];
        let mut asked = all.into_iter().filter(|(_, on)| *on).map(|(variant, _)| variant);
        match (asked.next(), asked.next()) {
            (Some(one), Some(other)) => Err(Error::config(one.field(), format!("does not go with {}", other.field()))),
            (one, _) => Ok(one.unwrap_or(Self::Plain)),
        }
    }

    /// Fails where the variant is not written for this kind of layer.
    pub fn require(self, site: &Site) -> Result<()> {
        let fits = match (self, site.kind) {
            (Self::Plain | Self::Dora, _) | (Self::Mica, WeightKind::Embedding) => true,
            // PEFT asks Conv1D for sizes that it does not have, and refuses to truncate it.
            (Self::Blocks | Self::Kasa, WeightKind::Linear { transposed }) => !transposed,
            (_, WeightKind::Linear { .. }) => true,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(Error::config(self.field(), format!("is for linear layers, which {} is not", site.path)))
    }
}

/// What the fields of variants do not allow together.
pub fn check(c: &PeftLoraConfig) -> Result<()> {
    let asked = Asked::of(&c.lora, Some(c))?;
    let start = c.lora.init_lora_weights;
    if asked == Asked::Blocks && !matches!(start, Start::Default | Start::Random | Start::Gaussian) {
        return Err(Error::config("use_bdlora", "goes with init_lora_weights true, false or gaussian only"));
    }
    if c.lora.lora_bias && !matches!(asked, Asked::Plain) {
        return Err(Error::config("lora_bias", format!("does not go with {}", asked.field())));
    }
    Ok(())
}
