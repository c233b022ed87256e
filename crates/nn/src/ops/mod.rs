//! Differentiable kernels: one operation each, with its own backward pass.
//!
//! On the CPU a kernel works on the host slices of its inputs, in parallel, and saves no more than its backward pass
//! needs. On other devices the same function is composed of the tape's primitive operations ([`crate::tensor`]), whose
//! backward passes run on the device. Half-precision inputs are widened, computed in f32 and rounded once.

mod activation;
mod add;
mod attention;
mod compressed_linear;
mod conv;
mod cross_entropy;
mod dropout;
mod embedding;
mod finite;
mod fourier;
mod gemm;
mod host;
mod linear;
mod lora_term;
mod mask;
mod mat;
mod norm;
mod parallel;
mod patches;
mod pool;
mod positions;
mod precision;
mod real;
mod reduce;
mod rope;
mod simd;
mod sparse;
#[cfg(test)]
pub(crate) mod testing;
mod thin;
mod tiles;
mod token_losses;
mod updated_weight;
mod upsample;
mod wavelet;
mod weight;

pub use activation::{gated, Activation};
pub(crate) use add::add_arrays;
pub use attention::{attention, AttentionOptions};
pub use compressed_linear::compressed_linear;
pub use conv::{conv2d, Conv2dShape};
pub use cross_entropy::{cross_entropy, linear_cross_entropy, weighted_cross_entropy, weighted_linear_cross_entropy};
pub use dropout::dropout;
pub use embedding::embedding;
pub use finite::all_finite;
pub use fourier::inverse_fourier;
pub(crate) use gemm::gemm;
pub(crate) use host::{host, uninit};
pub use linear::{linear, lora_linear};
pub use lora_term::LoraTerm;
pub use mask::Mask;
pub(crate) use mat::{mat, mat_mut};
pub(crate) use norm::sum;
pub use norm::{group_norm, layer_norm, rms_norm};
pub(crate) use parallel::rows_per_task;
pub use patches::{from_patches, patches};
pub use pool::{adaptive_avg_pool2d, max_pool2d};
pub use positions::Positions;
pub use precision::compute_dtype;
pub(crate) use precision::{finish, prepared};
pub(crate) use real::{dispatch, Real};
pub use rope::{rope, RopeTable};
pub(crate) use simd::simd;
pub use sparse::{sparse_linear, sparse_matrix, top_magnitudes};
pub use token_losses::{linear_token_losses, token_losses};
pub use updated_weight::{add_product, updated_row_norms};
pub use upsample::upsample_nearest;
pub use wavelet::{inverse_wavelet, Window};
pub use weight::{Weight, WeightLayout};
