//! Side-tuning: a small network beside a module, the two outputs blended.
//!
//! Zhang et al. 2019 (arXiv 1912.13503); Python's `swift.tuners.side`.

use crate::blocks::{Bottleneck, Dense};
use crate::config::Dialect;
use crate::fields::Required;
use crate::init::Init;
use crate::method::{Attach, Attachment, Kind};
use crate::target::{attach_at, SwiftPattern};
use serde_json::Value as Json;
use swift_tuners_nn::module::{Args, Next, Own, Position, Tuner, Value};
use swift_tuners_nn::ops::{self, Activation, Conv2dShape};
use swift_tuners_nn::{Context, Error, Param, Result, Tensor};

crate::words! {
    /// The network beside the module.
    pub enum SideNetwork { Mlp = "mlp", Fcn4 = "fcn4", AlexNet = "alexnet" }
}

crate::config! {
    /// `SideConfig`
    pub struct SideConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        /// Width of what is blended.
        dim: Required<usize>;
        /// A regular expression for whole names; the empty one means the model itself.
        target_modules: Required<SwiftPattern>;
        /// 'fcn4' and 'alexnet' take images; 'alexnet' starts from random weights here, in Python from ImageNet's.
        side_module_name: SideNetwork = SideNetwork::Fcn4;
        /// The side network's input among the module's arguments.
        source_hidden_pos: Position = Position::Index(0);
        /// Which element of the module's output.
        target_hidden_pos: Position = Position::Index(0);
    }
}

/// The kind of tuner.
pub struct SideTuning;

impl Kind for SideTuning {
    const NAME: &'static str = "SIDE";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "SideConfig";
    const ABOUT: &'static str =
        "A small network beside a module, the outputs blended. Zhang et al. 2019 (arXiv 1912.13503).";
    type Config = SideConfig;

