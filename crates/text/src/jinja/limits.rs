//! Bounds of a run: a template comes from a stranger.

use crate::error::{Error, Kind, Result};
use std::cell::Cell;

/// Steps of a run: nodes evaluated, and one for each 32 bytes written. The largest templates in use take some 100 000.
const STEPS: u64 = 20_000_000;
/// Bytes of one text, and of the output.
pub const TEXT: usize = 16 << 20;
/// Bytes of all values that are alive.
const MEMORY: usize = 256 << 20;
/// Evaluations inside each other; Python gives up at 1000 calls.
const DEPTH: u32 = 2500;
/// Lists inside each other.
pub const NESTING: u16 = 250;
/// What jinja2's sandbox allows.
pub const RANGE: i128 = 100_000;
/// Stack of the threads that run templates, in bytes: `DEPTH` frames fit with room to spare.
pub const STACK: usize = 64 << 20;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static ALIVE: Cell<usize> = const { Cell::new(0) };
    static NESTED: Cell<u32> = const { Cell::new(0) };
}

/// Runs begin that share the steps of `runs` ones.
pub fn begin(runs: u64) {
    LEFT.set(STEPS * runs);
    ALIVE.set(0);
    NESTED.set(0);
}

fn exceeded(what: &str) -> Error {
    Error::new(Kind::Limit, format!("the template needs more {what} than allowed"))
}

/// Takes `n` steps.
pub fn step(n: usize) -> Result<()> {
    let left = LEFT.get();
    if left < n as u64 {
        return Err(exceeded("steps"));
    }
    LEFT.set(left - n as u64);
    Ok(())
}

/// Steps of copying, reading or comparing bytes.
pub fn bytes(n: usize) -> Result<()> {
    step(n / 32 + 1)
}

/// Whether a text of this many bytes may be made.
pub fn text(n: usize) -> Result<()> {
    if n > TEXT {
        return Err(Error::new(Kind::Limit, format!("the template makes a text of {n} bytes; {TEXT} are allowed")));
    }
    bytes(n)
}

/// Memory that a value holds, given back with it.
pub struct Weight(usize);

impl Weight {
    pub fn new(n: usize) -> Result<Self> {
        let alive = ALIVE.get();
        if alive.saturating_add(n) > MEMORY {
            return Err(exceeded("memory"));
        }
        ALIVE.set(alive + n);
        Ok(Self(n))
    }

    pub fn grow(&mut self, n: usize) -> Result<()> {
        let more = Self::new(n)?;
        self.0 += n;
        std::mem::forget(more);
        Ok(())
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        // A value may outlive its run on another budget.
        ALIVE.set(ALIVE.get().saturating_sub(self.0));
    }
}

/// One level deeper, until it is dropped.
pub struct Deeper(());

impl Deeper {
    pub fn new() -> Result<Self> {
        let now = NESTED.get();
        if now >= DEPTH {
            return Err(Error::new(Kind::Limit, "the template nests its calls too deeply"));
        }
        NESTED.set(now + 1);
        Ok(Self(()))
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        NESTED.set(NESTED.get().saturating_sub(1));
    }
}
