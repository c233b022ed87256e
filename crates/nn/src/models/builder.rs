//! Modules made at their paths while a model is built.

use super::quantization::Quantization;
use super::source::{Init, Source};
use crate::module::Node;
use crate::ops::{Activation, Conv2dShape};
use crate::param::Param;
use crate::{layers, Error, Result};
use candle_core::{DType, Device};

/// Makes modules at a path, with values from a checkpoint or from a generator.
pub(crate) struct Builder<'a> {
    pub source: &'a dyn Source,
    pub path: String,
    pub dtype: DType,
    pub device: Device,
    /// `initializer_range`
    pub deviation: f64,
    pub quantization: Option<&'a Quantization>,
}

impl<'a> Builder<'a> {
    pub fn at(&self, name: impl std::fmt::Display) -> Builder<'a> {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Builder { path, device: self.device.clone(), ..*self }
    }

    pub fn at_self(&self) -> Builder<'a> {
        Builder { path: self.path.clone(), device: self.device.clone(), ..*self }
    }

    /// Whether the checkpoint has a tensor of that name here.
    pub fn has(&self, name: &str) -> bool {
        self.source.has(&if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) })
    }

    pub fn param(&self, name: &str, shape: &[usize], init: Init) -> Result<Param> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        if let Some(make) = self.source.deferred(&path, shape, init)? {
            return Ok(Param::pending(shape, self.dtype, &self.device, true, make));
        }
        let array = self.source.get(&path, shape, init)?;
        Ok(Param::new(array.to_dtype(self.dtype)?.to_device(&self.device)?, true))
    }

    pub fn linear(&self, inp: usize, out: usize, bias: bool) -> Result<Node> {
        let weight = self.param("weight", &[out, inp], Init::Normal(self.deviation))?;
        if let Some(quantization) = self.quantization.filter(|q| !q.skips(&self.path)) {
            weight.pack(quantization.packing)?;
        }
        let bias = if bias { Some(self.param("bias", &[out], Init::Zeros)?) } else { None };
        Ok(Node::new(layers::Linear { weight, bias, layout: crate::ops::WeightLayout::OutIn }))
    }

    pub fn conv1d(&self, inp: usize, out: usize) -> Result<Node> {
        if self.quantization.is_some_and(|q| !q.skips(&self.path)) {
            let message = format!("{}: weights that lie [in, out] are not packed; put it in skipModules", self.path);
            return Err(Error::config("quantization", message));
        }
        let weight = self.param("weight", &[inp, out], Init::Normal(self.deviation))?;
        let bias = Some(self.param("bias", &[out], Init::Zeros)?);
        Ok(Node::new(layers::Linear { weight, bias, layout: crate::ops::WeightLayout::InOut }))
    }

    pub fn embedding(&self, rows: usize, width: usize) -> Result<(Node, Param)> {
        let weight = self.param("weight", &[rows, width], Init::Normal(self.deviation))?;
        Ok((Node::new(layers::Embedding { weight: weight.clone(), scale: 1. }), weight))
    }

    pub fn rms_norm(&self, width: usize, eps: f64) -> Result<Node> {
        Ok(Node::new(layers::RmsNorm { weight: self.param("weight", &[width], Init::Ones)?, eps, offset: 0. }))
    }

    pub fn conv2d(&self, inp: usize, out: usize, kernel: usize, bias: bool, shape: Conv2dShape) -> Result<Node> {
        self.convolution(&[out, inp / shape.groups.max(1), kernel, kernel], bias, shape)
    }

    /// Of a kernel `[out, in / groups, ..]` of one or two dimensions.
    pub fn convolution(&self, kernel: &[usize], bias: bool, shape: Conv2dShape) -> Result<Node> {
        let weight = self.param("weight", kernel, Init::Normal(self.deviation))?;
        let bias = if bias { Some(self.param("bias", &kernel[..1], Init::Zeros)?) } else { None };
        Ok(Node::new(layers::Conv2d { weight, bias, shape }))
    }

    pub fn group_norm(&self, groups: usize, channels: usize, eps: f64) -> Result<Node> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::config(
                "config.json: norm_num_groups",
                format!("{groups} groups do not divide {channels} channels"),
            ));
        }
        let weight = self.param("weight", &[channels], Init::Ones)?;
        Ok(Node::new(layers::GroupNorm { weight, bias: self.param("bias", &[channels], Init::Zeros)?, groups, eps }))
    }

    pub fn layer_norm(&self, width: usize, eps: f64) -> Result<Node> {
        let weight = self.param("weight", &[width], Init::Ones)?;
        Ok(Node::new(layers::LayerNorm { weight, bias: self.param("bias", &[width], Init::Zeros)?, eps }))
    }
}

pub(super) fn dropout(rate: f64) -> Node {
    Node::new(layers::Dropout { rate })
}

pub(super) fn activation(act: Activation) -> Node {
    Node::new(layers::Act(act))
}
