//! LongLoRA: LoRA with trained embeddings and norms, and attention inside shifted groups while training.
//!
//! Chen et al. 2023 (arXiv 2309.12307); Python's `swift.tuners.longlora`.

use crate::config::Dialect;
use crate::fields::Names;
use crate::layers::{self, LayerKind};
use crate::lora;
use crate::lora::{HasLora, LoraOf, SwiftLoraConfig};
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::pattern::FullMatch;
use crate::target::{attach_at, Place};
use swift_tuners_nn::models::GROUP_SIZE_RATIO;
use swift_tuners_nn::module::{model_nodes, own_parameters, Args, Next, Own, Rows, Tuner, Value, Visitor};
use swift_tuners_nn::{Context, Error, Result};

crate::words! {
    /// Architectures with shifted attention: all that are like Llama.
    pub enum Family { Llama = "llama" }
}

crate::config! {
    /// `LongLoRAConfig`
    pub struct LongLoraConfig {
        standard: [];
        ..swift: SwiftLoraConfig;
        peft_type: Option<String> = None;
        /// Base parameters that train and are saved, too: parts of names, or a regular expression for whole ones.
        embedder_and_normalizer: Names = Names::List(vec!["embed".into(), "norm".into()]);
        /// For the shifted attention (all Llama-like architectures); null for none.
        model_type: Option<Family> = None;
        /// Share of the sequence that a group has.
        group_size_ratio: f64 = 0.25, in f64::MIN_POSITIVE..=1.;
    }
}

impl HasLora for LongLoraConfig {
    const DIALECT: Dialect = Dialect::Swift;
    fn lora(&self) -> &lora::LoraFields {
        &self.swift.lora
    }
}

/// The kind of tuner.
pub struct LongLora;

impl Kind for LongLora {
    const NAME: &'static str = "longlora";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "LongLoRAConfig";
    const ABOUT: &'static str = "LoRA with trained embeddings and norms, and attention in shifted groups while training. Chen et al. 2023 (arXiv 2309.12307).";
    const TRAITS: Traits = Traits::LAYER;
    type Config = LongLoraConfig;

    fn check(config: &LongLoraConfig) -> Result<()> {
        if config.swift.use_merged_linear {
            return Err(Error::config("use_merged_linear", "does not go with LongLoRA"));
        }
        <LoraOf<LongLoraConfig> as LayerKind>::check(config)?;
        Extra::new(config).map(|_| ())
    }

    fn attach(config: &LongLoraConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

/// Which base parameters train, too.
enum Extra {
    Pattern(FullMatch),
    /// Names that contain one of these.
    Parts(Vec<String>),
}

impl Extra {
    fn new(c: &LongLoraConfig) -> Result<Self> {
        match &c.embedder_and_normalizer {
            Names::Text(pattern) => Ok(Self::Pattern(FullMatch::new(pattern, "embedder_and_normalizer")?)),
            Names::List(parts) => Ok(Self::Parts(parts.clone())),
        }
    }

    fn matches(&self, name: &str) -> Result<bool> {
        match self {
            Self::Pattern(p) => p.matches(name),
            Self::Parts(parts) => Ok(parts.iter().any(|p| name.contains(p.as_str()))),
        }
    }
}

fn attach(c: &LongLoraConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let id = a.id;
    let extra = Extra::new(c)?;
    let mut shared = Vec::new();
    for (path, _) in own_parameters(&a.model.root) {
        if extra.matches(&path)? {
            shared.push(path);
        }
    }
    let mut attachment = layers::attach::<LoraOf<LongLoraConfig>>(c, a)?;
    attachment.shared = shared;
    if c.model_type.is_some() {
        let blocks = a.model.keys.blocks;
        let is_attention = |path: &str| {
            let inside = path.strip_prefix(blocks).and_then(|p| p.strip_prefix('.'));
            inside.and_then(|p| p.split_once('.')).is_some_and(|(_, part)| part == "self_attn")
        };
        let nodes = model_nodes(&a.model.root);
        let places: Vec<Place> = nodes
            .iter()
            .filter(|(path, _)| is_attention(path))
            .map(|(path, node)| Place { id: node.id(), path: path.clone() })
            .collect();
        if places.is_empty() {
            return Err(Error::config(
                "model_type",
                format!("llama: {} has no attention of that kind", a.model.keys.architecture),
            ));
        }
        let ratio = c.group_size_ratio;
        attach_at(&mut a.model.root, &places, |_, node| {
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

    /// Masks and rotary tables of a batch do not come apart, so that groups are shifted in whole batches only.
    fn rows(&self, cx: &Context) -> Result<Rows> {
        Ok(if cx.training { Rows::Whole } else { Rows::Together })
    }

    fn visit<'a>(&'a self, _: &mut dyn Visitor<'a>) {}
}
