//! Side-tuning: a small network beside a module, the two outputs blended.
//!
//! Zhang et al. 2019 (arXiv 1912.13503); Python's `swift.tuners.side`.

use crate::blocks::{Bottleneck, Dense, Init};
use crate::config::{Dialect, TunerConfig};
use crate::method::{swift_fields, Attach, Attachment, Method, Traits};
use crate::target::{attach_at, SwiftRule};
use serde_json::{json, Map, Value as Json};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{Args, Next, Own, Position, Tuner, Value};
use swift_tuners_nn::ops::{self, Activation, Conv2dShape};
use swift_tuners_nn::{Context, Error, Param, Result, Tensor};

pub static METHOD: Method = Method {
    kind: "SIDE",
    dialects: &[Dialect::Swift],
    defaults,
    check,
    attach,
    combination: None,
    traits: Traits::DEFAULT,
};

fn defaults(_: Dialect) -> Map<String, Json> {
    let own = json!({
        "dim": null, "target_modules": null, "side_module_name": "fcn4", "source_hidden_pos": 0, "target_hidden_pos": 0,
    });
    swift_fields("SIDE", own)
}

#[derive(Clone, Copy)]
enum Kind {
    Mlp,
    Fcn4,
    AlexNet,
}

fn kind(c: &TunerConfig) -> Result<Kind> {
    let name = c.text("side_module_name")?.unwrap_or("fcn4");
    match name.to_ascii_lowercase().as_str() {
        "mlp" => Ok(Kind::Mlp),
        "fcn4" => Ok(Kind::Fcn4),
        "alexnet" => Ok(Kind::AlexNet),
        _ => Err(Error::config(
            "side_module_name",
            format!("expected fcn4, mlp or alexnet, found {:?}", printable(name, 60)),
        )),
    }
}

fn check(c: &TunerConfig) -> Result<()> {
    c.size("dim")?;
    kind(c)?;
    c.position("source_hidden_pos")?;
    c.position("target_hidden_pos")?;
    SwiftRule::new(c, "target_modules", false).map(|_| ())
}

fn attach(a: &mut Attach<'_>) -> Result<Attachment> {
    let Attach { model, id, name, config: c, seed } = a;
    let (id, c, seed) = (*id, *c, *seed);
    let places = SwiftRule::new(c, "target_modules", false)?.places(model, c, "target_modules")?;
    let (dim, kind) = (c.size("dim")?, kind(c)?);
    let source = c.position("source_hidden_pos")?.unwrap_or(Position::Index(0));
    let target = c.position("target_hidden_pos")?.or(Some(Position::Index(0)));
    let mut made = Vec::new();
    for place in &places {
        let mut init = Init::new(model, seed, &place.path);
        made.push((init.constant(&[], 0.)?, Network::new(kind, dim, &mut init)?));
    }
    attach_at(&mut model.root, &places, |i, node| {
        let (alpha, net) = made[i].clone();
        let mut params = vec![("alpha".to_owned(), alpha.clone())];
        params.extend(net.params());
        let own = Own { adapter: id, before: "side_", name: name.to_owned(), params };
        node.tuners.push(Box::new(Side { own, alpha, net, source: source.clone(), target: target.clone() }));
        Ok(())
    })?;
    Ok(Attachment::new(c))
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
    fn new(kind: Kind, dim: usize, init: &mut Init) -> Result<Self> {
        let shape = |stride, padding| Conv2dShape { stride, padding, ..Default::default() };
        let fan = |inp: usize, kernel: usize| 1. / ((inp * kernel * kernel) as f64).sqrt();
        Ok(match kind {
            Kind::Mlp => Self::Mlp(Bottleneck {
                down: init.dense(dim, dim, true)?,
                up: init.dense(dim, dim, true)?,
                act: Activation::Gelu,
            }),
            Kind::Fcn4 => {
                let mut stages = Vec::new();
                for (inp, out, stride, padding) in FCN4 {
                    stages.push(Stage {
                        weight: init.uniform(&[out, inp, 3, 3], fan(inp, 3))?,
                        gain: init.constant(&[out], 1.)?,
                        shift: init.constant(&[out], 0.)?,
                        shape: shape(stride, padding),
                    });
                }
                Self::Fcn { stages, fc: init.dense(64, dim, true)? }
            }
            Kind::AlexNet => {
                let mut convolutions = Vec::new();
                for (index, inp, out, kernel, stride, padding, pooled) in ALEXNET {
                    convolutions.push(Convolution {
                        weight: init.uniform(&[out, inp, kernel, kernel], fan(inp, kernel))?,
                        bias: init.uniform(&[out], fan(inp, kernel))?,
                        shape: shape(stride, padding),
                        index,
                        pooled,
                    });
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
