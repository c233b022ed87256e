//! Vision Transformer with a classification head.
//!
//! Dosovitskiy et al. 2020 (arXiv 2010.11929); numbers and running names as transformers 5.

use super::builder::{activation, dropout, Builder};
use super::config::Config;
use super::head::{hidden_output, logits_output};
use super::source::Init;
use super::stack::run_block;
use crate::context::Context;
use crate::fields;
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::{self, AttentionOptions, Conv2dShape, Mask};
use crate::param::Param;
use crate::{Error, Result};

pub(super) fn build(c: &Config, b: &Builder) -> Result<VitClassifier> {
    let width = c.size("hidden_size")?;
    let heads = c.size("num_attention_heads")?;
    if width % heads != 0 {
        return Err(Error::config(
            "config.json: num_attention_heads",
            format!("{heads} heads do not divide hidden_size {width}"),
        ));
    }
    let inner = c.size("intermediate_size")?;
    let eps = c.eps("layer_norm_eps", 1e-12)?;
    let act = c.activation("hidden_act", "gelu")?;
    let (rate, attention_rate) = (c.rate("hidden_dropout_prob", 0.)?, c.rate("attention_probs_dropout_prob", 0.)?);
    let bias = c.flag("qkv_bias", true)?;
    let (image, patch) = (c.size("image_size")?, c.size("patch_size")?);
    let channels = c.size_or("num_channels", 3)?;
    if patch > image {
        return Err(Error::config("config.json: patch_size", format!("{patch} is larger than image_size {image}")));
    }
    let tokens = (image / patch) * (image / patch) + 1;
    let v = b.at("vit");
    let e = v.at("embeddings");
    let p = e.at("patch_embeddings").at("projection");
    let projection = p.conv2d(channels, width, patch, true, Conv2dShape { stride: patch, ..Default::default() })?;
    let embeddings = Embeddings {
        cls_token: e.param("cls_token", &[1, 1, width], Init::Normal(0.02))?,
        position_embeddings: e.param("position_embeddings", &[1, tokens, width], Init::Normal(0.02))?,
        patch_embeddings: Node::new(PatchEmbeddings { projection, image, channels }),
        dropout: dropout(rate),
    };
    let blocks = (0..c.size("num_hidden_layers")?)
        .map(|i| {
            let l = v.at("layers").at(i);
            let (a, m) = (l.at("attention"), l.at("mlp"));
            let attention = Attention {
                q_proj: a.at("q_proj").linear(width, width, bias)?,
                k_proj: a.at("k_proj").linear(width, width, bias)?,
                v_proj: a.at("v_proj").linear(width, width, bias)?,
                o_proj: a.at("o_proj").linear(width, width, true)?,
                head_dim: width / heads,
                rate: attention_rate,
            };
            let mlp = Mlp {
                activation_fn: activation(act),
                fc1: m.at("fc1").linear(width, inner, true)?,
                fc2: m.at("fc2").linear(inner, width, true)?,
            };
            Ok(Node::new(Layer {
                attention: Node::new(attention),
                layernorm_before: l.at("layernorm_before").layer_norm(width, eps)?,
                layernorm_after: l.at("layernorm_after").layer_norm(width, eps)?,
                mlp: Node::new(mlp),
                dropout: dropout(rate),
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    let vit = Vit {
        embeddings: Node::new(embeddings),
        layers: NodeList { items: blocks },
        layernorm: v.at("layernorm").layer_norm(width, eps)?,
    };
    Ok(VitClassifier { vit: Node::new(vit), classifier: b.at("classifier").linear(width, c.num_labels()?, true)? })
}

#[derive(Clone)]
pub(super) struct VitClassifier {
    vit: Node,
    classifier: Node,
}

impl Module for VitClassifier {
    fields!(vit, classifier);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let pixels = args.named("pixel_values").clone();
        let body = self.vit.call(cx, Args { positional: vec![pixels], named: Vec::new() })?;
        let hidden = body.into_tensor()?;
        Ok(logits_output(self.classifier.apply(cx, &hidden.narrow(1, 0, 1)?.squeeze(1)?)?))
    }
}

#[derive(Clone)]
struct Vit {
    embeddings: Node,
    layers: NodeList,
    layernorm: Node,
}

impl Module for Vit {
    fields!(embeddings, layers, layernorm);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let Value::Tensor(pixels) = args.get(0, "pixel_values") else {
            return Err(Error::Argument("this model needs pixelValues".into()));
        };
        let mut hidden = self.embeddings.apply(cx, pixels)?;
        for layer in &self.layers.items {
            // Python hands every layer a mask, which is absent here.
            let call = Args { positional: vec![hidden.into(), Value::None], named: Vec::new() };
            hidden = run_block(cx, layer, call)?;
        }
        Ok(hidden_output(self.layernorm.apply(cx, &hidden)?))
    }
}

#[derive(Clone)]
struct Embeddings {
    cls_token: Param,
    position_embeddings: Param,
    patch_embeddings: Node,
    dropout: Node,
}

impl Module for Embeddings {
    fields!(cls_token, position_embeddings, patch_embeddings, dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let patches = self.patch_embeddings.apply(cx, args.tensor(0, "pixel_values")?)?; // [batch, patches, width]
        let class = self.cls_token.value(cx.grad)?.broadcast_to(&[patches.dim(0), 1, patches.dim(2)])?;
        let x = crate::Tensor::cat(&[&class, &patches], 1)?.add(&self.position_embeddings.value(cx.grad)?)?;
        Ok(self.dropout.apply(cx, &x)?.into())
    }
}

#[derive(Clone)]
struct PatchEmbeddings {
    projection: Node,
    image: usize,
    channels: usize,
}

impl Module for PatchEmbeddings {
    fields!(projection);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "pixel_values")?;
        if x.rank() != 4 || x.dims()[1..] != [self.channels, self.image, self.image] {
            let batch = x.dims().first().copied().unwrap_or(1);
            let expected = vec![batch, self.channels, self.image, self.image];
            return Err(Error::Shape { path: "pixelValues".into(), expected, actual: x.dims().to_vec() });
        }
        let y = self.projection.apply(cx, x)?; // [batch, width, rows, cols]
        let (batch, width) = (y.dim(0), y.dim(1));
        let patches = y.dim(2) * y.dim(3);
        Ok(y.reshape((batch, width, patches))?.transpose(1, 2)?.contiguous()?.into())
    }
}

#[derive(Clone)]
struct Layer {
    attention: Node,
    layernorm_before: Node,
    layernorm_after: Node,
    mlp: Node,
    dropout: Node,
}

impl Module for Layer {
    fields!(attention, layernorm_before, layernorm_after, mlp, dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let attended = self.attention.apply(cx, &self.layernorm_before.apply(cx, x)?)?;
        let x = x.add(&self.dropout.apply(cx, &attended)?)?;
        let y = self.mlp.apply(cx, &self.layernorm_after.apply(cx, &x)?)?;
        Ok(x.add(&self.dropout.apply(cx, &y)?)?.into())
    }
}

#[derive(Clone)]
struct Attention {
    q_proj: Node,
    k_proj: Node,
    v_proj: Node,
    o_proj: Node,
    head_dim: usize,
    rate: f64,
}

impl Module for Attention {
    fields!(q_proj, k_proj, v_proj, o_proj);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let heads = |node: &Node| node.apply(cx, x)?.split_last(self.head_dim);
        let options = AttentionOptions {
            scale: 1. / (self.head_dim as f64).sqrt(),
            mask: Mask::default(),
            dropout: (cx.training && self.rate > 0.).then(|| (self.rate as f32, cx.next_seed())),
        };
        let y = ops::attention(&heads(&self.q_proj)?, &heads(&self.k_proj)?, &heads(&self.v_proj)?, &options)?;
        Ok(Value::Tuple(vec![self.o_proj.apply(cx, &y.merge_last()?)?.into(), Value::None]))
    }
}

#[derive(Clone)]
struct Mlp {
    activation_fn: Node,
    fc1: Node,
    fc2: Node,
}

impl Module for Mlp {
    fields!(activation_fn, fc1, fc2);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = self.fc1.apply(cx, args.tensor(0, "hidden_states")?)?;
        Ok(self.fc2.apply(cx, &self.activation_fn.apply(cx, &x)?)?.into())
    }
}
