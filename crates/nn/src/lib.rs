//! Module tree, differentiable kernels, models and checkpoints. No tuner and no JavaScript lives here.

mod adapter_id;
mod array;
pub mod checkpoint;
pub mod combine;
pub mod context;
pub mod error;
pub mod generate;
pub mod init;
pub mod kv_cache;
pub mod layers;
pub mod linalg;
mod low_rank;
pub mod memory;
pub mod models;
pub mod module;
pub mod ops;
pub mod param;
pub mod quantized;
pub mod tensor;
mod update;

pub use adapter_id::AdapterId;
pub use context::{CancelFlag, Context};
pub use error::{Error, ErrorCode, Result};
pub use low_rank::LowRank;
pub use models::{Inputs, Model, Output, Quantization};
pub use param::Param;
pub use quantized::Packing;
pub use tensor::{Array, Tensor};
pub use update::Update;
