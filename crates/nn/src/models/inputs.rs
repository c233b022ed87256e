//! What a model is called with.

use crate::module::{Args, Ints, Value};
use crate::tensor::Tensor;

/// What a model is called with; an architecture refuses what it does not take.
#[derive(Clone, Default)]
pub struct Inputs {
    pub input_ids: Option<Ints>,
    pub inputs_embeds: Option<Tensor>,
    pub attention_mask: Option<Ints>,
    pub token_type_ids: Option<Ints>,
    pub position_ids: Option<Ints>,
    pub pixel_values: Option<Tensor>,
    pub decoder_input_ids: Option<Ints>,
    pub decoder_attention_mask: Option<Ints>,
    /// A noisy image or latent, `[batch, channels, height, width]`.
    pub sample: Option<Tensor>,
    /// One step for all rows, or one per row.
    pub timestep: Option<Tensor>,
    pub encoder_hidden_states: Option<Tensor>,
    /// The one input of a model made of modules.
    pub input: Option<Tensor>,
    /// ReFT: `[batch, interventions, positions]`.
    pub intervention_locations: Option<Ints>,
    /// Class ids or token ids; floats for regression.
    pub labels: Option<Ints>,
    pub float_labels: Option<Tensor>,
    pub target: Option<Tensor>,
    /// Generation needs the last position's logits only.
    pub last_logits_only: bool,
    /// The loss is all that is wanted: a decoder then never holds its logits as a whole.
    pub loss_only: bool,
}

impl Inputs {
    /// The number of rows, by the first of the main inputs that is there.
    pub(super) fn batch(&self) -> Option<usize> {
        let tensors = [&self.inputs_embeds, &self.pixel_values, &self.sample, &self.input];
        let shapes = self.input_ids.iter().map(|i| i.shape.as_slice());
        shapes.chain(tensors.into_iter().flatten().map(Tensor::dims)).next()?.first().copied()
    }

    pub(super) fn args(&self) -> Args {
        let mut named = Vec::new();
        let ints = [
            ("input_ids", &self.input_ids),
            ("attention_mask", &self.attention_mask),
            ("token_type_ids", &self.token_type_ids),
            ("position_ids", &self.position_ids),
            ("decoder_input_ids", &self.decoder_input_ids),
            ("decoder_attention_mask", &self.decoder_attention_mask),
        ];
        for (name, value) in ints {
            if let Some(value) = value {
                named.push((name, Value::Ints(value.clone())));
            }
        }
        let tensors = [
            ("inputs_embeds", &self.inputs_embeds),
            ("pixel_values", &self.pixel_values),
            ("sample", &self.sample),
            ("timestep", &self.timestep),
            ("encoder_hidden_states", &self.encoder_hidden_states),
            ("input", &self.input),
        ];
        for (name, value) in tensors {
            if let Some(value) = value {
                named.push((name, Value::Tensor(value.clone())));
            }
        }
        if self.last_logits_only {
            named.push(("logits_to_keep", Value::None));
        }
        Args { positional: Vec::new(), named }
    }
}
