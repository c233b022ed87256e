//! Elements of arrays in the memory of the host.

use super::real::Real;
use crate::array::Array;
use candle_core::{CpuStorage, Storage, WithDType};
use parking_lot::RwLockReadGuard;
use std::ops::Deref;

/// Read access to a contiguous CPU array's elements.
pub(crate) struct Host<'a, T> {
    guard: RwLockReadGuard<'a, Storage>,
    start: usize,
    len: usize,
    element: std::marker::PhantomData<T>,
}

pub(crate) fn host<T: WithDType>(x: &Array) -> Host<'_, T> {
    let (guard, layout) = x.storage_and_layout();
    debug_assert!(layout.is_contiguous());
    Host { start: layout.start_offset(), len: layout.shape().elem_count(), guard, element: std::marker::PhantomData }
}

impl<T: WithDType> Deref for Host<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Storage::Cpu(storage) = &*self.guard else { unreachable!("host() is called on CPU arrays only") };
        let all: &[T] = storage_slice(storage);
        &all[self.start..self.start + self.len]
    }
}

fn storage_slice<T: WithDType>(storage: &CpuStorage) -> &[T] {
    T::cpu_storage_as_slice(storage).expect("the caller dispatched on the dtype")
}

/// Memory for results that a kernel writes in full before anybody reads it.
///
/// Skipping the zeroing pass matters: results are large and written once.
pub(crate) fn uninit<T: Real>(len: usize) -> Vec<T> {
    let mut v = Vec::with_capacity(len);
    // SAFETY: f32 and f64 have no invalid bit patterns that are undefined to overwrite, and every kernel writes
    // all of its output before reading it.
    #[allow(clippy::uninit_vec)]
    unsafe {
        v.set_len(len)
    };
    v
}
