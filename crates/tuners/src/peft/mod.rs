//! PEFT's own tuners, a file each.

mod adamss;
mod beft;
mod c3a;
mod deft;
mod delora;
mod glora;
mod gralora;
mod hira;
mod hra;
mod ia3;
mod loha;
mod lokr;
mod lycoris;
mod miss;
mod peanut;
mod psoft;
mod road;
mod vera;

pub use adamss::Adamss;
pub use beft::Beft;
pub use c3a::C3a;
pub use deft::Deft;
pub use delora::Delora;
pub use glora::Glora;
pub use gralora::Gralora;
pub use hira::Hira;
pub use hra::Hra;
pub use ia3::Ia3;
pub use loha::LoHa;
pub use lokr::LoKr;
pub use miss::Miss;
pub use peanut::Peanut;
pub use psoft::Psoft;
pub use road::Road;
pub use vera::Vera;
