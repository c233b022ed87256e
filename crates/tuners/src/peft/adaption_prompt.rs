//! Adaption prompts (LLaMA-Adapter): attention to trained tokens beside a layer's own, behind a gate that starts at zero.
//!
//! Zhang et al. 2023 (arXiv 2303.16199); PEFT's `peft.tuners.adaption_prompt`.

use crate::config::Dialect;
use crate::fields::Required;
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::target::{attach_at, nothing_found, Place};
use swift_tuners_nn::models::ATTEND;
use swift_tuners_nn::module::{
    model_nodes, Args, Module, Next, Node, NodeList, Part, Position, Rows, Tuner, Value, Visitor, FORWARD,
};
use swift_tuners_nn::ops::{self, AttentionOptions, Mask};
use swift_tuners_nn::{AdapterId, Context, Error, Param, Result, Tensor};

crate::config! {
    /// `AdaptionPromptConfig`
    pub struct AdaptionPromptConfig {
        standard: [peft];
        /// What attention modules are called; by default as the model type has it.
        target_modules: Option<String> = None;
        /// Trained tokens per layer.
        adapter_len: Required<usize>;
        /// How many of the last layers get them.
        adapter_layers: Required<usize>;
    }
}

/// The kind of tuner.
pub struct AdaptionPrompt;

impl Kind for AdaptionPrompt {
    const NAME: &'static str = "ADAPTION_PROMPT";
    const DIALECT: Dialect = Dialect::Peft;
    const CLASS: &'static str = "AdaptionPromptConfig";
    const ABOUT: &'static str = "Attention to trained tokens beside a layer's own, behind a gate that starts at zero (LLaMA-Adapter). Zhang et al. 2023 (arXiv 2303.16199).";
    const TRAITS: Traits = Traits::DEFAULT;
    type Config = AdaptionPromptConfig;

    fn check(c: &AdaptionPromptConfig) -> Result<()> {
        for (name, n) in [("adapter_len", c.adapter_len.0), ("adapter_layers", c.adapter_layers.0)] {
            if n == 0 {
                return Err(Error::config(name, "expected a positive integer, found 0"));
            }
        }
        Ok(())
    }

    fn attach(c: &AdaptionPromptConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        let mut attachment = Attachment::new(a.config);
        let default = match a.model.keys.model_type {
            "llama" | "mistral" => "self_attn",
            "gpt2" => "attn",
            other => {
                let why = format!("ADAPTION_PROMPT: PEFT knows llama, mistral and gpt2, and not {other}");
                return Err(Error::config("peft_type", why));
            }
        };
        let target = c.target_modules.clone().unwrap_or_else(|| default.to_owned());
        attachment.config.set("target_modules", target.as_str());
        let end = format!(".{target}");
        let found: Vec<Place> = model_nodes(&a.model.root)
            .into_iter()
            .filter(|(path, node)| path.ends_with(&end) && Shape::of(node.module()).is_some())
            .map(|(path, node)| Place { id: node.id(), path })
            .collect();
        if found.is_empty() {
            let shown = target.as_str().into();
            return Err(nothing_found(a.model, "target_modules", &shown, std::slice::from_ref(&target)));
        }
        let (count, layers) = (found.len(), c.adapter_layers.0);
        if layers > count {
            let why = format!("{layers} are more than the {count} attention modules of this model");
            return Err(Error::config("adapter_layers", why));
        }
        let size = a.model.attention_size()?;
        a.init.dtype = a.model.dtype;
        for place in &found[count - layers..] {
            let shape = [1, c.adapter_len.0, size.hidden];
            let tokens = a.init.normal(&shape, 1.)?;
            let gate = a.init.constant(&[1], 0.)?;
            let (id, head_dim) = (a.id, size.head_dim);
            attach_at(&mut a.model.root, std::slice::from_ref(place), |_, node| {
                if node.tuner::<Prompted>().is_none() {
                    node.tuners.push(Box::new(Prompted { ids: Vec::new(), entries: Vec::new(), head_dim }));
                }
                if let Some(prompted) = node.tuner_mut::<Prompted>() {
                    prompted.ids.push(id);
                    prompted.entries.push(Entry { tokens: tokens.clone(), gate: gate.clone() });
                }
                Ok(())
            })?;
        }
        Ok(attachment)
    }
}

#[derive(Clone)]
struct Entry {
    /// `[1, len, hidden]`
    tokens: Param,
    /// `[1]`
    gate: Param,
}

/// `y = attention(x) + gate · softmax(q K(tokens)ᵀ / √d) V(tokens)`, in Llama before the output's projection.
#[derive(Clone)]
struct Prompted {
    ids: Vec<AdapterId>,
    entries: Vec<Entry>,
    head_dim: usize,
}

