//! PEFT's own tuners, a file each.

mod adaption_prompt;
mod hra;
mod ia3;
mod loha;
mod poly;
mod vera;
mod xlora;

pub use adaption_prompt::AdaptionPrompt;
pub use hra::Hra;
pub use ia3::Ia3;
pub use loha::LoHa;
pub use poly::Poly;
pub use vera::Vera;
pub use xlora::XLora;
