//! Long work on threads of our own: not on the event loop, not on libuv's four threads.

use crate::error::{from_panic, to_napi};
use crate::pool::{self, STACK};
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::Env;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;
use swift_tuners_nn::Result;

/// Idle threads beside the resident one end after this time.
const IDLE: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

struct Queue {
    waiting: VecDeque<Work>,
    resident: Resident,
    /// Which resident thread it is: others end.
    generation: u64,
    /// Further threads that wait for work.
    idle: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Resident {
    Missing,
    Idle,
    Busy,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { waiting: VecDeque::new(), resident: Resident::Missing, generation: 0, idle: 0 });
/// One for the resident thread, one for the others: the resident is the better place for work.
static FOR_RESIDENT: Condvar = Condvar::new();
static FOR_OTHERS: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(|e| e.into_inner())
}

fn thread(body: impl FnOnce() + Send + 'static) -> bool {
    std::thread::Builder::new().name("swift-tuners".into()).stack_size(STACK).spawn(body).is_ok()
}

fn submit(work: Work) {
    let mut queue = lock();
    queue.waiting.push_back(work);
    if queue.resident == Resident::Missing {
        let generation = queue.generation;
        queue.resident = if thread(move || reside(generation)) { Resident::Busy } else { Resident::Missing };
        if queue.resident == Resident::Busy {
            return;
        }
    }
    if queue.resident == Resident::Idle {
        // Taken here, so that the next job does not count on it.
        queue.resident = Resident::Busy;
        FOR_RESIDENT.notify_one();
        return;
    }
    if queue.idle >= queue.waiting.len() {
        FOR_OTHERS.notify_one();
        return;
    }
    // Every waiting job gets a thread: one job may wait for another's lock.
    if !thread(serve) && queue.idle == 0 && queue.resident == Resident::Missing {
        // No thread could be made: the job is done here.
        if let Some(work) = queue.waiting.pop_back() {
            drop(queue);
            work();
        }
    }
}

/// Does all that waits.
fn work_off(mut queue: MutexGuard<'static, Queue>, how: fn(Work)) -> MutexGuard<'static, Queue> {
    while let Some(work) = queue.waiting.pop_front() {
        drop(queue);
        how(work);
        queue = lock();
    }
    queue
}

/// The thread that stays. It is a member of a pool of its own, so that a parallel loop starts at once and on this thread:
/// from outside of a pool each loop costs two trips through the kernel, and a training step has hundreds.
fn reside(generation: u64) {
    // Without a pool, loops run in the global one.
    let _own = pool::builder().use_current_thread().build();
    let mut queue = lock();
    loop {
        queue = work_off(queue, |work| work());
        if queue.generation != generation {
            return;
        }
        queue.resident = Resident::Idle;
        while queue.resident == Resident::Idle && queue.generation == generation {
            queue = FOR_RESIDENT.wait(queue).unwrap_or_else(|e| e.into_inner());
        }
        if queue.generation != generation {
            return;
        }
    }
}

/// The next job has a resident thread of its own, with as many helpers as are chosen then; today's ends when it is done.
pub fn replace_resident() {
    let mut queue = lock();
    queue.generation += 1;
    queue.resident = Resident::Missing;
    FOR_RESIDENT.notify_all();
}

/// A thread for what comes while the resident is busy.
fn serve() {
    let mut queue = lock();
    loop {
        queue = work_off(queue, pool::within);
        queue.idle += 1;
        let (guard, timeout) = FOR_OTHERS.wait_timeout(queue, IDLE).unwrap_or_else(|e| e.into_inner());
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
