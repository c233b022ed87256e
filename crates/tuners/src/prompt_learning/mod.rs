//! Prompt learning: virtual tokens before the sequence, embedded or as keys and values of every layer.
//!
//! PEFT's `PromptLearningConfig` and what `PeftModel` does for it.

mod cpt;
mod encoder;
mod fields;
mod place;
mod prompts;
mod size;

mod cartridge;
mod multitask_prompt_tuning;
mod p_tuning;
mod prefix_tuning;
mod prompt_tuning;
mod recurrent;
mod word_embeddings;

pub use cartridge::Cartridge;
pub use cpt::Cpt;
pub use multitask_prompt_tuning::MultitaskPromptTuning;
pub use p_tuning::PTuning;
pub use prefix_tuning::PrefixTuning;
pub use prompt_tuning::PromptTuning;

use crate::config::{Dialect, TunerConfig};
use crate::fields::Fields;
use crate::init::Init;
use crate::layers::save_heads;
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::modules_to_save;
use encoder::PromptEncoder;
use fields::{check_count, PromptFields};
use place::Place;
use prompts::{Entry, Prompts};
use size::Size;
use std::marker::PhantomData;
use swift_tuners_nn::models::TaskType;
use swift_tuners_nn::{Error, Model, Result};

/// A kind of prompt learning.
pub trait PromptLearning: 'static {
    const NAME: &'static str;
    const CLASS: &'static str;
    const ABOUT: &'static str;
    /// Where its tokens go.
    const PLACE: Place;
    /// Whether what trains is put back to where it may be before an optimizer's step.
    const STEPS: bool = false;
    type Config: Fields + Clone;

    fn fields(config: &Self::Config) -> &PromptFields;

    /// Virtual tokens.
    fn count(config: &Self::Config) -> usize;

    fn check(_config: &Self::Config) -> Result<()> {
        Ok(())
    }

    /// Writes what the model decides into the configuration, as it is saved.
    fn resolve(_config: &Self::Config, _size: &Size, _resolved: &mut TunerConfig) {}

    /// What makes the tokens of one adapter. Draws as Python's constructor does.
    fn encoder(config: &Self::Config, size: &Size, model: &Model, init: &mut Init) -> Result<Box<dyn PromptEncoder>>;
}

/// A kind of prompt learning as a kind of tuner.
pub struct Prompting<P>(PhantomData<P>);

impl<P: PromptLearning> Kind for Prompting<P> {
    const NAME: &'static str = P::NAME;
    const DIALECT: Dialect = Dialect::Peft;
    const CLASS: &'static str = P::CLASS;
    const ABOUT: &'static str = P::ABOUT;
    const TRAITS: Traits = Traits { virtual_tokens: true, steps: P::STEPS, ..Traits::DEFAULT };
    type Config = P::Config;

    fn check(config: &P::Config) -> Result<()> {
        P::check(config)?;
        check_count(P::count(config))
    }

    fn attach(config: &P::Config, a: &mut Attach<'_>) -> Result<Attachment> {
        let mut resolved = a.config.clone();
        save_heads(a.model, &mut resolved)?;
        let size = Size::of(a.model, P::fields(config), P::count(config), P::PLACE)?;
        size.write(&mut resolved);
        P::resolve(config, &size, &mut resolved);
        let copied = resolved.texts("modules_to_save")?.unwrap_or_default();
        let copies = modules_to_save::places(a.model, &copied)?;
        let encoder = P::encoder(config, &size, a.model, a.init)?;
        Prompts::push(a, Entry::new(a.name, P::PLACE, size, encoder)?)?;
        modules_to_save::attach(a, &copies)?;
        Ok(Attachment::new(&resolved))
    }
}

/// The size of an encoder's inner layer.
fn check_hidden(size: Option<usize>) -> Result<()> {
    match size {
        Some(0) => Err(Error::config("encoder_hidden_size", "expected a positive integer, found 0")),
        _ => Ok(()),
    }
}

/// Fails where there are no tokens to stand before.
fn require_tokens(model: &Model, kind: &str) -> Result<()> {
    match model.keys.task {
        TaskType::CausalLm
        | TaskType::Seq2Seq
        | TaskType::Encoder
        | TaskType::SequenceClassification
        | TaskType::TokenClassification
        | TaskType::QuestionAnswering => Ok(()),
        _ => Err(Error::config("peft_type", format!("{kind}: {} reads no tokens", model.keys.architecture))),
    }
}
