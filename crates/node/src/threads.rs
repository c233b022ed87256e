//! How many threads calculate.

use crate::error::guard;
use crate::job;
use napi_derive::napi;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Arc, Mutex};
use swift_tuners_nn::Error;

/// Deep graphs and large frames must not overflow; the memory is only reserved.
pub const STACK: usize = 64 << 20;

/// What was asked for; nothing leaves the choice to rayon (`RAYON_NUM_THREADS`, or the processors there are).
static CHOSEN: Mutex<Option<Chosen>> = Mutex::new(None);

#[derive(Clone)]
struct Chosen {
    threads: usize,
    /// For threads that come and go.
    pool: Arc<ThreadPool>,
}

fn chosen() -> Option<Chosen> {
    CHOSEN.lock().unwrap_or_else(|e| e.into_inner()).clone()
}

fn failed(e: rayon::ThreadPoolBuildError) -> Error {
    Error::Device { device: "cpu".into(), message: format!("threads cannot be made: {e}") }
}

/// The threads of a pool that a thread makes for itself.
pub fn builder() -> ThreadPoolBuilder {
    let builder = ThreadPoolBuilder::new().stack_size(STACK);
    match chosen() {
        Some(chosen) => builder.num_threads(chosen.threads),
        None => builder,
    }
}

/// Runs `work` where as many threads help as were chosen.
pub fn within<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match chosen() {
        Some(chosen) => chosen.pool.install(work),
        None => work(),
    }
}

/// Calculations that begin from now on share so many threads.
#[napi]
pub fn set_num_threads(threads: u32) -> napi::Result<()> {
    guard(|| {
        let threads = (threads as usize).max(1);
        let pool = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build().map_err(failed)?;
        *CHOSEN.lock().unwrap_or_else(|e| e.into_inner()) = Some(Chosen { threads, pool: Arc::new(pool) });
        // What runs on the caller's own thread takes the global pool, which can be made once: before anything has used it.
        let _ = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build_global();
        job::replace_resident();
        Ok(())
    })
}

/// How many threads a calculation may use.
#[napi]
pub fn get_num_threads() -> u32 {
    chosen().map_or_else(rayon::current_num_threads, |chosen| chosen.threads) as u32
}
