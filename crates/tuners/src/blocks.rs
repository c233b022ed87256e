//! The small networks that tuners are made of.

use crate::init::Init;
use candle_core::DType;
use swift_tuners_nn::module::{Args, Next, Own, Tuner, Value, Visitor};
use swift_tuners_nn::ops::{self, Activation, WeightLayout};
use swift_tuners_nn::{Context, Error, Param, Result, Tensor};

impl Init {
    pub fn uniform(&mut self, shape: &[usize], from: f64, to: f64) -> Result<Param> {
        let of = shape.to_vec();
        self.param(shape, move |g| g.uniform(&of, from, to))
    }

    pub fn normal(&mut self, shape: &[usize], deviation: f64) -> Result<Param> {
        let of = shape.to_vec();
        self.param(shape, move |g| g.normal(&of, 0., deviation))
    }

    /// PyTorch's default for layers with a weight of this shape: uniform in ±1 / √fan_in, which `nn.Linear` draws, and its
    /// convolutions do.
    pub fn kaiming(&mut self, shape: &[usize]) -> Result<Param> {
        let of = shape.to_vec();
        self.param(shape, move |g| g.kaiming_uniform(&of, 5f64.sqrt()))
    }

    /// `torch.nn.Embedding`.
    pub fn embedding(&mut self, rows: usize, width: usize) -> Result<Param> {
        self.param(&[rows, width], move |g| g.embedding(rows, width, None))
    }

    /// `torch.nn.Linear`.
    pub fn dense(&mut self, inp: usize, out: usize, bias: bool) -> Result<Dense> {
        let weight = self.kaiming(&[out, inp])?;
        let bound = 1. / (inp as f64).sqrt();
        let bias = if bias { Some(self.uniform(&[out], -bound, bound)?) } else { None };
        Ok(Dense { weight, bias })
    }

    /// What the constructor of a linear layer draws, for one whose values an initialisation replaces.
    pub fn discard_dense(&mut self, inp: usize, out: usize, bias: bool) -> Result<()> {
        self.discard_uniforms(out * inp + if bias { out } else { 0 })
    }

    /// `count` values of constructors, which draw uniformly.
    pub fn discard_uniforms(&mut self, count: usize) -> Result<()> {
        self.discard(|g| {
            g.skip_uniforms(count);
            Ok(())
        })
    }

    /// A linear layer with Xavier uniform weights and biases that are nearly zero.
    pub fn xavier_dense(&mut self, inp: usize, out: usize) -> Result<Dense> {
        Ok(Dense { weight: self.xavier(inp, out)?, bias: Some(self.normal(&[out], 1e-6)?) })
    }

    /// A linear layer that starts at zero.
    pub fn zero_dense(&mut self, inp: usize, out: usize) -> Result<Dense> {
        Ok(Dense { weight: self.constant(&[out, inp], 0.)?, bias: Some(self.constant(&[out], 0.)?) })
    }

    /// Xavier uniform weights.
    pub fn xavier(&mut self, inp: usize, out: usize) -> Result<Param> {
        self.param(&[out, inp], move |g| g.xavier_uniform(&[out, inp], 1.))
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
