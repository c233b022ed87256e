//! A model behind handles.

mod adapters;
mod files;
mod groups;
mod handle;
mod load;
mod measure;
mod parameters;
mod passes;
mod status;
mod steps;

pub use handle::NativeModel;
