//! Errors cross the boundary as the JSON of code, message and details: a napi error carries a text alone.

use napi_derive::napi;
use serde_json::{json, Map, Value};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, ErrorCode};

fn envelope(code: ErrorCode, message: &str, details: Map<String, Value>) -> napi::Error {
    napi::Error::from_reason(json!({ "code": code.as_str(), "message": message, "details": details }).to_string())
}

pub fn to_napi(error: Error) -> napi::Error {
    envelope(error.code(), &error.to_string(), error.details())
}

/// A caught panic is a bug of ours; it is reported as such and does not end the process.
pub fn from_panic(panic: Box<dyn std::any::Any + Send>) -> napi::Error {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default();
    envelope(ErrorCode::InvalidState, &format!("internal error: {}", printable(&text, 300)), Map::new())
}

/// Every code that an error of this side may have.
#[napi]
pub fn error_codes() -> Vec<&'static str> {
    ErrorCode::ALL.iter().map(|code| code.as_str()).collect()
}

/// Runs synchronous work of an export: no panic may reach C.
pub fn guard<T>(work: impl FnOnce() -> swift_tuners_nn::Result<T>) -> napi::Result<T> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(to_napi(e)),
        Err(panic) => Err(from_panic(panic)),
    }
}
