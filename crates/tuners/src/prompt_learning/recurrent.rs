//! `torch.nn.LSTM`, in both directions.

use crate::init::Init;
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{Context, Error, Param, Result, Tensor};

/// Long short-term memory (Hochreiter and Schmidhuber 1997) over one sequence, forwards and backwards.
pub struct Lstm {
    layers: Vec<[Direction; 2]>,
    hidden: usize,
    dropout: f64,
}

/// One direction of one layer: the gates input, forget, cell and output stand below each other.
struct Direction {
    /// `[4 hidden, in]`
    weight_ih: Param,
    /// `[4 hidden, hidden]`
    weight_hh: Param,
    /// `[4 hidden]` each
    bias_ih: Param,
    bias_hh: Param,
}

impl Lstm {
    pub fn new(width: usize, hidden: usize, layers: usize, dropout: f64, init: &mut Init) -> Result<Self> {
        let bound = 1. / (hidden as f64).sqrt();
        let mut one = |layer: usize| {
            let inputs = if layer == 0 { width } else { 2 * hidden };
            let mut drawn = |shape: &[usize]| init.uniform(shape, -bound, bound);
            Ok::<_, Error>(Direction {
                weight_ih: drawn(&[4 * hidden, inputs])?,
                weight_hh: drawn(&[4 * hidden, hidden])?,
                bias_ih: drawn(&[4 * hidden])?,
                bias_hh: drawn(&[4 * hidden])?,
            })
        };
        let layers = (0..layers).map(|l| Ok([one(l)?, one(l)?])).collect::<Result<_>>()?;
        Ok(Self { layers, hidden, dropout })
    }

    /// In Python's order.
    pub fn tensors(&self) -> Vec<(String, &Param)> {
        let mut out = Vec::new();
        for (layer, both) in self.layers.iter().enumerate() {
            for (d, end) in both.iter().zip(["", "_reverse"]) {
                let params = [&d.weight_ih, &d.weight_hh, &d.bias_ih, &d.bias_hh];
                for (name, param) in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].into_iter().zip(params) {
                    out.push((format!("lstm_head.{name}_l{layer}{end}"), param));
                }
            }
        }
        out
    }

    /// `x [seq, in]` → `[seq, 2 hidden]`
    pub fn run(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, [forwards, backwards]) in self.layers.iter().enumerate() {
            if i > 0 {
                x = cx.dropout(&x, self.dropout)?;
            }
            let there = self.direction(cx, forwards, &x, false)?;
            let back = self.direction(cx, backwards, &x, true)?;
            x = Tensor::cat(&[&there, &back], 1)?;
        }
        Ok(x)
    }

    fn direction(&self, cx: &Context, d: &Direction, x: &Tensor, reverse: bool) -> Result<Tensor> {
        let value = |p: &Param| p.value(cx.grad);
        let bias = value(&d.bias_ih)?.add(&value(&d.bias_hh)?)?;
        let inputs = ops::linear(x, &value(&d.weight_ih)?, Some(&bias), WeightLayout::OutIn)?; // [seq, 4 hidden]
        let (weight, n, seq) = (value(&d.weight_hh)?, self.hidden, x.dim(0));
        let mut states: Vec<Tensor> = Vec::with_capacity(seq);
        let mut memory: Option<(Tensor, Tensor)> = None;
        for step in 0..seq {
            let at = if reverse { seq - 1 - step } else { step };
            let mut gates = inputs.narrow(0, at, 1)?;
            if let Some((state, _)) = &memory {
                gates = gates.add(&ops::linear(state, &weight, None, WeightLayout::OutIn)?)?;
            }
            let gate = |i: usize| gates.narrow(1, i * n, n)?.contiguous();
            let mut cell = gate(0)?.sigmoid()?.mul(&gate(2)?.tanh()?)?;
            if let Some((_, before)) = &memory {
                cell = cell.add(&gate(1)?.sigmoid()?.mul(before)?)?;
            }
            let state = gate(3)?.sigmoid()?.mul(&cell.tanh()?)?;
            states.push(state.clone());
            memory = Some((state, cell));
        }
        if reverse {
            states.reverse();
        }
        Tensor::cat(&states.iter().collect::<Vec<_>>(), 0)
    }
}
