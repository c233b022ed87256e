//! Weight files: strict readers, writers that are whole or not at all.

mod bytes;
mod directory;
pub mod files;
mod from_files;
pub mod json;
mod load;
mod names;
mod replace;
pub mod safetensors;
mod save;
mod tensors;
pub mod torch_bin;

pub use from_files::Progress;
pub use load::{load_body, load_model, new_model, open_model, WeightType};
pub use names::check_plain_name;
pub use replace::{replace_dir, replace_dir_without, unique};
pub use save::{copy_companions, format_pt, save_model, write_model, ValueOf};
pub use tensors::Tensors;
