//! The threads that calculations share.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Arc, Mutex};
use swift_tuners_nn::{Error, Result};

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

fn of(threads: usize) -> ThreadPoolBuilder {
    ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK)
}

/// The threads of a pool that a thread makes for itself.
pub fn builder() -> ThreadPoolBuilder {
    of(chosen().map_or(0, |chosen| chosen.threads))
}

/// Runs `work` where as many threads help as were chosen.
pub fn within<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match chosen() {
        Some(chosen) => chosen.pool.install(work),
        None => work(),
    }
}

/// Calculations that begin from now on share so many threads, but for those of threads that have a pool of their own.
pub fn choose(threads: usize) -> Result<()> {
    let failed = |e| Error::Device { device: "cpu".into(), message: format!("threads cannot be made: {e}") };
    let pool = Arc::new(of(threads).build().map_err(failed)?);
    *CHOSEN.lock().unwrap_or_else(|e| e.into_inner()) = Some(Chosen { threads, pool });
    // What runs on the caller's own thread takes the global pool, which can be made once: before anything has used it.
    let _ = of(threads).build_global();
    Ok(())
}

/// How many threads a calculation may use.
pub fn size() -> usize {
    chosen().map_or_else(rayon::current_num_threads, |chosen| chosen.threads)
}
