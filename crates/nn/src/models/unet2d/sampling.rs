//! Halving and doubling of images.

use crate::context::Context;
use crate::module::{Args, Module, Node, Value};
use crate::ops;
use crate::tensor::{Array, Tensor};
use crate::{fields, Result};

#[derive(Clone)]
pub(super) struct Downsample2D {
    pub conv: Node,
    /// Without padding of its own the convolution gets one more row and column at the far ends.
    pub pad: bool,
}

impl Module for Downsample2D {
    fields!(conv);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        if !self.pad {
            return Ok(self.conv.apply(cx, x)?.into());
        }
        let zeros = |shape: [usize; 4]| -> Result<Tensor> { Ok(Array::zeros(&shape, x.dtype(), x.device())?.into()) };
        let wide = Tensor::cat(&[x, &zeros([x.dim(0), x.dim(1), x.dim(2), 1])?], 3)?;
        let padded = Tensor::cat(&[&wide, &zeros([x.dim(0), x.dim(1), 1, wide.dim(3)])?], 2)?;
        Ok(self.conv.apply(cx, &padded)?.into())
    }
}

#[derive(Clone)]
pub(super) struct Upsample2D {
    pub conv: Node,
}

impl Module for Upsample2D {
    fields!(conv);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let (rows, cols) = match args.get(1, "output_size") {
            Value::Tuple(size) => match &size[..] {
                [Value::Number(rows), Value::Number(cols)] => (*rows as usize, *cols as usize),
                _ => (2 * x.dim(2), 2 * x.dim(3)),
            },
            _ => (2 * x.dim(2), 2 * x.dim(3)),
        };
        Ok(self.conv.apply(cx, &ops::upsample_nearest(x, rows, cols)?)?.into())
    }
}