/// The layers of an attention module that an adaption prompt needs.
enum Shape<'a> {
    Llama { k: &'a Node, v: &'a Node, o: &'a Node },
    Gpt2 { qkv: &'a Node },
}

impl<'a> Shape<'a> {
    fn of(module: &'a dyn Module) -> Option<Self> {
        struct Children<'a>(Vec<(String, &'a Node)>);
        impl<'a> Visitor<'a> for Children<'a> {
            fn param(&mut self, _: &str, _: &'a Param) {}
            fn node(&mut self, name: &str, node: &'a Node) {
                self.0.push((name.to_owned(), node));
            }
            fn list(&mut self, _: &str, _: &'a NodeList) {}
        }
        let mut children = Children(Vec::new());
        module.visit(&mut children);
        let get = |name: &str| children.0.iter().find(|(n, _)| n == name).map(|(_, node)| *node);
        match (get("k_proj"), get("v_proj"), get("o_proj"), get("c_attn")) {
            (Some(k), Some(v), Some(o), _) => Some(Self::Llama { k, v, o }),
            (.., Some(qkv)) => Some(Self::Gpt2 { qkv }),
            _ => None,
        }
    }
}

impl Prompted {
    fn entry(&self, id: AdapterId) -> Option<&Entry> {
        self.ids.binary_search(&id).ok().map(|at| &self.entries[at])
    }

    fn active(&self, cx: &Context) -> Result<&Entry> {
        let mut active = cx.active.iter().filter_map(|&id| self.entry(id));
        match (active.next(), active.next()) {
            (Some(one), None) => Ok(one),
            _ => Err(Error::Invalid("adaption prompts: one adapter can be active at a time".into())),
        }
    }

    /// What `q [batch, seq, heads, d]` attends to of the prompt: `[batch, seq, heads · d]`, behind the gate.
    fn attend(&self, cx: &Context, entry: &Entry, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let spread = |x: &Tensor| {
            let heads = x.split_last(self.head_dim)?;
            let (len, kv) = (heads.dim(1), heads.dim(2));
            heads.to_dtype(q.dtype())?.broadcast_to(&[q.dim(0), len, kv, self.head_dim])?.contiguous()
        };
        let scale = 1. / (self.head_dim as f64).sqrt();
        let options = AttentionOptions { scale, mask: Mask::default(), dropout: None };
        let seen = ops::attention(q, &spread(k)?, &spread(v)?, &options)?.merge_last()?;
        seen.mul(&entry.gate.value(cx.grad)?.to_dtype(seen.dtype())?)
    }
}

impl Tuner for Prompted {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let entry = self.active(cx)?;
        let tokens = entry.tokens.value(cx.grad)?;
        match (Shape::of(next.module()), next.method()) {
            (Some(Shape::Llama { k, v, .. }), ATTEND) => {
                let q = args.tensor(0, "q")?.clone();
                let own = next.run(cx, args)?.into_tensor()?;
                let seen = self.attend(cx, entry, &q, &k.apply(cx, &tokens)?, &v.apply(cx, &tokens)?)?;
                Ok(own.add(&seen)?.into())
            }
            (Some(Shape::Llama { o, .. }), _) => {
                let mut value = next.run(cx, args)?;
                // Python projects both parts, and so adds the projection's bias twice.
                if let Some(bias) = o.module().weights().and_then(|w| w.bias().cloned()) {
                    let y = value.element_mut(&Some(Position::Index(0)))?;
                    *y = y.add(&bias.value(cx.grad)?)?;
                }
                Ok(value)
            }
            (Some(Shape::Gpt2 { qkv }), FORWARD) => {
                let q = qkv.apply(cx, args.tensor(0, "hidden_states")?)?;
                let width = q.last_dim() / 3;
                let of = qkv.apply(cx, &tokens)?;
                let part = |x: &Tensor, i: usize| x.narrow(-1, i * width, width)?.contiguous();
                let q = part(&q, 0)?.split_last(self.head_dim)?;
                let seen = self.attend(cx, entry, &q, &part(&of, 1)?, &part(&of, 2)?)?;
                let mut value = next.run(cx, args)?;
                let y = value.element_mut(&Some(Position::Index(0)))?;
                *y = y.add(&seen)?;
                Ok(value)
            }
            _ => next.run(cx, args),
        }
    }

    fn surrounds(&self, method: &str) -> bool {
        method == FORWARD || method == ATTEND
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    /// Masks and rotary tables of a batch do not come apart.
    fn rows(&self, _: &Context) -> Result<Rows> {
        Ok(Rows::Whole)
    }

    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        let Some(Entry { tokens, gate }) = self.entry(adapter) else { return Vec::new() };
        vec![Part::plain("adaption_prompt".into(), tokens), Part::plain("adaption_gate".into(), gate)]
    }

    /// Python has the tensors of one adapter in the model at a time, and they have no adapter's name.
    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        let trains = |e: &&Entry| e.tokens.requires_grad();
        if let Some(entry) = self.entries.iter().find(trains).or(self.entries.first()) {
            v.param("adaption_prompt", &entry.tokens);
            v.param("adaption_gate", &entry.gate);
        }
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.entries.remove(at);
        }
        self.ids.is_empty()
    }

    fn base_name(&self) -> Option<&'static str> {
        Some("model")
    }
}
