//! A model as all its handles see it, and one pass over it.

use crate::inputs::NativeInputs;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use swift_tuners_nn::{AdapterId, CancelFlag, Context, Error, Inputs, Output, Result};
use swift_tuners_tuners::lifecycle::RowIds;
use swift_tuners_tuners::TunedModel;

/// A model as all its handles see it.
pub struct Shared {
    /// Names this model in handles; never used again.
    token: String,
    /// Read by passes and getters, written by what changes the tree.
    pub tree: RwLock<TunedModel>,
    /// Read by passes, written by an optimizer's step: no pass sees half-updated weights.
    pub passes: RwLock<()>,
    pub training: AtomicBool,
    pub seed: AtomicU64,
    /// Passes in training mode so far; each draws its own random numbers.
    pub drawn: AtomicU64,
    pub checkpointing: AtomicBool,
    /// Handles that JavaScript has.
    pub handles: AtomicUsize,
    /// Bytes that the garbage collector was told of.
    pub reported: AtomicI64,
    /// Whether a training run has this model.
    pub running: AtomicBool,
}

/// Models that worker threads may attach to, by token.
static HANDLES: Mutex<Option<HashMap<String, Weak<Shared>>>> = Mutex::new(None);

impl Shared {
    pub fn new(model: TunedModel, seed: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            token: format!("model-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
            tree: RwLock::new(model),
            passes: RwLock::new(()),
            training: AtomicBool::new(false),
            seed: AtomicU64::new(seed),
            drawn: AtomicU64::new(0),
            checkpointing: AtomicBool::new(false),
            handles: AtomicUsize::new(0),
            reported: AtomicI64::new(0),
            running: AtomicBool::new(false),
        }
    }

    /// The token by which [`Shared::find`] gives this model to other threads, as long as it lives.
    pub fn publish(self: &Arc<Self>) -> String {
        let mut handles = HANDLES.lock();
        let handles = handles.get_or_insert_default();
        handles.retain(|_, other| other.strong_count() > 0);
        handles.insert(self.token.clone(), Arc::downgrade(self));
        self.token.clone()
    }

    pub fn find(token: &str) -> Result<Arc<Self>> {
        let found = HANDLES.lock().get_or_insert_default().get(token).and_then(Weak::upgrade);
        found.ok_or_else(|| Error::Invalid("this handle's model is gone".into()))
    }

    pub fn forward(&self, pass: &Pass, inputs: &Inputs) -> Result<Output> {
        let tree = self.tree.read_recursive();
        let _passes = self.passes.read_recursive();
        tree.forward(&pass.context(), inputs)
    }

    /// The settings of a pass that begins now.
    pub fn pass(
        &self,
        thread: u64,
        active: Option<Vec<String>>,
        inputs: &NativeInputs,
        cancel: CancelFlag,
    ) -> Result<Pass> {
        self.pass_in(self.training.load(Ordering::Relaxed), thread, active, inputs, cancel)
    }

    /// The settings of one that is not training, whatever mode the model is in; it draws nothing, so that those of a training run
    /// draw what they would without it.
    pub fn quiet_pass(
        &self,
        thread: u64,
        active: Option<Vec<String>>,
        inputs: &NativeInputs,
        cancel: CancelFlag,
    ) -> Result<Pass> {
        self.pass_in(false, thread, active, inputs, cancel)
    }

    fn pass_in(
        &self,
        training: bool,
        thread: u64,
        active: Option<Vec<String>>,
        inputs: &NativeInputs,
        cancel: CancelFlag,
    ) -> Result<Pass> {
        let tree = self.tree.read_recursive();
        let (rows, active) = match (inputs.adapter_names(), active) {
            (Some(names), _) => {
                let (rows, active) = tree.row_ids(&names)?;
                (Some(rows), active)
            }
            (None, Some(names)) => (None, tree.ids(&names)?),
            (None, None) => (None, tree.active_ids(thread)),
        };
        let count = if training { self.drawn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let seed = swift_tuners_nn::context::mix(self.seed.load(Ordering::Relaxed), count);
        let checkpointing = self.checkpointing.load(Ordering::Relaxed);
        Ok(Pass { training, active, rows, seed, cancel, checkpointing, grad: true })
    }
}

/// One pass's settings, captured when JavaScript makes the call.
#[derive(Clone)]
pub struct Pass {
    pub training: bool,
    pub active: Arc<Vec<AdapterId>>,
    pub rows: Option<RowIds>,
    pub seed: u64,
    pub cancel: CancelFlag,
    pub checkpointing: bool,
    /// Kept for a backward pass.
    pub grad: bool,
}

impl Pass {
    pub fn context(&self) -> Context {
        Context {
            training: self.training,
            active: self.active.clone(),
            rows: self.rows.clone(),
            seed: self.seed,
            cancel: self.cancel.clone(),
            checkpointing: self.checkpointing && self.grad,
            grad: self.grad,
            ..Context::default()
        }
    }
}
