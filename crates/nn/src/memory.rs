//! Memory that there may not be.

use crate::{Error, Result};

/// Fails with [`Error::Memory`] where the system would not give so many bytes: an allocation that fails later ends the process.
pub fn require(bytes: usize) -> Result<()> {
    let mut probe: Vec<u8> = Vec::new();
    probe.try_reserve_exact(bytes).map_err(|_| Error::Memory(bytes))
}

/// The bytes of so many values of a size.
pub fn bytes_of(shape: &[usize], size: usize) -> Result<usize> {
    let count = shape.iter().try_fold(size, |n, &d| n.checked_mul(d));
    count.ok_or_else(|| Error::Argument(format!("{shape:?} are more values than can be counted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_system_has_is_an_error() {
        assert!(require(1 << 20).is_ok());
        assert_eq!(require(usize::MAX / 4).unwrap_err().code(), "ERR_OUT_OF_MEMORY");
        assert!(bytes_of(&[usize::MAX, 2], 4).is_err());
    }
}
