//! The network below a model's head by itself, also in other sizes: of decoders, and of BERT.

use super::builder::Builder;
use super::config::Config;
use super::keys::Keys;
use super::model::Model;
use super::source::Source;
use super::{bert, gpt2, llama};
use crate::module::{own_parameters, Node, NodeList, VisitorMut};
use crate::param::Param;
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde_json::Value as Json;
use std::collections::HashMap;

/// What a network of the same family has other than the one it is made after.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub layers: usize,
    pub hidden: Option<usize>,
    pub heads: Option<usize>,
    /// Of the feed-forward layers.
    pub inner: Option<usize>,
}

/// The network below a head: `input_ids` or `inputs_embeds` → `{ last_hidden_state }`.
pub struct Body {
    pub node: Node,
    /// The configuration that it was made from.
    pub config: Json,
    /// The width of what comes out.
    pub hidden: usize,
    /// The module that looks tokens up.
    pub embedding: &'static str,
    /// The module that what comes out does not depend on.
    pub idle: Option<&'static str>,
}

impl Body {
    /// The network that `config` names, its parameters those of `source` below `prefix`. `embeds` false leaves its embeddings out
    /// where the family has none but those of tokens, so that it takes `inputs_embeds` alone.
    ///
    /// Fails with [`Error::UnsupportedModel`] for other architectures.
    pub fn build(
        config: Json,
        source: &dyn Source,
        prefix: &str,
        embeds: bool,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let c = Config::new(&config)?;
        let keys = Keys::of(&c)?;
        let builder = Builder {
            source,
            path: prefix.to_owned(),
            dtype,
            device: device.clone(),
            deviation: c.float_or("initializer_range", 0.02)?,
            quantization: None,
        };
        let inside = |path: &'static str| path.rsplit('.').next().unwrap_or_default();
        let (node, width, embedding) = match keys.model_type {
            "gpt2" => (Node::new(gpt2::body(&c, &builder)?.0), "n_embd", inside(keys.input_embedding)),
            "bert" => (Node::new(bert::body(&c, &builder)?), "hidden_size", "embeddings.word_embeddings"),
            "t5" | "unet2d" | "vit" | "custom" | "roberta" => return Err(no_body(keys)),
            _ => (Node::new(llama::body(&c, &builder, embeds)?.0), "hidden_size", inside(keys.input_embedding)),
        };
        let hidden = c.size(width)?;
        let idle = (keys.model_type == "bert").then_some("pooler");
        Ok(Self { node, hidden, embedding, idle, config })
    }

    /// Puts parameters into the places of those that are called so.
    pub fn put(&mut self, values: HashMap<String, Param>) {
        struct Put(std::vec::IntoIter<String>, HashMap<String, Param>);
        impl VisitorMut for Put {
            fn param(&mut self, _: &str, param: &mut Param) {
                if let Some(value) = self.0.next().and_then(|name| self.1.remove(&name)) {
                    *param = value;
                }
            }
            fn node(&mut self, _: &str, node: &mut Node) {
                node.module_mut().visit_mut(self);
            }
            fn list(&mut self, name: &str, list: &mut NodeList) {
                list.items.iter_mut().for_each(|node| self.node(name, node));
            }
        }
        let names: Vec<String> = own_parameters(&self.node).into_iter().map(|(name, _)| name).collect();
        Put(names.into_iter(), values).node("", &mut self.node);
    }
}

impl Model {
    /// The configuration of a model of the same family in other sizes. What transformers has filled in by the sizes of this one
    /// stays: the number of key/value heads and, where it keeps that, the width of a head. Kinds of layers are cut to the number of
    /// layers, and the last one goes on where there are more.
    pub fn resized(&self, sizes: &Sizes) -> Result<Json> {
        let mut config = self.config.clone();
        let c = Config::new(&self.config)?;
        let kind = self.keys.model_type;
        let usual = ["num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"];
        let names = match kind {
            "gpt2" => ["n_layer", "n_embd", "n_head", "n_inner"],
            "bert" => usual,
            "t5" | "unet2d" | "vit" | "custom" | "roberta" => return Err(no_body(self.keys)),
            _ => {
                let size = llama::size(&c)?;
                config["num_key_value_heads"] = size.kv_heads.into();
                if matches!(kind, "llama" | "mistral" | "qwen3" | "gemma3_text") {
                    config["head_dim"] = size.head_dim.into();
                }
                let (mut kinds, window) = llama::layer_kinds(&c, kind, size.layers)?;
                let last = kinds.last().copied().unwrap_or_default();
                kinds.resize(sizes.layers, last);
                config["layer_types"] = kinds.into();
                if let Some(window) = window {
                    config["sliding_window"] = window.into();
                }
                usual
            }
        };
        let values = [Some(sizes.layers), sizes.hidden, sizes.heads, sizes.inner];
        for (name, value) in names.into_iter().zip(values) {
            if let Some(value) = value {
                config[name] = value.into();
            }
        }
        // A checkpoint's own, and no field of the network.
        if let Json::Object(fields) = &mut config {
            fields.remove("architectures");
        }
        Ok(config)
    }
}

fn no_body(keys: &Keys) -> Error {
    Error::UnsupportedModel(format!("the network below the head of {} is not made by itself", keys.architecture))
}
