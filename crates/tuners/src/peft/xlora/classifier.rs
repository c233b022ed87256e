//! The network that weighs the experts.

use super::XLoraConfig;
use crate::blocks::Dense;
use crate::init::Init;
use swift_tuners_nn::{Context, Param, Result, Tensor};

/// What there is to weigh.
#[derive(Clone, Copy)]
pub struct Gate {
    /// Experts.
    pub count: usize,
    /// Layers that have experts.
    pub layers: usize,
    /// Of a hidden state.
    pub width: usize,
    pub layerwise: bool,
}

/// Linear layers with ReLU and dropout between them: hidden states → scalings.
#[derive(Clone)]
pub struct Classifier {
    layers: Vec<Dense>,
    gate: Gate,
    dropout: f64,
    /// Of the softmax over experts; nothing without one.
    temperature: Option<f64>,
}

impl Classifier {
    pub fn new(c: &XLoraConfig, gate: Gate, init: &mut Init) -> Result<Self> {
        let last = if gate.layerwise { gate.count * gate.layers } else { gate.count };
        let mut widths = vec![gate.width];
        widths.extend(std::iter::repeat_n(c.xlora_size, c.xlora_depth - 1));
        widths.push(last);
        let layers = widths.windows(2).map(|w| init.dense(w[0], w[1], true)).collect::<Result<_>>()?;
        let temperature = c.enable_softmax.then_some(c.softmax_temperature);
        Ok(Self { layers, gate, dropout: c.xlora_dropout_p.0, temperature })
    }

    /// `hidden [batch, seq, width]` → `[batch, seq, layers, experts]`
    pub fn scalings(&self, cx: &Context, hidden: &Tensor) -> Result<Tensor> {
        let mut x = hidden.to_dtype(self.layers[0].weight.dtype())?;
        for (i, dense) in self.layers.iter().enumerate() {
            if i > 0 {
                x = cx.dropout(&x.relu()?, self.dropout)?;
            }
            x = dense.apply(cx, &x)?;
        }
        let Gate { count, layers, layerwise, .. } = self.gate;
        let (batch, seq) = (hidden.dim(0), hidden.dim(1));
        let logits = if layerwise {
            x.reshape((batch, seq, layers, count))?
        } else {
            x.unsqueeze(2)?.broadcast_to(&[batch, seq, layers, count])?.contiguous()?
        };
        match self.temperature {
            Some(temperature) => logits.affine(1. / temperature, 0.)?.softmax(-1),
            None => Ok(logits),
        }
    }

    /// The same for every expert, wherever it is: `[batch, seq, layers, experts]`.
    pub fn constant(&self, batch: usize, seq: usize, value: f64) -> Result<Tensor> {
        let weight = &self.layers[0].weight;
        let ones = swift_tuners_nn::Array::ones(
            (batch, seq, self.gate.layers, self.gate.count),
            weight.dtype(),
            &weight.device(),
        )?;
        Tensor::from(ones).affine(value, 0.)
    }

    /// In Python's order and with its names, which number activations and dropout, too.
    pub fn tensors(&self) -> Vec<(String, &Param)> {
        let step = if self.dropout > 0. { 3 } else { 2 };
        let mut out = Vec::new();
        for (i, dense) in self.layers.iter().enumerate() {
            let name = format!("internal_xlora_classifier.layers.{}", i * step);
            out.push((format!("{name}.weight"), &dense.weight));
            out.extend(dense.bias.iter().map(|b| (format!("{name}.bias"), b)));
        }
        out
    }
}
