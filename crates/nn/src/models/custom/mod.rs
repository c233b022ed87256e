//! Networks that a caller describes module by module, with `torch.nn`'s names: `config.json` holds the description.
//!
//! ```json
//! { "model_type": "custom", "module": { "type": "Sequential", "modules": { "fc": { "type": "Linear", … }, … } } }
//! ```

mod containers;
mod modules;

use super::builder::{activation, Builder};
use super::config::Config;
use super::head::logits_output;
use crate::context::Context;
use crate::error::printable;
use crate::module::{Args, Module, Node, NodeList, Value, Visitor, VisitorMut};
use crate::ops::{Activation, Conv2dShape};
use crate::{layers, Error, Result};
use containers::{ListInTurn, Residual, Sequential};
use modules::{Flatten, GlobalAveragePool, MeanPool, SelfAttention, Upsample};

/// Containers inside of containers.
const MAX_DEPTH: usize = 64;

pub(super) fn build(c: &Config, b: &Builder) -> Result<Node> {
    let Some(description) = c.object("module")? else {
        return Err(Error::config("config.json: module", "missing: a custom model describes its modules there"));
    };
    match make(&description, b, "module", 0)? {
        Made::Container(items) => Ok(Node::new(Custom { body: items })),
        Made::Node(_) => Err(Error::config("config.json: module.type", "the outermost module must be Sequential")),
    }
}

enum Made {
    Container(Sequential),
    Node(Node),
}

impl Made {
    fn node(self) -> Node {
        match self {
            Self::Container(items) => Node::new(items),
            Self::Node(node) => node,
        }
    }
}

/// Names become parts of parameter names and file keys.
fn check_name(name: &str, at: &str) -> Result<()> {
    let plain = !name.is_empty() && name.len() <= 128 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain {
        return Ok(());
    }
    Err(Error::config(at, format!("{:?} is no module name: letters, digits and _ only", printable(name, 60))))
}

fn make(c: &Config, b: &Builder, at: &str, depth: usize) -> Result<Made> {
    // Errors of fields name the place in the description, not config.json's top level.
    let inside = |e: Error| match e {
        Error::Config { option, message } => {
            let field = option.strip_prefix("config.json: ").unwrap_or(&option).to_owned();
            Error::Config { option: if field.starts_with("module") { field } else { format!("{at}.{field}") }, message }
        }
        other => other,
    };
    make_one(c, b, at, depth).map_err(inside)
}

