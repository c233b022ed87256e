//! Settings that must lie in a range.

use swift_tuners_nn::{Error, Result};

/// Fails unless `ok`.
pub(crate) fn range(name: &str, ok: bool, value: f64) -> Result<()> {
    if ok {
        Ok(())
    } else {
        Err(Error::config(name, format!("{value} is out of range")))
    }
}