    fn attach(config: &SideConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

fn attach(c: &SideConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    let places = c.target_modules.0.places(a.model, "target_modules")?;
    let (dim, kind) = (c.dim.0, c.side_module_name);
    let (source, target) = (c.source_hidden_pos.clone(), Some(c.target_hidden_pos.clone()));
    let mut made = Vec::new();
    for _ in &places {
        made.push((a.init.constant(&[], 0.)?, Network::new(kind, dim, a.init)?));
    }
    attach_at(&mut a.model.root, &places, |i, node| {
        let (alpha, net) = made[i].clone();
        let mut params = vec![("alpha".to_owned(), alpha.clone())];
        params.extend(net.params());
        let own = Own { adapter: id, before: "side_", name: name.to_owned(), params };
        node.tuners.push(Box::new(Side { own, alpha, net, source: source.clone(), target: target.clone() }));
        Ok(())
    })?;
    Ok(Attachment::new(a.config))
}

/// `y = a · main + (1 − a) · side(x)` with `a = sigmoid(alpha)`: `x` is an input of the module, `main` its output or one
/// element of it.
#[derive(Clone)]
struct Side {
    own: Own,
    /// A scalar.
    alpha: Param,
    net: Network,
    source: Position,
    target: Option<Position>,
}

impl Tuner for Side {
    fn around(&self, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        let x = match args.get_mut(&self.source)? {
            Value::Tensor(x) => x.clone(),
            other => {
                return Err(Error::Argument(format!(
                    "source_hidden_pos: the argument {} is {}, not a tensor",
                    self.source,
                    other.kind()
                )))
            }
        };
        let mut value = next.run(cx, args)?;
        let main = value.element_mut(&self.target)?;
        let a = self.alpha.value(cx.grad)?.sigmoid()?;
        let side = self.net.apply(cx, &x.to_dtype(a.dtype())?)?;
        let blended = main.to_dtype(a.dtype())?.mul(&a)?.add(&side.mul(&a.affine(-1., 1.)?)?)?;
        *main = blended.to_dtype(main.dtype())?;
        Ok(value)
    }

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}

#[derive(Clone)]
enum Network {
    Mlp(Bottleneck),
    Fcn { stages: Vec<Stage>, fc: Dense },
    Alex { convolutions: Vec<Convolution>, fc: Dense },
}

/// Convolution, group norm of two groups, ReLU.
#[derive(Clone)]
struct Stage {
    weight: Param,
    gain: Param,
    shift: Param,
    shape: Conv2dShape,
}

#[derive(Clone)]
struct Convolution {
    weight: Param,
    bias: Param,
    shape: Conv2dShape,
    /// Its index in `torchvision`'s `features`.
    index: usize,
    pooled: bool,
}

/// in, out, stride, padding
const FCN4: [(usize, usize, usize, usize); 4] = [(3, 16, 1, 1), (16, 16, 2, 0), (16, 32, 2, 0), (32, 64, 1, 0)];
/// index, in, out, kernel, stride, padding, max pooling behind it
const ALEXNET: [(usize, usize, usize, usize, usize, usize, bool); 5] = [
    (0, 3, 64, 11, 4, 2, true),
    (3, 64, 192, 5, 1, 2, true),
    (6, 192, 384, 3, 1, 1, false),
    (8, 384, 256, 3, 1, 1, false),
    (10, 256, 256, 3, 1, 1, true),
];

impl Network {
    fn new(kind: SideNetwork, dim: usize, init: &mut Init) -> Result<Self> {
        let shape = |stride, padding| Conv2dShape { stride, padding, ..Default::default() };
        let fan = |inp: usize, kernel: usize| 1. / ((inp * kernel * kernel) as f64).sqrt();
        Ok(match kind {
            SideNetwork::Mlp => Self::Mlp(Bottleneck {
                down: init.dense(dim, dim, true)?,
                up: init.dense(dim, dim, true)?,
                act: Activation::Gelu,
            }),
            SideNetwork::Fcn4 => {
                let mut stages = Vec::new();
                for (inp, out, stride, padding) in FCN4 {
                    stages.push(Stage {
                        weight: init.kaiming(&[out, inp, 3, 3])?,
                        gain: init.constant(&[out], 1.)?,
                        shift: init.constant(&[out], 0.)?,
                        shape: shape(stride, padding),
                    });
                }
                Self::Fcn { stages, fc: init.dense(64, dim, true)? }
            }
            SideNetwork::AlexNet => {
                let mut convolutions = Vec::new();
                for (index, inp, out, kernel, stride, padding, pooled) in ALEXNET {
                    convolutions.push(Convolution {
                        weight: init.kaiming(&[out, inp, kernel, kernel])?,
                        bias: init.uniform(&[out], -fan(inp, kernel), fan(inp, kernel))?,
                        shape: shape(stride, padding),
                        index,
                        pooled,
                    });
                }
                // Of the whole network, the layers that are left out draw, too.
                for (inp, out) in [(9216, 4096), (4096, 4096), (4096, 1000)] {
                    init.discard_dense(inp, out, true)?;
                }
                Self::Alex { convolutions, fc: init.dense(9216, dim, false)? }
            }
        })
    }

    fn params(&self) -> Vec<(String, Param)> {
        let mut out = Vec::new();
        match self {
            Self::Mlp(net) => out.extend(net.params(["side_net.fc1", "side_net.fc2"])),
            Self::Fcn { stages, fc } => {
                for (i, s) in stages.iter().enumerate() {
                    let stage = format!("side_net.conv{}", i + 1);
                    out.push((format!("{stage}.0.weight"), s.weight.clone()));
                    out.push((format!("{stage}.1.weight"), s.gain.clone()));
                    out.push((format!("{stage}.1.bias"), s.shift.clone()));
                }
                out.extend(fc.params("side_net.fc"));
            }
            Self::Alex { convolutions, fc } => {
                for c in convolutions {
                    out.push((format!("side_net.features.{}.weight", c.index), c.weight.clone()));
                    out.push((format!("side_net.features.{}.bias", c.index), c.bias.clone()));
                }
                out.extend(fc.params("side_net.fc"));
            }
        }
        out
    }

    fn apply(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Mlp(net) => net.apply(cx, x),
            Self::Fcn { stages, fc } => {
                let mut x = x.clone();
                for s in stages {
                    let y = ops::conv2d(&x, &s.weight.value(cx.grad)?, None, s.shape)?;
                    x = ops::group_norm(&y, 2, &s.gain.value(cx.grad)?, &s.shift.value(cx.grad)?, 1e-5)?.relu()?;
                }
                fc.apply(cx, &x.mean(Some(&[-2, -1]), false)?)
            }
            Self::Alex { convolutions, fc } => {
                let mut x = x.clone();
                for c in convolutions {
                    x = ops::conv2d(&x, &c.weight.value(cx.grad)?, Some(&c.bias.value(cx.grad)?), c.shape)?.relu()?;
                    if c.pooled {
                        x = ops::max_pool2d(&x, 3, 2)?;
                    }
                }
                let x = ops::adaptive_avg_pool2d(&x, 6, 6)?;
                let rows = x.dim(0);
                fc.apply(cx, &x.reshape((rows, 9216))?)
            }
        }
    }
}