fn make_one(c: &Config, b: &Builder, at: &str, depth: usize) -> Result<Made> {
    if depth > MAX_DEPTH {
        return Err(Error::config(at, format!("modules are nested more than {MAX_DEPTH} deep")));
    }
    let children = |field: &str| -> Result<Vec<(String, Node)>> {
        let at = format!("{at}.{field}");
        let Some(map) = c.get(field).and_then(|v| v.as_object()) else {
            return Err(Error::config(at, "expected an object of named modules"));
        };
        map.iter()
            .map(|(name, v)| {
                check_name(name, &at)?;
                let wrapped =
                    Config::of_value(v).map_err(|_| Error::config(format!("{at}.{name}"), "expected an object"))?;
                Ok((name.clone(), make(&wrapped, &b.at(name), &format!("{at}.{name}"), depth + 1)?.node()))
            })
            .collect()
    };
    let bias = || c.flag("bias", true);
    Ok(Made::Node(match c.text("type")?.unwrap_or("") {
        "Sequential" => return Ok(Made::Container(Sequential { items: children("modules")? })),
        "ModuleList" => {
            let items = children("modules")?;
            if items.iter().enumerate().any(|(i, (name, _))| *name != i.to_string()) {
                return Err(Error::config(format!("{at}.modules"), "the modules of a list are called 0, 1, 2, …"));
            }
            Node::new(ListInTurn { items: NodeList { items: items.into_iter().map(|(_, n)| n).collect() } })
        }
        "Residual" => Node::new(Residual { items: Sequential { items: children("modules")? } }),
        "Conv1D" => b.conv1d(c.size("in_features")?, c.size("out_features")?)?,
        "Linear" => b.linear(c.size("in_features")?, c.size("out_features")?, bias()?)?,
        "Embedding" => b.embedding(c.size("num_embeddings")?, c.size("embedding_dim")?)?.0,
        kind @ ("Conv1d" | "Conv2d") => {
            let shape = Conv2dShape {
                stride: c.size_or("stride", 1)?,
                padding: c.get("padding").map_or(Ok(0), |v| {
                    v.as_u64().filter(|&n| n < 1 << 16).map(|n| n as usize).ok_or_else(|| {
                        Error::config("padding", "expected a non-negative integer")
                    })
                })?,
                dilation: c.size_or("dilation", 1)?,
                groups: c.size_or("groups", 1)?,
            };
            let (inp, out) = (c.size("in_channels")?, c.size("out_channels")?);
            if inp % shape.groups != 0 || out % shape.groups != 0 {
                return Err(Error::config("groups", format!("{} do not divide {inp} and {out} channels", shape.groups)));
            }
            let kernel = c.size("kernel_size")?;
            let taps = if kind == "Conv1d" { vec![kernel] } else { vec![kernel, kernel] };
            b.convolution(&[vec![out, inp / shape.groups], taps].concat(), bias()?, shape)?
        }
        "LayerNorm" => b.layer_norm(c.size("normalized_shape")?, c.eps("eps", 1e-5)?)?,
        "RMSNorm" => b.rms_norm(c.size("normalized_shape")?, c.eps("eps", 1e-6)?)?,
        "GroupNorm" => b.group_norm(c.size("num_groups")?, c.size("num_channels")?, c.eps("eps", 1e-5)?)?,
        "Dropout" => Node::new(layers::Dropout { rate: c.rate("p", 0.5)? }),
        "Identity" => Node::new(layers::Identity),
        "ReLU" => activation(Activation::Relu),
        "SiLU" => activation(Activation::Silu),
        "Tanh" => activation(Activation::Tanh),
        "Sigmoid" => activation(Activation::Sigmoid),
        "GELU" => activation(match c.text("approximate")?.unwrap_or("none") {
            "none" => Activation::Gelu,
            "tanh" => Activation::GeluTanh,
            other => return Err(Error::config("approximate", format!("{:?}", printable(other, 40)))),
        }),
        "Flatten" => Node::new(Flatten { start: c.size_or("start_dim", 1)? }),
        "MeanPool" => Node::new(MeanPool { dim: c.size_or("dim", 1)? }),
        "AdaptiveAvgPool2d" => Node::new(GlobalAveragePool),
        "Upsample" => Node::new(Upsample { factor: c.size_or("scale_factor", 2)? }),
        "MultiheadAttention" => {
            let (width, heads) = (c.size("embed_dim")?, c.size("num_heads")?);
            if width % heads != 0 {
                return Err(Error::config("num_heads", format!("{heads} heads do not divide embed_dim {width}")));
            }
            let bias = bias()?;
            Node::new(SelfAttention {
                q_proj: b.at("q_proj").linear(width, width, bias)?,
                k_proj: b.at("k_proj").linear(width, width, bias)?,
                v_proj: b.at("v_proj").linear(width, width, bias)?,
                out_proj: b.at("out_proj").linear(width, width, bias)?,
                head_dim: width / heads,
                causal: c.flag("causal", false)?,
            })
        }
        other => {
            return Err(Error::config(
                "type",
                format!(
                    "{:?} is no known module; known are Sequential, ModuleList, Residual, Linear, Conv1D, Embedding, Conv1d, Conv2d, \
                     LayerNorm, RMSNorm, GroupNorm, Dropout, Identity, ReLU, GELU, SiLU, Tanh, Sigmoid, Flatten, MeanPool, \
                     AdaptiveAvgPool2d, Upsample, MultiheadAttention",
                    printable(other, 60)
                ),
            ))
        }
    }))
}

/// The whole model: its first module takes the input, its last one gives the logits.
#[derive(Clone)]
struct Custom {
    body: Sequential,
}

impl Module for Custom {
    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        self.body.visit(v);
    }
    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        self.body.visit_mut(v);
    }
    fn boxed_clone(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let found =
            ["input", "pixel_values", "inputs_embeds", "sample"].into_iter().find_map(|n| args.optional_tensor(n));
        let input = match (found, args.ints("input_ids")) {
            (Some(x), None) => Value::Tensor(x.clone()),
            (None, Some(ids)) => Value::Ints(ids.clone()),
            _ => return Err(Error::Argument("this model takes one of input, inputIds, pixelValues, sample".into())),
        };
        Ok(logits_output(self.body.run(cx, input)?.into_tensor()?))
    }
}
