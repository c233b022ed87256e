//! Prompt tuning: trained embeddings before the sequence.
//!
//! Lester et al. 2021 (arXiv 2104.08691); PEFT's `peft.tuners.prompt_tuning`.

use super::encoder::{EncoderTensor, Held, PromptEncoder};
use super::fields::PromptFields;
use super::place::Place;
use super::size::Size;
use super::word_embeddings::{vocabulary, word_embeddings};
use super::PromptLearning;
use crate::fields::Required;
use crate::init::Init;
use serde_json::Value as Json;
use swift_tuners_nn::{Context, Error, Model, Param, Result, Tensor};

crate::words! {
    /// How the tokens start.
    pub enum PromptTuningInit { Text = "TEXT", SampleVocab = "SAMPLE_VOCAB", Random = "RANDOM" }
}

crate::config! {
    /// `PromptTuningConfig`
    pub struct PromptTuningConfig {
        standard: [];
        ..prompt: PromptFields;
        /// How many virtual tokens stand before the sequence.
        num_virtual_tokens: Required<usize>;
        /// `'RANDOM'`, `'SAMPLE_VOCAB'`: embeddings of random words of the model, `'TEXT'`: those of a text.
        prompt_tuning_init: PromptTuningInit = PromptTuningInit::Random;
        /// The text, for `'TEXT'`.
        prompt_tuning_init_text: Option<String> = None;
        /// Whose tokenizer reads the text, for `'TEXT'`.
        tokenizer_name_or_path: Option<String> = None;
        /// For Python's tokenizer.
        tokenizer_kwargs: Option<Json> = None;
    }
}

/// The kind of tuner.
pub struct PromptTuning;

impl PromptLearning for PromptTuning {
    const NAME: &'static str = "PROMPT_TUNING";
    const CLASS: &'static str = "PromptTuningConfig";
    const ABOUT: &'static str = "Trained embeddings before the sequence. Lester et al. 2021 (arXiv 2104.08691).";
    const PLACE: Place = Place::Embeddings;
    type Config = PromptTuningConfig;

    fn fields(config: &PromptTuningConfig) -> &PromptFields {
        &config.prompt
    }

    fn count(config: &PromptTuningConfig) -> usize {
        config.num_virtual_tokens.0
    }

    fn check(c: &PromptTuningConfig) -> Result<()> {
        let text = c.prompt_tuning_init == PromptTuningInit::Text;
        check_text(text, c.prompt_tuning_init_text.as_deref(), c.tokenizer_name_or_path.as_deref(), &c.tokenizer_kwargs)
    }

    fn encoder(c: &PromptTuningConfig, size: &Size, model: &Model, init: &mut Init) -> Result<Box<dyn PromptEncoder>> {
        let embedding = embedding(c.prompt_tuning_init, c.prompt_tuning_init_text.as_deref(), size, model, init)?;
        Ok(Box::new(Embedding(embedding)))
    }
}

/// What the fields of a text need of each other.
pub(super) fn check_text(
    text: bool,
    given: Option<&str>,
    tokenizer: Option<&str>,
    kwargs: &Option<Json>,
) -> Result<()> {
    for (name, value) in [("tokenizer_name_or_path", tokenizer), ("prompt_tuning_init_text", given)] {
        if text && value.is_none_or(|v| name == "tokenizer_name_or_path" && v.is_empty()) {
            return Err(Error::config(name, "missing: prompt_tuning_init \"TEXT\" needs it"));
        }
    }
    if !text && kwargs.as_ref().and_then(Json::as_object).is_some_and(|k| !k.is_empty()) {
        return Err(Error::config("tokenizer_kwargs", "is for prompt_tuning_init \"TEXT\" alone"));
    }
    Ok(())
}

/// The first embeddings `[rows, width]`.
pub(super) fn embedding(
    start: PromptTuningInit,
    text: Option<&str>,
    size: &Size,
    model: &Model,
    init: &mut Init,
) -> Result<Param> {
    let rows = size.rows();
    if start == PromptTuningInit::Random {
        return init.embedding(rows, size.width);
    }
    // Its constructor's values are replaced.
    init.discard(|g| g.embedding(rows, size.width, None))?;
    let words = vocabulary(model)? as i64;
    let mut ids = match start {
        PromptTuningInit::Text => init.tokens(text.unwrap_or_default())?,
        _ => init.drawn(|g| g.randint(0, words, rows))?,
    };
    if ids.is_empty() {
        return Err(Error::config("prompt_tuning_init_text", "the text has no tokens"));
    }
    // A short text is repeated, a long one cut.
    ids = ids.iter().copied().cycle().take(rows).collect();
    let values = word_embeddings(model, &ids, "prompt_tuning_init_text")?;
    init.param(&[rows, size.width], move |_| Ok(values.clone()))
}

/// `prompt_encoder.<adapter>.embedding.weight [rows, width]`, the tokens themselves.
struct Embedding(Param);

impl PromptEncoder for Embedding {
    fn tensors(&self) -> Vec<EncoderTensor<'_>> {
        vec![EncoderTensor::new("embedding.weight", Held::Saved("prompt_embeddings"), &self.0)]
    }

    fn tokens(&self, cx: &Context) -> Result<Tensor> {
        self.0.value(cx.grad)
    }
}
