//! LongLoRA: LoRA with trained embeddings and norms, and attention inside shifted groups while training.
//!
//! Chen et al. 2023 (arXiv 2309.12307); Python's `swift.tuners.longlora`.

use crate::config::{Dialect, TunerConfig};
use crate::lora;
use crate::method::{Attach, Attachment, Method, Traits};
use crate::target::{attach_at, FullMatch, Place};
use serde_json::{json, Map, Value as Json};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::models::GROUP_SIZE_RATIO;
use swift_tuners_nn::module::{model_nodes, own_parameters, Args, Next, Own, Tuner, Value, Visitor};
use swift_tuners_nn::{Context, Error, Result};

pub static METHOD: Method = Method {
    kind: "longlora",
    dialects: &[Dialect::Swift],
    defaults,
    check,
    attach,
    combination: None,
    traits: Traits::DEFAULT,
};

fn defaults(dialect: Dialect) -> Map<String, Json> {
    let mut map = lora::defaults(dialect);
    map["swift_type"] = "longlora".into();
    map["peft_type"] = Json::Null;
    if let Json::Object(own) =
        json!({ "embedder_and_normalizer": ["embed", "norm"], "model_type": null, "group_size_ratio": 0.25 })
    {
        map.extend(own);
    }
    map
}

/// Which base parameters train, too.
enum Extra {
    Pattern(FullMatch),
    /// Names that contain one of these.
    Parts(Vec<String>),
}

impl Extra {
    fn new(c: &TunerConfig) -> Result<Self> {
        const FIELD: &str = "embedder_and_normalizer";
        match c.get(FIELD) {
            Some(Json::String(pattern)) => Ok(Self::Pattern(FullMatch::new(pattern, FIELD)?)),
            _ => Ok(Self::Parts(c.texts(FIELD)?.unwrap_or_default())),
        }
    }

    fn matches(&self, name: &str) -> Result<bool> {
        match self {
            Self::Pattern(p) => p.matches(name),
            Self::Parts(parts) => Ok(parts.iter().any(|p| name.contains(p.as_str()))),
        }
    }
}

fn check(c: &TunerConfig) -> Result<()> {
    lora::LoraConfig::new(c)?;
    Extra::new(c)?;
    let ratio = c.float("group_size_ratio")?.unwrap_or(0.25);
    if !(ratio > 0. && ratio <= 1.) {
        return Err(Error::config("group_size_ratio", format!("expected a share of the sequence, found {ratio}")));
    }
    match c.text("model_type")? {
        None => Ok(()),
        Some(kind) if kind.eq_ignore_ascii_case("llama") => Ok(()),
        Some(other) => {
            Err(Error::config("model_type", format!("expected llama or null, found {:?}", printable(other, 40))))
        }
    }
}

fn attach(a: &mut Attach<'_>) -> Result<Attachment> {
    let Attach { model, id, name, config: c, seed } = a;
    let (id, c, seed) = (*id, *c, *seed);
    let extra = Extra::new(c)?;
    let mut shared = Vec::new();
    for (path, _) in own_parameters(&model.root) {
        if extra.matches(&path)? {
            shared.push(path);
        }
    }
    let mut attachment = lora::attach(model, id, name, c, seed)?;
    attachment.shared = shared;
    if c.text("model_type")?.is_some() {
        let blocks = model.keys.blocks;
        let is_attention = |path: &str| {
            let inside = path.strip_prefix(blocks).and_then(|p| p.strip_prefix('.'));
            inside.and_then(|p| p.split_once('.')).is_some_and(|(_, part)| part == "self_attn")
        };
        let nodes = model_nodes(&model.root);
        let places: Vec<Place> = nodes
            .iter()
            .filter(|(path, _)| is_attention(path))
            .map(|(path, node)| Place { id: node.id(), path: path.clone() })
            .collect();
        if places.is_empty() {
            return Err(Error::config(
                "model_type",
                format!("llama: {} has no attention of that kind", model.keys.architecture),
            ));
        }
        let ratio = c.float("group_size_ratio")?.unwrap_or(0.25);
        attach_at(&mut model.root, &places, |_, node| {
            let own = Own { adapter: id, before: "", name: String::new(), params: Vec::new() };
            node.tuners.push(Box::new(ShiftedAttention { own, ratio }));
            Ok(())
        })?;
    }
    Ok(attachment)
}

/// Asks attention for shifted groups while the adapter trains; evaluation is ordinary attention.
#[derive(Clone)]
struct ShiftedAttention {
    own: Own,
    ratio: f64,
}

impl Tuner for ShiftedAttention {
    fn around(&self, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        if cx.training && cx.cache.is_none() {
            args.named.push((GROUP_SIZE_RATIO, Value::Number(self.ratio)));
        }
        next.run(cx, args)
    }

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }

    fn visit<'a>(&'a self, _: &mut dyn Visitor<'a>) {}
}
