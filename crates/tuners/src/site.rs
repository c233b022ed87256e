//! A layer that an adapter sits on, and a call of it.

use crate::measured::Measured;
use candle_core::{DType, Device};
use swift_tuners_nn::module::{Args, Ints, Node, Value, WeightKind, Weights};
use swift_tuners_nn::ops::{self, Conv2dShape, WeightLayout};
use swift_tuners_nn::{Array, Context, Error, Param, Result, Tensor};

/// What an adapter knows of its layer when it is made.
#[derive(Clone)]
pub struct Site {
    pub path: String,
    pub kind: WeightKind,
    /// The weight's.
    pub shape: Vec<usize>,
    /// Rows and columns of the weight as a matrix `[outputs, inputs]`: of a convolution a patch is one input.
    pub outputs: usize,
    pub inputs: usize,
    pub bias: bool,
    bias_param: Option<Param>,
    /// Whether no adapter of the same kind is here yet.
    pub first: bool,
    /// Of the base.
    pub base_dtype: DType,
    pub device: Device,
    /// What data told of it.
    pub measured: Measured,
    weight: Param,
}

impl Site {
    pub fn of(node: &Node, path: &str) -> Result<Self> {
        let Some(weights) = node.module().weights() else {
            let why = format!("{path} is no linear layer, convolution or embedding");
            return Err(Error::config("target_modules", why));
        };
        let weight = weights.weight().clone();
        let (kind, shape) = (weights.kind(), weight.shape());
        let (outputs, inputs) = kind.sizes(&shape);
        Ok(Self {
            path: path.to_owned(),
            kind,
            outputs,
            inputs,
            bias: weights.bias().is_some(),
            bias_param: weights.bias().cloned(),
            first: true,
            base_dtype: weight.dtype(),
            device: weight.device(),
            measured: Measured::default(),
            shape,
            weight,
        })
    }

    /// The same with what data told of it.
    pub fn with(self, measured: Measured) -> Self {
        Self { measured, ..self }
    }

    /// Fails unless the layer is of one of the kinds that a tuner is written for.
    pub fn require(&self, allowed: impl Fn(&WeightKind) -> bool, wanted: &str) -> Result<()> {
        if allowed(&self.kind) {
            return Ok(());
        }
        Err(Error::config("target_modules", format!("{} is no {wanted}", self.path)))
    }

    pub fn is_linear(&self) -> bool {
        matches!(self.kind, WeightKind::Linear { .. })
    }

    /// Whether the weight lies `[in, out]` (GPT-2's `Conv1D`).
    pub fn is_transposed(&self) -> bool {
        self.kind == WeightKind::Linear { transposed: true }
    }

    pub fn convolution(&self) -> Option<Conv2dShape> {
        if let WeightKind::Conv2d(shape) = self.kind {
            Some(shape)
        } else {
            None
        }
    }

    /// The sizes of a convolution's kernel, two or one.
    pub fn kernel(&self) -> Option<&[usize]> {
        self.convolution().map(|_| &self.shape[2..])
    }

    /// Fails for `torch.nn.Conv1d`, which most tuners of convolutions do not adapt in Python either.
    pub fn refuse_conv1d(&self) -> Result<()> {
        match self.kernel() {
            Some([_]) => Err(Error::config("target_modules", format!("{} is a torch.nn.Conv1d", self.path))),
            _ => Ok(()),
        }
    }

    /// Channels of what goes in.
    pub fn channels(&self) -> usize {
        self.convolution().map_or(self.inputs, |c| self.shape[1] * c.groups)
    }

    /// The base's weight now, `[outputs, inputs]` in f32 or wider.
    pub fn matrix(&self) -> Result<Array> {
        self.kind.matrix(&self.weight.array()?)
    }

    /// The base's bias now, `[outputs]`.
    pub fn bias(&self) -> Result<Option<Array>> {
        self.bias_param.as_ref().map(Param::array).transpose()
    }

    pub fn weight(&self) -> &Param {
        &self.weight
    }
}

/// What a layer is called with.
#[derive(Clone)]
pub enum Input {
    Tensor(Tensor),
    Ids(Ints),
}

impl Input {
    pub fn of(args: &Args) -> Result<Self> {
        match args.get(0, "input") {
            Value::Tensor(x) => Ok(Self::Tensor(x.clone())),
            Value::Ints(ids) => Ok(Self::Ids(ids.clone())),
            other => Err(Error::Argument(format!("input: expected a tensor, found {}", other.kind()))),
        }
    }

    pub fn tensor(&self) -> Result<&Tensor> {
        match self {
            Self::Tensor(x) => Ok(x),
            Self::Ids(_) => Err(Error::Argument("input: expected a tensor, found integers".into())),
        }
    }
}

/// One call of a layer, or a look at what it does to its weight.
pub struct Call<'a> {
    pub cx: &'a Context,
    pub site: &'a Site,
    /// The base layer's.
    pub weights: Weights<'a>,
    /// The type of the weight that is being merged into; `None` in a call.
    merging: Option<DType>,
}

impl<'a> Call<'a> {
    pub fn new(cx: &'a Context, site: &'a Site, weights: Weights<'a>) -> Self {
        Self { cx, site, weights, merging: None }
    }

    /// The layer as a matrix: rows are channels last, values have the type of the weight `w`.
    pub fn merging(cx: &'a Context, site: &'a Site, weights: Weights<'a>, w: &Array) -> Self {
        Self { cx, site, weights, merging: Some(w.dtype()) }
    }

    /// An adapter's tensor.
    pub fn value(&self, param: &Param) -> Result<Tensor> {
        let value = param.value(self.cx.grad)?;
        self.merging.map_or(Ok(value.clone()), |dtype| value.to_dtype(dtype))
    }

    pub fn training(&self) -> bool {
        self.cx.training && self.merging.is_none()
    }

    fn convolution(&self) -> Option<Conv2dShape> {
        self.site.convolution().filter(|_| self.merging.is_none())
    }

    /// A value per channel, shaped so that it multiplies or adds to what goes in or comes out.
    pub fn per_channel(&self, values: &Tensor) -> Result<Tensor> {
        let n = values.data().elem_count();
        match self.site.kernel().filter(|_| self.merging.is_none()) {
            Some(kernel) => values.reshape([vec![1, n], vec![1; kernel.len()]].concat()),
            None => values.reshape(n),
        }
    }

    /// A value per channel that goes in, for the rows that the weight multiplies: in a convolution a channel stands once per tap.
    pub fn per_input(&self, values: &Tensor) -> Result<Tensor> {
        let (n, inputs) = (values.data().elem_count(), self.site.inputs);
        values.reshape((n, 1))?.broadcast_to(&[n, inputs / n.max(1)])?.reshape(inputs)
    }

    /// `x ΔWᵀ` for `delta [out, in]`: for a convolution its product with patches, for an embedding rows of ΔWᵀ.
    pub fn times(&self, x: &Input, delta: &Tensor) -> Result<Tensor> {
        match (x, self.convolution()) {
            (Input::Ids(ids), _) => ops::embedding(&delta.transpose(0, 1)?.contiguous()?, &ids.data, &ids.shape),
            (Input::Tensor(x), None) => ops::linear(&x.to_dtype(delta.dtype())?, delta, None, WeightLayout::OutIn),
            (Input::Tensor(x), Some(shape)) => {
                let kernel = delta.reshape(self.site.shape.as_slice())?;
                ops::conv2d(&x.to_dtype(delta.dtype())?, &kernel, None, shape)
            }
        }
    }
}
