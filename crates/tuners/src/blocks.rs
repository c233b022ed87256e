//! The small networks that tuners are made of.

use candle_core::{DType, Device};
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::module::{Args, Next, Own, Tuner, Value, Visitor};
use swift_tuners_nn::ops::{self, compute_dtype, Activation, WeightLayout};
use swift_tuners_nn::{Array, Context, Error, Model, Param, Result, Tensor};

/// Makes a tuner's first values: in the model's compute type, on its device, from a seed and the tuner's place.
pub struct Init {
    rng: Rng,
    pub dtype: DType,
    pub device: Device,
}

impl Init {
    pub fn new(model: &Model, seed: u64, path: &str) -> Self {
        let seed = path.bytes().fold(seed, |s, b| swift_tuners_nn::context::mix(s, u64::from(b)));
        Self { rng: Rng::new(seed), dtype: compute_dtype(model.dtype), device: model.device.clone() }
    }

    pub fn uniform(&mut self, shape: &[usize], bound: f64) -> Result<Param> {
        Ok(Param::new(self.rng.uniform_array(shape, bound, self.dtype, &self.device)?, true))
    }

    pub fn normal(&mut self, shape: &[usize], deviation: f64) -> Result<Param> {
        Ok(Param::new(self.rng.normal_array(shape, deviation, self.dtype, &self.device)?, true))
    }

    pub fn constant(&mut self, shape: &[usize], value: f64) -> Result<Param> {
        let array = Array::full(value as f32, shape, &Device::Cpu)?.to_dtype(self.dtype)?.to_device(&self.device)?;
        Ok(Param::new(array, true))
    }

    /// PyTorch's default: everything uniform in ±1 / sqrt(in).
    pub fn dense(&mut self, inp: usize, out: usize, bias: bool) -> Result<Dense> {
        let bound = 1. / (inp as f64).sqrt();
        let weight = self.uniform(&[out, inp], bound)?;
        let bias = if bias { Some(self.uniform(&[out], bound)?) } else { None };
        Ok(Dense { weight, bias })
    }

    /// Xavier uniform weights, biases that are nearly zero.
    pub fn xavier(&mut self, inp: usize, out: usize) -> Result<Dense> {
        let weight = self.uniform(&[out, inp], (6. / (inp + out) as f64).sqrt())?;
        Ok(Dense { weight, bias: Some(self.normal(&[out], 1e-6)?) })
    }

    pub fn zeros(&mut self, inp: usize, out: usize) -> Result<Dense> {
        Ok(Dense { weight: self.constant(&[out, inp], 0.)?, bias: Some(self.constant(&[out], 0.)?) })
    }
}

/// `torch.nn.Linear` inside of a tuner.
#[derive(Clone)]
pub struct Dense {
    pub weight: Param,
    pub bias: Option<Param>,
}

impl Dense {
    pub fn apply(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|b| b.value(cx.grad)).transpose()?;
        ops::linear(x, &self.weight.value(cx.grad)?, bias.as_ref(), WeightLayout::OutIn)
    }

    /// Its parameters under `name.weight` and `name.bias`.
    pub fn params(&self, name: &str) -> Vec<(String, Param)> {
        let weight = (format!("{name}.weight"), self.weight.clone());
        std::iter::once(weight).chain(self.bias.iter().map(|b| (format!("{name}.bias"), b.clone()))).collect()
    }
}

/// Down, activation, up.
#[derive(Clone)]
pub struct Bottleneck {
    pub down: Dense,
    pub up: Dense,
    pub act: Activation,
}

impl Bottleneck {
    pub fn apply(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        self.up.apply(cx, &self.act.forward(&self.down.apply(cx, x)?)?)
    }

    pub fn params(&self, names: [&str; 2]) -> Vec<(String, Param)> {
        let mut out = self.down.params(names[0]);
        out.extend(self.up.params(names[1]));
        out
    }

    pub fn dtype(&self) -> DType {
        self.down.weight.dtype()
    }
}

/// Runs `f` on `[batch, positions, channels]`: images `[batch, channels, height, width]` are unfolded for it and folded back,
/// everything else goes in as it is.
pub fn over_channels(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let &[batch, channels, height, width] = x.dims() else {
        return f(x);
    };
    let y = f(&x.reshape((batch, channels, height * width))?.transpose(1, 2)?.contiguous()?)?;
    y.transpose(1, 2)?.contiguous()?.reshape((batch, y.last_dim(), height, width))
}

/// Notes what a module takes in or gives out, detached, for tuners of the same adapter further on.
#[derive(Clone)]
pub struct Probe {
    pub own: Own,
    /// The value's place among the adapter's taps.
    pub at: usize,
    /// What the module gives out; otherwise its first argument.
    pub output: bool,
}

impl Tuner for Probe {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let note = |value: &Value| -> Result<()> {
            cx.put_tap(self.own.adapter, self.at, value.clone().into_tensor()?.detach().into());
            Ok(())
        };
        if self.output {
            let value = next.run(cx, args)?;
            note(&value)?;
            return Ok(value);
        }
        match args.positional.first() {
            Some(first) => note(first)?,
            None => return Err(Error::Argument("a probed module is called without positional arguments".into())),
        }
        next.run(cx, args)
    }

    fn visit<'a>(&'a self, _: &mut dyn Visitor<'a>) {}

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}
