//! DoRA: the direction of the weight by LoRA, its magnitude by a parameter of its own.
//!
//! Liu et al. 2024 (arXiv 2402.09353); PEFT's `DoraLinearVariant` and its relatives. `W' = m / ‖W + s B A‖ (W + s B A)`, the norm of
//! each output being a constant for the gradient (section 4.3).

use super::adapter::Lora;
use super::variant::Variant;
use crate::layer::add_wide;
use crate::site::{Call, Input, Site};
use candle_core::DType;
use swift_tuners_nn::module::Weights;
use swift_tuners_nn::ops;
use swift_tuners_nn::{Array, Context, Param, Result, Tensor};

impl Lora {
    pub(super) fn magnitude(&self) -> Option<&Param> {
        match &self.variant {
            Variant::Dora(magnitude) => Some(magnitude),
            _ => None,
        }
    }

    /// The norms that the layer has now, so that DoRA starts as the layer it tunes.
    pub(super) fn first_magnitude(&self, site: &Site, dtype: DType) -> Result<Param> {
        let shape = match site.kernel() {
            Some(kernel) => [vec![1, site.outputs], vec![1; kernel.len()]].concat(),
            None => vec![site.outputs],
        };
        let (of, site_, lora) = (shape.clone(), site.clone(), self.clone());
        Ok(Param::pending(&shape, dtype, &site.device, true, move || {
            let norms = lora.norms(&site_.matrix()?)?;
            Ok(norms.reshape(of.as_slice())?)
        }))
    }

    /// `‖w + s B A‖` per output, `[out]`.
    fn norms(&self, w: &Array) -> Result<Array> {
        let (a, b) = self.matrices(w)?;
        ops::updated_row_norms(w, &a, &b, self.scaling)
    }

    /// `m / ‖W + s B A‖`, shaped as m.
    fn factor(&self, cx: &Context, magnitude: &Param, weights: &Weights<'_>) -> Result<Tensor> {
        let norms = self.norms(&weights.matrix()?)?;
        let m = magnitude.value(cx.grad)?;
        let norms: Tensor = norms.to_dtype(m.dtype())?.reshape(m.dims())?.into();
        m.div(&norms)
    }

    /// What the base layer gives without its bias: over the dropped input where something was dropped.
    fn without_bias(&self, call: &Call<'_>, dropped: &Input, y: &Tensor) -> Result<Tensor> {
        let cx = call.cx;
        match (dropped, call.site.convolution(), call.weights) {
            (Input::Tensor(x), None, Weights::Linear { weight, layout, .. }) if self.drops(cx) => {
                ops::linear(x, &weight.value(cx.grad)?.to_dtype(x.dtype())?, None, layout)
            }
            (Input::Tensor(x), Some(shape), weights) if self.drops(cx) => {
                ops::conv2d(x, &weights.weight().value(cx.grad)?.to_dtype(x.dtype())?, None, shape)
            }
            (_, _, weights) => match weights.bias() {
                Some(bias) => y.sub(&call.per_channel(&bias.value(cx.grad)?)?),
                None => Ok(y.clone()),
            },
        }
    }

    /// The output `y` with the layer's magnitude exchanged; `delta` is `s B A x`.
    pub(super) fn rescaled(
        &self,
        call: &Call<'_>,
        magnitude: &Param,
        dropped: &Input,
        y: &Tensor,
        delta: &Tensor,
    ) -> Result<Tensor> {
        let factor = self.factor(call.cx, magnitude, &call.weights)?;
        let plain = self.without_bias(call, dropped, y)?.to_dtype(factor.dtype())?;
        add_wide(y, &factor.affine(1., -1.)?.mul(&plain)?.add(&factor.mul(delta)?)?)
    }

    /// A single DoRA over a plain layer: `m / ‖W + s B A‖ · x (W + s B A)ᵀ + bias`, the product in one kernel.
    pub(super) fn lone_dora(&self, call: &Call<'_>, x: &Tensor) -> Result<Option<Tensor>> {
        let cx = call.cx;
        let (Some(magnitude), Weights::Linear { weight, bias, layout }) = (self.magnitude(), call.weights) else {
            return Ok(None);
        };
        let same = [self.a.dtype(), weight.dtype(), magnitude.dtype()].iter().all(|d| *d == x.dtype());
        if self.drops(cx) || !same {
            return Ok(None);
        }
        let factor = self.factor(cx, magnitude, &call.weights)?;
        let y = ops::lora_linear(x, Some((&weight.weight(cx.grad)?, None, layout)), &[self.term(cx)?])?.mul(&factor)?;
        Ok(Some(match bias {
            Some(b) => y.add(&b.value(cx.grad)?)?,
            None => y,
        }))
    }

    /// `sum`, the updated weight, with each row at its magnitude.
    pub(super) fn at_magnitude(magnitude: &Param, sum: &Array) -> Result<Array> {
        let norms = sum.sqr()?.sum(1)?.sqrt()?;
        let factor = (magnitude.array()?.flatten_all()?.to_dtype(sum.dtype())? / norms)?;
        Ok(sum.broadcast_mul(&factor.unsqueeze(1)?)?)
    }
}
