//! The tape: what was done, in order of creation, and where gradients gather.

use crate::array::Array;
use crate::Result;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// Given the gradient of the output, returns one gradient per recorded input (`None`: no gradient flows there).
type BackwardFn = Box<dyn FnOnce(&Array) -> Result<Vec<Option<Array>>> + Send>;

/// Where a leaf's gradient accumulates between `zero_grad` calls.
#[derive(Default)]
pub struct GradSlot(Mutex<Option<Array>>);

impl GradSlot {
    pub fn get(&self) -> Option<Array> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub fn set(&self, grad: Option<Array>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = grad;
    }

    pub(super) fn add(&self, grad: Array) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(|e| e.into_inner());
        *slot = Some(match slot.take() {
            Some(sum) => (sum + grad)?,
            None => grad,
        });
        Ok(())
    }
}

pub(super) enum Role {
    Leaf(Arc<GradSlot>),
    /// Taken by the first backward pass, which frees what the operation had saved.
    Operation(Mutex<Option<BackwardFn>>),
}

/// One recorded operation, or a leaf whose gradient is wanted.
pub(crate) struct Record {
    /// Grows with creation, so descending order is a valid order for the backward pass.
    pub(super) id: u64,
    pub(super) role: Role,
    pub(super) inputs: Vec<Option<Arc<Record>>>,
}

impl Drop for Record {
    // A long chain of records must not be dropped recursively: 50 000 of them overflow an 8 MB stack.
    fn drop(&mut self) {
        let mut stack: Vec<Arc<Record>> = std::mem::take(&mut self.inputs).into_iter().flatten().collect();
        while let Some(record) = stack.pop() {
            if let Some(mut last) = Arc::into_inner(record) {
                stack.extend(std::mem::take(&mut last.inputs).into_iter().flatten());
            }
        }
    }
}

pub(super) static NEXT_RECORD: AtomicU64 = AtomicU64::new(1);

pub(super) struct Pending(pub Arc<Record>);

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}
