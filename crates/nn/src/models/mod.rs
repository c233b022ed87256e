//! Model architectures, a file or a folder each, and the tables that say where things sit per `model_type`.

mod attention_size;
mod bert;
mod builder;
mod config;
mod context_length;
mod custom;
mod experts;
mod gpt2;
mod head;
mod inputs;
mod keys;
mod llama;
mod loss;
mod loss_items;
mod model;
mod output;
mod quantization;
mod rope_config;
mod source;
mod stack;
mod t5;
mod tokens;
mod unet2d;
mod vit;

pub use attention_size::AttentionSize;
pub(crate) use experts::split as split_experts;
pub use inputs::{Decoding, Inputs, Kind as InputKind, To, INPUTS};
pub use keys::{Keys, TaskType};
pub use llama::ATTEND;
pub use model::{Model, LOSS};
pub use output::Output;
pub use quantization::Quantization;
pub use source::{Init, Make, Random, Source};
pub(crate) use tokens::sequence_starts;
pub use tokens::{is_packed, DECODER_PROMPT, PROMPT};
