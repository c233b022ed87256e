//! Linear algebra that tuners and optimizers share.

mod factor;

pub use factor::{qr, svd};
