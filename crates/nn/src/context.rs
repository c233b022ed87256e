//! Everything that differs between two forward passes over one model.

use crate::adapter_id::AdapterId;
use crate::kv_cache::{KvCache, Prefix};
use crate::module::{Args, Ints, Value};
use crate::tensor::Tensor;
use crate::{Error, Result};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

/// Asks a running call to stop; polled at every door and between training steps.
#[derive(Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Error::Aborted)
        } else {
            Ok(())
        }
    }
}

/// What tuners keep for each other, by adapter and place.
pub type Taps = BTreeMap<(AdapterId, usize), Value>;

/// One pass: on the caller's stack, never shared between passes.
#[derive(Clone)]
pub struct Context {
    /// Training mode: dropout and noise act.
    pub training: bool,
    /// Whether operations on trained parameters are recorded for a backward pass.
    pub grad: bool,
    /// The active adapters in the order of their activation.
    pub active: Arc<Vec<AdapterId>>,
    /// The one adapter that runs on each row of the batch, `None` for the untuned model; `active` holds each of them once.
    pub rows: Option<Arc<Vec<Option<AdapterId>>>>,
    /// Which rows of the batch this part of the pass is about, where they run apart.
    pub run: Option<Range<usize>>,
    /// Base of all random numbers of this pass.
    pub seed: u64,
    /// How often this pass has drawn random numbers: the model's structure alone decides what each place draws.
    pub draws: Arc<AtomicU64>,
    pub cache: Option<Arc<KvCache>>,
    /// Whether the cache held positions when the pass began: layers fill it while the pass goes on.
    pub decoding: bool,
    pub cancel: CancelFlag,
    /// Blocks keep nothing for the backward pass but their inputs, and run again for it (training only).
    pub checkpointing: bool,
    /// What tuners keep for others of the same adapter further on in this pass.
    pub taps: Arc<Mutex<Taps>>,
    /// Keys and values that stand before those of the sequence; not in passes over a cache that has them already.
    pub prefix: Option<Arc<Prefix>>,
    /// What the pass was called with for tuners alone, by Python's names.
    pub inputs: Arc<Vec<(&'static str, Value)>>,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            training: false,
            grad: true,
            active: Arc::default(),
            rows: None,
            run: None,
            seed: 0,
            draws: Arc::default(),
            cache: None,
            decoding: false,
            cancel: CancelFlag::default(),
            checkpointing: false,
            taps: Arc::default(),
            prefix: None,
            inputs: Arc::default(),
        }
    }
}

impl Context {
    pub fn is_active(&self, adapter: AdapterId) -> bool {
        self.active.contains(&adapter)
    }

    /// Keeps a value for a tuner of `adapter` that runs later in this pass.
    pub fn put_tap(&self, adapter: AdapterId, place: usize, value: Value) {
        self.taps.lock().insert((adapter, place), value);
    }

    pub fn tap(&self, adapter: AdapterId, place: usize) -> Option<Value> {
        self.taps.lock().get(&(adapter, place)).cloned()
    }

    /// What the pass was called with for tuners.
    pub fn input(&self, name: &str) -> Option<&Ints> {
        self.inputs
            .iter()
            .find(|(n, _)| *n == name)
            .and_then(|(_, v)| if let Value::Ints(i) = v { Some(i) } else { None })
    }

    /// How many positions stand before those of this pass, when it begins.
    pub fn past(&self) -> usize {
        self.cache.as_ref().map_or(0, |c| c.len()) + self.prefix.as_ref().map_or(0, |p| p.len())
    }

    /// A layer's keys and values `[batch, seq, kv_heads, d]` behind those that stand before them, which the cache keeps.
    pub fn with_past(&self, layer: usize, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let (k, v) = match &self.prefix {
            Some(prefix) => prefix.before(layer, &k, &v)?,
            None => (k, v),
        };
        match &self.cache {
            Some(cache) => cache.append(layer, &k, &v),
            None => Ok((k, v)),
        }
    }

    /// Whether blocks run again for the backward pass.
    pub fn recomputes(&self) -> bool {
        self.checkpointing && self.training && self.grad
    }

    pub fn check_cancelled(&self) -> Result<()> {
        self.cancel.check()
    }

    /// The seed of the next random numbers of this pass.
    pub fn next_seed(&self) -> u64 {
        mix(self.seed, self.draws.fetch_add(1, Ordering::Relaxed))
    }

    /// `x` with dropout, in training only.
    pub fn dropout(&self, x: &Tensor, rate: f64) -> Result<Tensor> {
        if !self.training || rate <= 0. {
            return Ok(x.clone());
        }
        crate::ops::dropout(x, rate as f32, self.next_seed())
    }
}

/// A run of neighbouring rows of a batch that one adapter runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRun {
    pub rows: Range<usize>,
    pub adapter: Option<AdapterId>,
}

impl Context {
    /// The batch in runs of one adapter each, when each row has its own. `batch` is the length of the first dimension that a
    /// module sees; one that is not the number of names (tokens that were routed to an expert) cannot be told apart.
    pub fn row_runs(&self, batch: usize) -> Result<Option<Vec<RowRun>>> {
        let Some(rows) = &self.rows else { return Ok(None) };
        if rows.len() != batch {
            return Err(Error::Argument(format!(
                "adapterNames: {} names, but a module that an adapter sits on is called with {batch} rows",
                rows.len()
            )));
        }
        let mut runs: Vec<RowRun> = Vec::new();
        for (i, &adapter) in rows.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if run.adapter == adapter => run.rows.end = i + 1,
                _ => runs.push(RowRun { rows: i..i + 1, adapter }),
            }
        }
        Ok(Some(runs))
    }

    /// Runs `f` on each run of rows by itself, where only that run's adapter is active, and joins what comes out: for
    /// modules whose rows have nothing to do with each other.
    pub fn by_rows(&self, args: &Args, f: impl Fn(&Self, Args) -> Result<Value>) -> Result<Value> {
        let batch = match args.positional.first() {
            Some(Value::Tensor(x)) => x.dims().first().copied(),
            Some(Value::Ints(x)) => x.shape.first().copied(),
            _ => None,
        };
        let batch = batch.ok_or_else(|| Error::Argument("adapterNames: a module's input has no rows".into()))?;
        let runs = self.row_runs(batch)?.unwrap_or_default();
        let mut parts = Vec::with_capacity(runs.len());
        for RowRun { rows, adapter } in runs {
            let active = Arc::new(adapter.into_iter().collect());
            let cx = Self { active, rows: None, run: Some(rows.clone()), ..self.clone() };
            parts.push(f(&cx, args.narrow_rows(batch, &rows)?)?.into_tensor()?);
        }
        Ok(Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?.into())
    }
}

pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
