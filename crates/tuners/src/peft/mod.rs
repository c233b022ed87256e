//! PEFT's own tuners, a file each.

mod fourierft;
mod frod;
mod hra;
mod ia3;
mod lily;
mod locations;
mod loha;
mod projections;
mod pvera;
mod randlora;
mod shira;
mod supertuning;
mod tinylora;
mod unilora;
mod vblora;
mod vera;
mod waveft;
mod wavelets;

pub use fourierft::FourierFt;
pub use frod::Frod;
pub use hra::Hra;
pub use ia3::Ia3;
pub use lily::Lily;
pub use loha::LoHa;
pub use pvera::Pvera;
pub use randlora::RandLora;
pub use shira::Shira;
pub use supertuning::Supertuning;
pub use tinylora::TinyLora;
pub use unilora::UniLora;
pub use vblora::VbLora;
pub use vera::Vera;
pub use waveft::WaveFt;
