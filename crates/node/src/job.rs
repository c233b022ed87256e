//! Long work on threads of our own: not on the event loop, not on libuv's four threads.

use crate::error::{from_panic, to_napi};
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::Env;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Duration;
use swift_tuners_nn::Result;

/// Deep graphs and large frames must not overflow; the memory is only reserved.
const STACK: usize = 64 << 20;
/// Idle threads end after this time.
const IDLE: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    idle: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { waiting: VecDeque::new(), idle: 0 });
static ARRIVED: Condvar = Condvar::new();

fn submit(work: Work) {
    let mut queue = QUEUE.lock().unwrap_or_else(|e| e.into_inner());
    queue.waiting.push_back(work);
    if queue.idle >= queue.waiting.len() {
        ARRIVED.notify_one();
        return;
    }
    // Every waiting job gets a thread: one job may wait for another's lock.
    let spawned = std::thread::Builder::new().name("swift-tuners".into()).stack_size(STACK).spawn(serve);
    if spawned.is_err() && queue.idle == 0 {
        // No thread could be made: the job is done by whoever becomes free, or here.
        if let Some(work) = queue.waiting.pop_back() {
            drop(queue);
            work();
        }
    }
}

fn serve() {
    let mut queue = QUEUE.lock().unwrap_or_else(|e| e.into_inner());
    loop {
        if let Some(work) = queue.waiting.pop_front() {
            drop(queue);
            work();
            queue = QUEUE.lock().unwrap_or_else(|e| e.into_inner());
            continue;
        }
        queue.idle += 1;
        let (guard, timeout) = ARRIVED.wait_timeout(queue, IDLE).unwrap_or_else(|e| e.into_inner());
        queue = guard;
        queue.idle -= 1;
        if timeout.timed_out() && queue.waiting.is_empty() {
            return;
        }
    }
}

type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<T>>;

/// A promise of what `work` gives. `work` runs elsewhere; a panic in it rejects the promise.
pub fn job<T>(env: &Env, work: impl FnOnce() -> Result<T> + Send + 'static) -> napi::Result<Object<'_>>
where
    T: ToNapiValue + Send + 'static,
{
    let (deferred, promise) = env.create_deferred::<T, Resolver<T>>()?;
    submit(Box::new(move || match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Ok(value)) => deferred.resolve(Box::new(move |_| Ok(value))),
        Ok(Err(e)) => deferred.reject(to_napi(e)),
        Err(panic) => deferred.reject(from_panic(panic)),
    }));
    Ok(promise)
}
