//! PEFT's own tuners, a file each.

mod adalora;
mod boft;
mod hra;
mod ia3;
mod ln_tuning;
mod loha;
mod oft;
mod osf;
mod trainable_tokens;
mod vera;

pub use adalora::AdaLora;
pub use boft::Boft;
pub use hra::Hra;
pub use ia3::Ia3;
pub use ln_tuning::LnTuning;
pub use loha::LoHa;
pub use oft::Oft;
pub use osf::Osf;
pub use trainable_tokens::TrainableTokens;
pub use vera::Vera;
