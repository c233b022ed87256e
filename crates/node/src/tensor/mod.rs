//! `Tensor`'s native half.

mod dtype;
mod handle;
mod list;
mod operations;
mod shape;
mod values;

pub use dtype::{device_name, dtype_name, parse_device, parse_dtype};
pub use handle::NativeTensor;
