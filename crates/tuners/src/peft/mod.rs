//! PEFT's own tuners, a file each.

mod adaption_prompt;
mod adalora;
mod boft;
mod hra;
mod ia3;
mod ln_tuning;
mod loha;
mod poly;
mod oft;
mod osf;
mod trainable_tokens;
mod vera;
mod xlora;

pub use adaption_prompt::AdaptionPrompt;
pub use adalora::AdaLora;
pub use boft::Boft;
pub use hra::Hra;
pub use ia3::Ia3;
pub use ln_tuning::LnTuning;
pub use loha::LoHa;
pub use poly::Poly;
pub use oft::Oft;
pub use osf::Osf;
pub use trainable_tokens::TrainableTokens;
pub use vera::Vera;
pub use xlora::XLora;
