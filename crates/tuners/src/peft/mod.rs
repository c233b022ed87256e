//! PEFT's own tuners, a file each.

mod adalora;
mod adaption_prompt;
mod boft;
mod fourierft;
mod hra;
mod ia3;
mod ln_tuning;
mod locations;
mod loha;
mod oft;
mod osf;
mod poly;
mod shira;
mod supertuning;
mod trainable_tokens;
mod vera;
mod waveft;
mod wavelets;
mod xlora;

pub use adalora::AdaLora;
pub use adaption_prompt::AdaptionPrompt;
pub use boft::Boft;
pub use fourierft::FourierFt;
pub use hra::Hra;
pub use ia3::Ia3;
pub use ln_tuning::LnTuning;
pub use loha::LoHa;
pub use oft::Oft;
pub use osf::Osf;
pub use poly::Poly;
pub use shira::Shira;
pub use supertuning::Supertuning;
pub use trainable_tokens::TrainableTokens;
pub use vera::Vera;
pub use waveft::WaveFt;
pub use xlora::XLora;
