//! What LoHa and LoKr share (PEFT's `lycoris_utils`, after the LyCORIS library).

use crate::site::Call;
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::{Array, Param, Result, Tensor};

/// A matrix in two factors: `a b`, or of a convolution with cores `Σ t[i,j,..] a[i,·] b[j,·]` (proposition 3 of FedPara).
#[derive(Clone)]
pub struct Factored {
    /// `[out, r]`, with a core `[r, out]`
    pub a: Param,
    /// `[r, in]`
    pub b: Param,
    /// `[r, r, height, width]`, of one dimension `[r, r, kernel, 1]`
    pub core: Option<Param>,
}

impl Factored {
    /// `[out, in]`, of a convolution `[out, in · height · width]`.
    pub fn matrix(&self, call: &Call<'_>) -> Result<Tensor> {
        let (a, b) = (call.value(&self.a)?, call.value(&self.b)?);
        let Some(core) = &self.core else { return a.matmul(&b) };
        let t = call.value(core)?;
        let (r, taps, out, inp) = (t.dim(0), t.dims()[2..].iter().product(), a.dim(1), b.dim(1));
        // [r, out]ᵀ [r, r taps] → [out, r, taps], then the second mode of it.
        let first = a.transpose(0, 1)?.contiguous()?.matmul(&t.reshape((r, r * taps))?)?;
        let first = first.reshape((out, r, taps))?.transpose(1, 2)?.contiguous()?.reshape((out * taps, r))?;
        let second = first.matmul(&b)?.reshape((out, taps, inp))?;
        second.transpose(1, 2)?.contiguous()?.reshape((out, inp * taps))
    }
}

/// Of a core for a kernel of two dimensions, or one: Python then has another one of 1.
pub fn core_shape(r: usize, kernel: &[usize]) -> Vec<usize> {
    let last = if kernel.len() == 1 { &[1][..] } else { &[] };
    [&[r, r], kernel, last].concat()
}

/// What is left out of an update in training.
#[derive(Clone, Copy)]
pub struct Dropouts {
    /// Chance of each output.
    pub rank: f64,
    /// Whether the outputs that stay are scaled by their share.
    pub scale: bool,
    /// Chance of the whole layer.
    pub module: f64,
}

impl Dropouts {
    /// Whether this layer's update is left out of this pass.
    pub fn skip(&self, call: &Call<'_>) -> bool {
        call.training() && self.module > 0. && Rng::new(call.cx.next_seed()).uniform() <= self.module
    }

    /// A factor `[outputs]` in the type of `like`, or nothing where all outputs stay as they are.
    pub fn outputs(&self, call: &Call<'_>, like: &Tensor) -> Result<Option<Tensor>> {
        if !call.training() || self.rank == 0. {
            return Ok(None);
        }
        let (n, mut rng) = (call.site.outputs, Rng::new(call.cx.next_seed()));
        let mut kept: Vec<f32> = (0..n).map(|_| f32::from(u8::from(rng.uniform() > self.rank))).collect();
        if self.scale {
            let share = (kept.iter().sum::<f32>() / n as f32).max(f32::MIN_POSITIVE);
            kept.iter_mut().for_each(|k| *k /= share);
        }
        let mask = Array::from_vec(kept, n, &candle_core::Device::Cpu)?;
        Ok(Some(mask.to_dtype(like.dtype())?.to_device(like.device())?.into()))
    }
}
