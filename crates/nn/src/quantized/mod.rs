//! Frozen weight matrices in four or eight bits, decoded block by block inside of the products that use them.
//!
//! Dettmers et al. 2023 (QLoRA, arXiv 2305.14314): NF4 as `bitsandbytes.functional.quantize_4bit` makes it; Q8_0 and Q4_K as
//! GGUF files hold them.

mod blocks;
mod nf4;
mod packed;
mod packing;

pub use packed::Packed;
pub use packing::Packing;
