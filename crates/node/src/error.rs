//! Errors cross the boundary as `code` and text, joined by a character that neither contains.

use swift_tuners_nn::Error;

const SEPARATOR: char = '\u{1f}';

pub fn to_napi(error: Error) -> napi::Error {
    napi::Error::from_reason(format!("{}{SEPARATOR}{error}", error.code()))
}

/// A caught panic is a bug of ours; it is reported as such and does not end the process.
pub fn from_panic(panic: Box<dyn std::any::Any + Send>) -> napi::Error {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default();
    let text = swift_tuners_nn::error::printable(&text, 300);
    napi::Error::from_reason(format!("ERR_INVALID_STATE{SEPARATOR}internal error: {text}"))
}

/// Runs synchronous work of an export: no panic may reach C.
pub fn guard<T>(work: impl FnOnce() -> swift_tuners_nn::Result<T>) -> napi::Result<T> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(to_napi(e)),
        Err(panic) => Err(from_panic(panic)),
    }
}
