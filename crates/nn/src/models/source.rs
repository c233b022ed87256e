//! Where a model's parameters come from while it is built.

use crate::init::Rng;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device};

/// How a fresh parameter starts.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    Normal(f64),
    Zeros,
    Ones,
}

/// Gives a value whenever it is called.
pub type Make = Box<dyn Fn() -> Result<Array> + Send + Sync>;

pub trait Source {
    /// The value of a parameter, in the stored dtype, on the CPU.
    fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Array>;

    /// How to read the value later, for sources that leave values where they are.
    fn deferred(&self, _name: &str, _shape: &[usize], _init: Init) -> Result<Option<Make>> {
        Ok(None)
    }

    /// Whether there is a stored value of that name.
    fn has(&self, _name: &str) -> bool {
        false
    }
}

/// Fresh values; each parameter's depend on the seed and its name only.
pub struct Random {
    pub seed: u64,
}

impl Source for Random {
    fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Array> {
        let count: usize = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
        if count > 1 << 34 {
            return Err(Error::config("config.json", format!("{name} would have {shape:?} elements")));
        }
        let mut seed = self.seed;
        for byte in name.bytes() {
            seed = crate::context::mix(seed, u64::from(byte));
        }
        Ok(match init {
            Init::Normal(deviation) => Rng::new(seed).normal_array(shape, deviation, DType::F32, &Device::Cpu)?,
            Init::Zeros => Array::zeros(shape, DType::F32, &Device::Cpu)?,
            Init::Ones => Array::ones(shape, DType::F32, &Device::Cpu)?,
        })
    }
}

/// Values that are made where they are used: constants, and zeros where somebody else draws.
pub struct Blank;

impl Source for Blank {
    fn get(&self, _: &str, shape: &[usize], init: Init) -> Result<Array> {
        constant(shape, init)
    }

    fn deferred(&self, _: &str, shape: &[usize], init: Init) -> Result<Option<Make>> {
        let shape = shape.to_vec();
        Ok(Some(Box::new(move || constant(&shape, init))))
    }

    fn has(&self, _: &str) -> bool {
        true
    }
}

fn constant(shape: &[usize], init: Init) -> Result<Array> {
    Ok(match init {
        Init::Ones => Array::ones(shape, DType::F32, &Device::Cpu)?,
        Init::Zeros | Init::Normal(_) => Array::zeros(shape, DType::F32, &Device::Cpu)?,
    })
}
