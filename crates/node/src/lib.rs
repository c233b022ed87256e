//! The Node addon: converts, calls the core once, converts back. No rule lives here.

// napi-derive registers exports outside of tests only.
#![cfg_attr(test, allow(dead_code))]

mod cancel;
mod chat;
mod error;
mod eva;
mod files;
mod generation;
mod inputs;
mod job;
mod merge_files;
mod model;
mod optimizer;
mod output;
mod parameter;
mod pool;
mod pretrained;
mod schedule;
mod shared;
mod state_dict;
mod tensor;
mod threads;
mod tokenizer;
mod training_run;

/// Results of operations are large and short-lived. glibc gives such blocks back to the system at once, so every operation
/// faults its pages in again; mimalloc keeps them for `PURGE_DELAY`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds that free pages are kept: longer than a training step. Later allocations give them back; an idle process
/// keeps them.
const PURGE_DELAY: std::ffi::c_long = 1000;
/// `mi_option_purge_delay`, which the binding crate does not name.
const PURGE_DELAY_OPTION: libmimalloc_sys::mi_option_t = 15;

/// Gives free pages back to the system at once: for calls whose purpose is to free memory.
pub(crate) fn release_free_memory() {
    // SAFETY: may be called at any time, from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[napi_derive::module_init]
fn init() {
    // SAFETY: sets an option of the allocator; valid at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY_OPTION, PURGE_DELAY) };
    // Worker panics are caught and become errors; their default message on stderr would only confuse.
    std::panic::set_hook(Box::new(|_| {}));
}
