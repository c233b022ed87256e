//! An adapter of a model, and its parameters.

use crate::bias::Bias;
use crate::config::TunerConfig;
use crate::method::Traits;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use swift_tuners_nn::{AdapterId, Param};

/// An adapter of a model.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub id: AdapterId,
    pub config: TunerConfig,
    pub bias: Bias,
    /// What sets its kind apart.
    pub(crate) traits: Traits,
    /// [`Attachment::shared`]
    pub(super) shared: Vec<String>,
    /// [`Attachment::unmergeable`]
    pub(crate) unmergeable: Option<&'static str>,
    /// [`Attachment::penalised`]
    pub(crate) penalised: bool,
    /// Whether it was attached or loaded for training.
    pub(super) trainable: Arc<AtomicBool>,
}

/// A parameter that belongs to one adapter alone.
#[derive(Clone)]
pub(crate) struct OwnParam {
    pub param: Param,
    /// Saved and loaded, but never trained.
    pub buffer: bool,
}
