//! The layers that models are made of, with `torch.nn`'s parameter names.

use crate::context::Context;
use crate::fields;
use crate::module::{Args, Module, Value, Weights};
use crate::ops::{self, Activation, Conv2dShape, WeightLayout};
use crate::param::Param;
use crate::tensor::{Array, Tensor};
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
        let w = self.weight.weight(cx.grad)?;
        let bias = self.bias.as_ref().map(|b| b.value(cx.grad)).transpose()?;
        Ok(ops::lora_linear(x, Some((&w, bias.as_ref(), self.layout)), &[])?.into())
    }

    fn weights(&self) -> Option<Weights<'_>> {
        Some(Weights::Linear { weight: &self.weight, bias: self.bias.as_ref(), layout: self.layout })
    }
}

/// `torch.nn.Embedding`; takes integers.
#[derive(Clone)]
pub struct Embedding {
    pub weight: Param,
    /// Multiplies what comes out (Gemma); 1 elsewhere.
    pub scale: f64,
}

impl Module for Embedding {
    fields!(weight);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let Value::Ints(ids) = args.get(0, "input") else {
            return Err(Error::Argument("an embedding takes integer ids".into()));
        };
        let rows = ops::embedding(&self.weight.value(cx.grad)?, &ids.data, &ids.shape)?;
        if self.scale == 1. {
            return Ok(rows.into());
        }
        // The factor is rounded to the weights' type first, as Python holds it.
        let scale = Array::new(self.scale, rows.device())?.to_dtype(rows.dtype())?;
        Ok(rows.mul(&scale.into())?.into())
    }

    fn weights(&self) -> Option<Weights<'_>> {
        Some(Weights::Embedding { weight: &self.weight, scale: self.scale })
    }
}

/// `x / rms(x) · (offset + weight)`.
#[derive(Clone)]
pub struct RmsNorm {
    pub weight: Param,
    pub eps: f64,
    /// 1 where checkpoints hold the gain's distance from one (Gemma).
    pub offset: f64,
}

impl Module for RmsNorm {
    fields!(weight);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let weight = self.weight.value(cx.grad)?;
        if self.offset == 0. {
            return Ok(ops::rms_norm(x, &weight, self.eps)?.into());
        }
        // Gemma multiplies before it rounds, Llama after.
        let wide = ops::compute_dtype(x.dtype());
        let gain = weight.to_dtype(wide)?.affine(1., self.offset)?;
        Ok(ops::rms_norm(&x.to_dtype(wide)?, &gain, self.eps)?.to_dtype(x.dtype())?.into())
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

/// `torch.nn.Conv2d`, and `torch.nn.Conv1d`.
#[derive(Clone)]
pub struct Conv2d {
    /// `[out, in / groups, height, width]`, of one dimension `[out, in / groups, kernel]`
    pub weight: Param,
    pub bias: Option<Param>,
    pub shape: Conv2dShape,
}

impl Module for Conv2d {
    fields!(weight, bias);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let bias = self.bias.as_ref().map(|p| p.value(cx.grad)).transpose()?;
        let x = args.tensor(0, "input")?;
        Ok(ops::conv2d(x, &self.weight.value(cx.grad)?, bias.as_ref(), self.shape)?.into())
    }

    fn weights(&self) -> Option<Weights<'_>> {
        Some(Weights::Conv2d { weight: &self.weight, bias: self.bias.as_ref(), shape: self.shape })
    }
}

/// `torch.nn.GroupNorm`.
#[derive(Clone)]
pub struct GroupNorm {
    pub weight: Param,
    pub bias: Param,
    pub groups: usize,
    pub eps: f64,
}

impl Module for GroupNorm {
    fields!(weight, bias);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (w, b) = (self.weight.value(cx.grad)?, self.bias.value(cx.grad)?);
        Ok(ops::group_norm(args.tensor(0, "input")?, self.groups, &w, &b, self.eps)?.into())
    }
}

/// `torch.nn.Identity`.
#[derive(Clone)]
pub struct Identity;

impl Module for Identity {
    fields!();

    fn forward(&self, _: &Context, args: &Args) -> Result<Value> {
        Ok(args.get(0, "input").clone())
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
