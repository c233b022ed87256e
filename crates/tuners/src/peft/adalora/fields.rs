//! The fields of AdaLoRA's configuration: LoRA's, of which some are without effect in Python, and those of the schedule.

use crate::fields::{FieldType, Probability, Required, Unsupported};
use crate::lora::{Alpha, EmptyObject, Off, Start};
use crate::tokens::TokenIndices;
use serde_json::Value as Json;
use swift_tuners_nn::{Error, Result};

crate::config! {
    /// `AdaLoraConfig`
    pub struct AdaLoraConfig {
        standard: [
            peft, target_modules, exclude_modules, fan_in_fan_out, bias, modules_to_save, layers_to_transform, layers_pattern,
            alpha_pattern,
        ];
        /// Average rank at the end.
        target_r: usize = 8;
        /// Rank at the start.
        init_r: usize = 12, in 1..;
        /// Steps before ranks begin to fall.
        tinit: usize = 0;
        /// Steps at the end in which ranks stay.
        tfinal: usize = 0;
        /// Steps between two allocations.
        delta_t as "deltaT": usize = 1, in 1..;
        /// Of the moving average of importance.
        beta1: f64 = 0.85;
        /// Of the moving average of its uncertainty.
        beta2: f64 = 0.85;
        /// Weight of the term of the loss that keeps the singular vectors orthonormal.
        orth_reg_weight: f64 = 0.5, in 0. ..;
        /// Steps of the whole training.
        total_step: Required<usize>;
        /// Which triplets of each matrix are left, as the allocator has it.
        rank_pattern: Option<Kept> = None;
        /// The update is scaled by `loraAlpha / initR`.
        lora_alpha: Alpha = Alpha(8.);
        lora_dropout: Probability = Probability(0.);
        /// False starts with random triplets, so that the adapter acts at once.
        init_lora_weights: Start = Start::Default;
        /// Adapts a tied output projection together with a saved embedding.
        ensure_weight_tying: bool = false;
        /// Tokens whose rows of the embedding train, too (of the modules whose names end so, where they are by name).
        trainable_token_indices: Option<TokenIndices> = None;
        /// Without effect, as in PEFT: `initR` is the rank.
        r: usize = 8;
        /// Without effect, as in PEFT.
        use_rslora: bool = false;
        /// Without effect, as in PEFT.
        lora_bias: bool = false;
        use_dora: Off = Off;
        loftq_config: EmptyObject = EmptyObject;
        megatron_config: Unsupported = Unsupported;
        megatron_core: Json = Json::from("megatron.core");
        eva_config: Unsupported = Unsupported;
        corda_config: Unsupported = Unsupported;
        lora_ga_config: Unsupported = Unsupported;
        velora_config: Unsupported = Unsupported;
        monteclora_config: Unsupported = Unsupported;
        kasa_config: Unsupported = Unsupported;
        alora_invocation_tokens: Unsupported = Unsupported;
        use_qalora: Off = Off;
        qalora_group_size: Json = Json::from(16);
        layer_replication: Unsupported = Unsupported;
        target_parameters: Unsupported = Unsupported;
        arrow_config: Unsupported = Unsupported;
        use_bdlora: Unsupported = Unsupported;
    }
}

/// Which triplets are left, by the names of the matrices' singular values (`<module>.lora_E`).
#[derive(Clone, Debug)]
pub struct Kept(pub Vec<(String, Vec<bool>)>);

impl FieldType for Kept {
    const WANTED: &'static str = "lists of true and false by names";
    fn typescript() -> String {
        "Record<string, boolean[]>".into()
    }
    fn of(value: &Json) -> Option<Self> {
        value.as_object()?.iter().map(|(k, v)| Some((k.clone(), Vec::of(v)?))).collect::<Option<_>>().map(Self)
    }
    fn json(&self) -> Json {
        Json::Object(self.0.iter().map(|(k, v)| (k.clone(), v.json())).collect())
    }
}

impl Kept {
    /// Of this module; in memory Python writes the adapter's name behind.
    pub fn of_module(&self, path: &str) -> Option<&[bool]> {
        let here =
            |name: &str| name.strip_prefix(path).is_some_and(|rest| rest == ".lora_E" || rest.starts_with(".lora_E."));
        self.0.iter().find(|(name, _)| here(name)).map(|(_, kept)| kept.as_slice())
    }
}

/// What the fields do not allow together.
pub fn check(c: &AdaLoraConfig) -> Result<()> {
    for (name, beta) in [("beta1", c.beta1), ("beta2", c.beta2)] {
        if !(beta > 0. && beta < 1.) {
            return Err(Error::config(name, format!("expected a number between 0 and 1, found {beta}")));
        }
    }
    if c.total_step.0 == 0 {
        return Err(Error::config("total_step", "expected a positive number of steps"));
    }
    if c.tinit + c.tfinal >= c.total_step.0 {
        let why =
            format!("{} and tfinal {} leave none of {} steps to allocate ranks in", c.tinit, c.tfinal, c.total_step.0);
        return Err(Error::config("tinit", why));
    }
    Ok(())
}
