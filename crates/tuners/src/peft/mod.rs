//! PEFT's own tuners, a file each.

mod boft;
mod hra;
mod ia3;
mod loha;
mod oft;
mod vera;

pub use boft::Boft;
pub use hra::Hra;
pub use ia3::Ia3;
pub use loha::LoHa;
pub use oft::Oft;
pub use vera::Vera;
