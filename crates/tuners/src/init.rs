//! First values, drawn as PyTorch's CPU generator draws them.

use candle_core::{DType, Device};
use std::collections::HashMap;
use swift_tuners_nn::context::mix;
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::ops::compute_dtype;
use swift_tuners_nn::{Array, Error, Model, Param, Result};

/// What the adapters of one call draw their first values from, one after the other, as Python does after
/// `torch.manual_seed(seed)`.
pub struct Init {
    from: From,
    /// Of new parameters: the model's, or f32 where that is narrower.
    pub dtype: DType,
    pub device: Device,
    /// The tokens of texts that adapters start from.
    pub texts: HashMap<String, Vec<i64>>,
}

enum From {
    /// Values are made as they are asked for.
    Seed(Box<Generator>),
    /// A checkpoint will replace them: a value is made only where it did not, from a generator of its own.
    Later { seed: u64, made: u64 },
}

impl Init {
    pub fn new(model: &Model, seed: u64) -> Self {
        Self::on(model, From::Seed(Box::new(Generator::new(seed))))
    }

    /// For parameters that a checkpoint replaces.
    pub fn later(model: &Model, seed: u64) -> Self {
        Self::on(model, From::Later { seed, made: 0 })
    }

    fn on(model: &Model, from: From) -> Self {
        Self { from, dtype: compute_dtype(model.dtype), device: model.device.clone(), texts: HashMap::new() }
    }

    /// What Python draws and throws away, such as the values of a constructor that an initialisation replaces.
    pub fn discard<T>(&mut self, draw: impl FnOnce(&mut Generator) -> Result<T>) -> Result<()> {
        match &mut self.from {
            From::Seed(generator) => draw(generator).map(|_| ()),
            From::Later { .. } => Ok(()),
        }
    }

    /// A value that is needed at once.
    pub fn draw<T>(&mut self, draw: impl FnOnce(&mut Generator) -> Result<T>) -> Result<T> {
        match &mut self.from {
            From::Seed(generator) => draw(generator),
            From::Later { seed, made } => {
                *made += 1;
                draw(&mut Generator::new(mix(*seed, *made)))
            }
        }
    }

    /// A trained parameter of this shape and [`Init::dtype`]; `draw` gives its values in f32.
    pub fn param(
        &mut self,
        shape: &[usize],
        draw: impl Fn(&mut Generator) -> Result<Array> + Send + Sync + 'static,
    ) -> Result<Param> {
        match &mut self.from {
            From::Seed(generator) => {
                let value = draw(generator)?.reshape(shape)?;
                Ok(Param::new(value.to_dtype(self.dtype)?.to_device(&self.device)?, true))
            }
            From::Later { seed, made } => {
                *made += 1;
                let (seed, of) = (mix(*seed, *made), shape.to_vec());
                Ok(Param::pending(shape, self.dtype, &self.device, true, move || {
                    Ok(draw(&mut Generator::new(seed))?.reshape(of.as_slice())?)
                }))
            }
        }
    }

    /// What `draw` gives, where it is no array.
    pub fn drawn<T>(&mut self, draw: impl FnOnce(&mut Generator) -> Result<T>) -> Result<T> {
        match &mut self.from {
            From::Seed(generator) => draw(generator),
            From::Later { seed, made } => {
                *made += 1;
                draw(&mut Generator::new(mix(*seed, *made)))
            }
        }
    }

    /// The tokens of a text, which the caller has read with its tokenizer. One is enough where a checkpoint replaces them.
    pub fn tokens(&self, text: &str) -> Result<Vec<i64>> {
        match (self.texts.get(text), &self.from) {
            (Some(ids), _) => Ok(ids.clone()),
            (None, From::Later { .. }) => Ok(vec![0]),
            (None, _) => Err(Error::config("tokenizer_name_or_path", "the text has not been read with its tokenizer")),
        }
    }

    /// What is computed of the base and not trained: a checkpoint may hold it.
    pub fn derived(
        &mut self,
        shape: &[usize],
        make: impl Fn() -> Result<Array> + Send + Sync + 'static,
    ) -> Result<Param> {
        let param = Param::pending(shape, self.dtype, &self.device, false, make);
        if matches!(self.from, From::Seed(_)) {
            param.settle()?;
        }
        Ok(param)
    }

    /// The same value everywhere. Where a checkpoint replaces it, memory is taken when its tensor has been compared with the shape: sizes
    /// are what a file claims.
    pub fn constant(&mut self, shape: &[usize], value: f64) -> Result<Param> {
        let of = shape.to_vec();
        let make = move || -> Result<Array> { Ok(Array::full(value as f32, of.as_slice(), &Device::Cpu)?) };
        match &self.from {
            From::Seed(_) => Ok(Param::new(make()?.to_dtype(self.dtype)?.to_device(&self.device)?, true)),
            From::Later { .. } => Ok(Param::pending(shape, self.dtype, &self.device, true, make)),
        }
    }

    /// A number for random values that Python does not draw from its generator.
    pub fn seed(&mut self) -> u64 {
        match &mut self.from {
            From::Seed(generator) => u64::from(generator.u32()),
            From::Later { seed, made } => {
                *made += 1;
                mix(*seed, *made)
            }
        }
    }
}
