//! What a model is called with.

use crate::module::{Args, Ints, Value};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Whom an input is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The model: an argument of its call. An architecture refuses what it does not take.
    Model,
    /// Tuners: it is found in the [`crate::Context`], wherever they are.
    Tuners,
    /// The loss, which is taken of the output.
    Loss,
}

/// What becomes of an input between two passes of a decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// The new tokens take its place.
    Tokens,
    /// The new tokens' ids stand for it.
    Embedded,
    /// One more position of each row that counts.
    Mask,
    /// The next number.
    Counts,
    /// The last value again.
    Repeats,
    /// What it was.
    Stays,
    /// Decoding does not take it.
    Refused,
}

/// An input: its names in Python and TypeScript, whom it is for, and what decoding does with it, in decoders and in
/// encoder-decoders.
pub struct Kind {
    pub name: &'static str,
    pub camel: &'static str,
    pub integers: bool,
    pub to: To,
    pub decoder: Decoding,
    pub seq2seq: Decoding,
}

macro_rules! integers {
    (Ints) => {
        true
    };
    (Tensor) => {
        false
    };
}

/// The one table of inputs: the struct, what each is called and where it goes follow from it.
macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident $camel:literal: $type:ident, $to:ident, $decoder:ident, $seq2seq:ident;)*) => {
        /// What a model is called with.
        #[derive(Clone, Default)]
        pub struct Inputs {
            $($(#[$doc])* pub $name: Option<$type>,)*
            /// Generation needs the last position's logits only.
            pub last_logits_only: bool,
            /// The loss is all that is wanted: a decoder then never holds its logits as a whole.
            pub loss_only: bool,
            /// The loss of each label by itself is all that is wanted: [`super::Output::token_losses`].
            pub token_losses: bool,
        }

        /// Every input there is.
        pub const INPUTS: &[Kind] = &[$(Kind {
            name: stringify!($name),
            camel: $camel,
            integers: integers!($type),
            to: To::$to,
            decoder: Decoding::$decoder,
            seq2seq: Decoding::$seq2seq,
        }),*];

        impl Inputs {
            /// What is given, in the table's order.
            pub fn given(&self) -> Vec<(&'static Kind, Value)> {
                let all = [$(self.$name.clone().map(Value::$type)),*];
                INPUTS.iter().zip(all).filter_map(|(kind, value)| Some((kind, value?))).collect()
            }

            /// Sets an input by its name in Python; a value of the other type is none.
            pub fn put(&mut self, name: &str, value: Value) {
                match (name, value) {
                    $((stringify!($name), Value::$type(value)) => self.$name = Some(value),)*
                    _ => {}
                }
            }
        }
    };
}

inputs! {
    input_ids "inputIds": Ints, Model, Tokens, Stays;
    inputs_embeds "inputsEmbeds": Tensor, Model, Embedded, Stays;
    attention_mask "attentionMask": Ints, Model, Mask, Stays;
    token_type_ids "tokenTypeIds": Ints, Model, Repeats, Refused;
    position_ids "positionIds": Ints, Model, Counts, Refused;
    /// Lengths of the sequences that each row is packed of, `[batch, sequences]`; zeros fill up.
    seq_lengths "seqLengths": Ints, Model, Refused, Refused;
    pixel_values "pixelValues": Tensor, Model, Refused, Refused;
    decoder_input_ids "decoderInputIds": Ints, Model, Refused, Tokens;
    decoder_attention_mask "decoderAttentionMask": Ints, Model, Refused, Mask;
    /// A noisy image or latent, `[batch, channels, height, width]`.
    sample "sample": Tensor, Model, Refused, Refused;
    /// One step for all rows, or one per row.
    timestep "timestep": Tensor, Model, Refused, Refused;
    encoder_hidden_states "encoderHiddenStates": Tensor, Model, Refused, Refused;
    /// The one input of a model made of modules.
    input "input": Tensor, Model, Refused, Refused;
    /// ReFT: `[batch, interventions, positions]`; those of the prompt, so that the tokens that follow are left alone.
    intervention_locations "interventionLocations": Ints, Tuners, Stays, Stays;
    /// Multitask prompt tuning and Poly: the task of each row, `[batch]`.
    task_ids "taskIds": Ints, Tuners, Stays, Stays;
    /// CPT: what each token is, `[batch, seq]`.
    input_type_mask "inputTypeMask": Ints, Tuners, Stays, Stays;
    /// Class ids or token ids.
    labels "labels": Ints, Loss, Refused, Refused;
    /// How much each label counts, `[batch, seq]`.
    loss_scale "lossScale": Tensor, Loss, Refused, Refused;
    /// Values for regression.
    float_labels "labels": Tensor, Loss, Refused, Refused;
    /// Where answers begin, `[batch]`.
    start_positions "startPositions": Ints, Loss, Refused, Refused;
    /// Where they end.
    end_positions "endPositions": Ints, Loss, Refused, Refused;
    target "target": Tensor, Loss, Refused, Refused;
}

impl Inputs {
    /// The number of rows, by the first of the main inputs that is there.
    pub(super) fn batch(&self) -> Option<usize> {
        let tensors = [&self.inputs_embeds, &self.pixel_values, &self.sample, &self.input];
        let shapes = self.input_ids.iter().map(|i| i.shape.as_slice());
        shapes.chain(tensors.into_iter().flatten().map(Tensor::dims)).next()?.first().copied()
    }

    /// Refuses what the calls of an architecture have no place for: Python's drop some of it in silence, and answer as if it were not there.
    pub(super) fn check(&self, model_type: &str) -> Result<()> {
        let tokens = ["input_ids", "inputs_embeds", "attention_mask", "position_ids"];
        let more: &[&str] = match model_type {
            "custom" => return Ok(()),
            "vit" => &["pixel_values"],
            "unet2d" => &["sample", "timestep", "encoder_hidden_states"],
            "bert" | "roberta" | "gpt2" => &["token_type_ids"],
            "t5" => &["decoder_input_ids", "decoder_attention_mask"],
            _ => &[],
        };
        let tokens = match model_type {
            "vit" | "unet2d" => &tokens[..0],
            "t5" => &tokens[..3],
            _ => &tokens[..],
        };
        let taken = |name: &str| more.contains(&name) || tokens.contains(&name);
        match self.given().into_iter().find(|(kind, _)| kind.to == To::Model && !taken(kind.name)) {
            Some((kind, _)) => Err(Error::Argument(format!("{}: {model_type} models do not take it", kind.camel))),
            None => Ok(()),
        }
    }

    /// What is given for `to`.
    pub(super) fn named(&self, to: To) -> Vec<(&'static str, Value)> {
        let given = self.given().into_iter().filter(|(kind, _)| kind.to == to);
        given.map(|(kind, value)| (kind.name, value)).collect()
    }

    pub(super) fn args(&self) -> Args {
        let mut named = self.named(To::Model);
        if self.last_logits_only {
            named.push(("logits_to_keep", Value::None));
        }
        Args { positional: Vec::new(), named }
    }
}
