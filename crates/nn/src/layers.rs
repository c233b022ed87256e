//! The layers that models are made of, with `torch.nn`'s parameter names.

use crate::context::Context;
use crate::fields;
use crate::module::{Args, Module, Value, Weights};
use crate::ops::{self, Activation, WeightLayout};
use crate::param::Param;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// `torch.nn.Linear`, or GPT-2's `Conv1D` when the weight lies `[in, out]`.
#[derive(Clone)]
pub struct Linear {
    pub weight: Param,
    pub bias: Option<Param>,
    pub layout: WeightLayout,
}

impl Module for Linear {
    fields!(weight, bias);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "input")?;
        let w = self.weight.value(cx.grad)?;
        let bias = self.bias.as_ref().map(|b| b.value(cx.grad)).transpose()?;
        Ok(ops::linear(x, &w, bias.as_ref(), self.layout)?.into())
    }

    fn weights(&self) -> Option<Weights<'_>> {
        Some(Weights::Linear { weight: &self.weight, bias: self.bias.as_ref(), layout: self.layout })
    }
}

/// `torch.nn.Embedding`; takes integers.
#[derive(Clone)]
pub struct Embedding {
    pub weight: Param,
}

impl Module for Embedding {
    fields!(weight);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let Value::Ints(ids) = args.get(0, "input") else {
            return Err(Error::Argument("an embedding takes integer ids".into()));
        };
        Ok(ops::embedding(&self.weight.value(cx.grad)?, &ids.data, &ids.shape)?.into())
    }

    fn weights(&self) -> Option<Weights<'_>> {
        Some(Weights::Embedding { weight: &self.weight })
    }
}

/// `x / rms(x) · weight`.
#[derive(Clone)]
pub struct RmsNorm {
    pub weight: Param,
    pub eps: f64,
}

impl Module for RmsNorm {
    fields!(weight);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        Ok(ops::rms_norm(args.tensor(0, "hidden_states")?, &self.weight.value(cx.grad)?, self.eps)?.into())
    }
}

/// `torch.nn.LayerNorm` over the last dimension.
#[derive(Clone)]
pub struct LayerNorm {
    pub weight: Param,
    pub bias: Param,
    pub eps: f64,
}

impl Module for LayerNorm {
    fields!(weight, bias);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (w, b) = (self.weight.value(cx.grad)?, self.bias.value(cx.grad)?);
        Ok(ops::layer_norm(args.tensor(0, "input")?, &w, &b, self.eps)?.into())
    }
}

/// `torch.nn.Conv2d` whose kernel equals its stride, as patch embeddings use it: a product over unfolded patches.
#[derive(Clone)]
pub struct PatchConv2d {
    /// `[out, in, size, size]`
    pub weight: Param,
    pub bias: Option<Param>,
}

impl Module for PatchConv2d {
    fields!(weight, bias);

    /// `[batch, in, height, width]` → `[batch, out, height / size, width / size]`
    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "input")?;
        let w = self.weight.value(cx.grad)?;
        let (&[b, c, h, wd], &[out, inp, kh, kw]) = (x.dims(), w.dims()) else {
            return Err(Error::Argument(format!("conv2d: expected [batch, in, height, width], found {:?}", x.dims())));
        };
        if c != inp || h < kh || wd < kw {
            return Err(Error::Shape {
                path: "conv2d input".into(),
                expected: vec![b, inp, h, wd],
                actual: x.dims().to_vec(),
            });
        }
        let (rows, cols) = (h / kh, wd / kw);
        let x = x.narrow(2, 0, rows * kh)?.narrow(3, 0, cols * kw)?;
        let patches = x
            .reshape((b, c, rows, kh, cols * kw))?
            .reshape(vec![b, c, rows, kh, cols, kw])?
            .permute(&[0, 2, 4, 1, 3, 5])?
            .contiguous()?
            .reshape((b, rows * cols, c * kh * kw))?;
        let bias = self.bias.as_ref().map(|p| p.value(cx.grad)).transpose()?;
        let y = ops::linear(&patches, &w.reshape((out, c * kh * kw))?, bias.as_ref(), WeightLayout::OutIn)?;
        Ok(y.transpose(1, 2)?.contiguous()?.reshape((b, out, rows, cols))?.into())
    }
}

/// `torch.nn.Dropout`: no parameters, acts in training.
#[derive(Clone)]
pub struct Dropout {
    pub rate: f64,
}

impl Module for Dropout {
    fields!();

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        Ok(cx.dropout(args.tensor(0, "input")?, self.rate)?.into())
    }
}

/// An activation as a module (`act_fn`, `gelu`), so that tuners can be attached to it.
#[derive(Clone)]
pub struct Act(pub Activation);

impl Module for Act {
    fields!();

    fn forward(&self, _: &Context, args: &Args) -> Result<Value> {
        Ok(self.0.forward(args.tensor(0, "input")?)?.into())
    }
}

/// Mean squared error over all elements, as a scalar.
pub fn mse(output: &Tensor, target: &Tensor) -> Result<Tensor> {
    if output.dims() != target.dims() {
        return Err(Error::Shape {
            path: "target".into(),
            expected: output.dims().to_vec(),
            actual: target.dims().to_vec(),
        });
    }
    output.sub(&target.to_dtype(output.dtype())?)?.sqr()?.mean(None, false)
}
