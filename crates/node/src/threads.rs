//! How many threads calculate.

use crate::error::guard;
use crate::{job, pool};
use napi_derive::napi;

/// Calculations that begin from now on share so many threads.
#[napi]
pub fn set_num_threads(threads: u32) -> napi::Result<()> {
    guard(|| {
        pool::choose((threads as usize).max(1))?;
        job::replace_resident();
        Ok(())
    })
}

/// How many threads a calculation may use.
#[napi]
pub fn get_num_threads() -> u32 {
    pool::size() as u32
}
