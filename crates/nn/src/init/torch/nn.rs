//! `torch.nn.init`, and what the constructors of `torch.nn`'s layers draw.

use super::Generator;
use crate::linalg::unique_q;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::Device;

/// `torch.nn.init`, with the fan of a weight `[out, in, kernel..]`.
impl Generator {
    /// Uniform in `±√3 σ` with `σ = √(2 / (1 + a²)) / √fan_in`.
    ///
    /// He et al. 2015 (arXiv 1502.01852), for a leaky ReLU of slope `a`; `√5` is what PyTorch's layers start with.
    pub fn kaiming_uniform(&mut self, shape: &[usize], a: f64) -> Result<Array> {
        let bound = 3f64.sqrt() * kaiming(shape, a)?;
        self.uniform(shape, -bound, bound)
    }

    /// Normal with `σ = √(2 / (1 + a²)) / √fan_in`.
    pub fn kaiming_normal(&mut self, shape: &[usize], a: f64) -> Result<Array> {
        let std = kaiming(shape, a)?;
        self.normal(shape, 0., std)
    }

    /// Uniform in `±√3 σ` with `σ = gain √(2 / (fan_in + fan_out))`.
    ///
    /// Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".
    pub fn xavier_uniform(&mut self, shape: &[usize], gain: f64) -> Result<Array> {
        let bound = 3f64.sqrt() * xavier(shape, gain)?;
        self.uniform(shape, -bound, bound)
    }

    /// Normal with `σ = gain √(2 / (fan_in + fan_out))`.
    pub fn xavier_normal(&mut self, shape: &[usize], gain: f64) -> Result<Array> {
        let std = xavier(shape, gain)?;
        self.normal(shape, 0., std)
    }

    /// Normal, with everything drawn anew until nothing is outside `[low, high]`; what is inside stays.
    ///
    /// Fails with [`Error::Argument`] where 30 % or less of the distribution is inside, which PyTorch draws in another way.
    /// Earlier releases inverted the distribution function instead.
    pub fn trunc_normal(&mut self, shape: &[usize], mean: f64, std: f64, low: f64, high: f64) -> Result<Array> {
        let below = |x: f64| (1. + candle_core::cpu::erf::erf_f64((x - mean) / std / 2f64.sqrt())) / 2.;
        if below(high) - below(low) <= 0.3 {
            return Err(Error::Argument(format!(
                "trunc_normal: 30 % or less of a normal distribution with mean {mean} and deviation {std} is in [{low}, {high}]"
            )));
        }
        let inside = low as f32..=high as f32;
        let count = shape.iter().product();
        let mut values = self.normals(count, mean, std);
        while !values.iter().all(|v| inside.contains(v)) {
            for (value, new) in values.iter_mut().zip(self.normals(count, mean, std)) {
                if !inside.contains(value) {
                    *value = new;
                }
            }
        }
        super::array(values, shape)
    }

    /// `gain` times orthonormal rows or columns, whichever are fewer, of `[out, in · kernel..]`: normal values, whose QR
    /// decomposition is made unique by a positive diagonal of R. Equal to 1e-6.
    ///
    /// Saxe et al. 2013 (arXiv 1312.6120).
    pub fn orthogonal(&mut self, shape: &[usize], gain: f64) -> Result<Array> {
        let columns = fan_in(shape)? as usize;
        let rows = shape[0];
        let x = self.randn(&[rows, columns])?;
        let q = (unique_q(&if rows < columns { x.t()? } else { x })? * gain)?;
        Ok(if rows < columns { q.t()? } else { q }.reshape(shape)?)
    }
}

/// The layers of `torch.nn` as their constructors leave them.
impl Generator {
    /// `nn.Linear(inputs, outputs, bias)`: the weight `[outputs, inputs]`, then the bias `[outputs]`.
    pub fn linear(&mut self, inputs: usize, outputs: usize, bias: bool) -> Result<(Array, Option<Array>)> {
        self.layer(&[outputs, inputs], bias)
    }

    /// A linear layer or a convolution (`nn.Conv1d`, `nn.Conv2d`, ..) whose weight has the shape
    /// `[outputs, inputs / groups, kernel..]`: the weight Kaiming uniform with `a = √5`, then the bias uniform in
    /// `±1 / √fan_in`.
    pub fn layer(&mut self, shape: &[usize], bias: bool) -> Result<(Array, Option<Array>)> {
        let weight = self.kaiming_uniform(shape, 5f64.sqrt())?;
        let bound = 1. / fan_in(shape)?.sqrt();
        let bias = if bias { Some(self.uniform(&shape[..1], -bound, bound)?) } else { None };
        Ok((weight, bias))
    }

    /// `nn.Embedding(rows, width, padding_idx)`: standard normal, the row `padding` zero.
    pub fn embedding(&mut self, rows: usize, width: usize, padding: Option<usize>) -> Result<Array> {
        let weight = self.randn(&[rows, width])?;
        match padding {
            Some(row) => {
                let zeros = Array::zeros((1, width), weight.dtype(), &Device::Cpu)?;
                Ok(weight.slice_scatter(&zeros, 0, row)?)
            }
            None => Ok(weight),
        }
    }
}

/// Inputs of one output.
fn fan_in(shape: &[usize]) -> Result<f64> {
    if shape.len() < 2 {
        return Err(Error::Argument(format!("the fan of a weight of shape {shape:?} is not defined")));
    }
    Ok(shape[1..].iter().product::<usize>() as f64)
}

fn kaiming(shape: &[usize], a: f64) -> Result<f64> {
    Ok((2. / (1. + a * a)).sqrt() / fan_in(shape)?.sqrt())
}

fn xavier(shape: &[usize], gain: f64) -> Result<f64> {
    let inputs = fan_in(shape)?;
    let outputs = (shape[0] * shape[2..].iter().product::<usize>()) as f64;
    Ok(gain * (2. / (inputs + outputs)).sqrt())
}
