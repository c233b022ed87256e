//! What loops over parts of an array share.

/// A pointer that parallel tasks may share because each writes its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub *mut T);
// SAFETY: every use documents how the tasks' parts are disjoint.
unsafe impl<T> Send for Shared<T> {}
unsafe impl<T> Sync for Shared<T> {}
impl<T> Shared<T> {
    pub fn ptr(&self) -> *mut T {
        self.0
    }
}

/// Elements that one parallel task should have at least.
pub(crate) const GRAIN: usize = 1 << 14;

/// Rows per task so that a task has about [`GRAIN`] elements.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (GRAIN / width.max(1)).max(1)
}
