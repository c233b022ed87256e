//! SWIFT's tuners, a file each.

mod adapter;
mod llamapro;
mod longlora;
mod neftune;
mod part;
mod prompt;
mod reft;
mod restuning;
mod scetuning;
mod side;

pub use adapter::AdapterTuning;
pub use llamapro::LlamaPro;
pub use longlora::LongLora;
pub use neftune::NefTuning;
pub use part::PartTuning;
pub use prompt::PromptTuning;
pub use reft::Reft;
pub use restuning::ResTuning;
pub use scetuning::SceTuning;
pub use side::SideTuning;
