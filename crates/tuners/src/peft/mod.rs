//! PEFT's own tuners, a file each.

mod fourierft;
mod hra;
mod ia3;
mod locations;
mod loha;
mod shira;
mod supertuning;
mod vera;
mod waveft;
mod wavelets;

pub use fourierft::FourierFt;
pub use hra::Hra;
pub use ia3::Ia3;
pub use loha::LoHa;
pub use shira::Shira;
pub use supertuning::Supertuning;
pub use vera::Vera;
pub use waveft::WaveFt;
