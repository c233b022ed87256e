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
use swift_tuners_nn::models::ATTEND;
use swift_tuners_nn::module::{model_nodes, own_parameters, Args, Next, Own, Rows, Tuner, Value, Visitor};
use swift_tuners_nn::ops::Mask;
use swift_tuners_nn::{Context, Error, Result, Tensor};

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

/// Attention in groups of `ratio · seq` positions while the adapter trains; evaluation is ordinary attention.
#[derive(Clone)]
struct ShiftedAttention {
    own: Own,
    ratio: f64,
}

impl ShiftedAttention {
    /// Causal attention inside groups; the second half of the heads sees the groups shifted by half a group, the last of them
    /// wrapping around.
    ///
    /// Chen et al. 2023 (arXiv 2309.12307). Python shifts odd groups back by one place too few; here they return.
    fn attend(&self, cx: &Context, args: &Args, next: Next<'_>) -> Result<Value> {
        let (q, k, v) = (args.tensor(0, "q")?, args.tensor(1, "k")?, args.tensor(2, "v")?);
        let (batch, seq, heads, head_dim) = (q.dim(0), q.dim(1), q.dim(2), q.dim(3));
        let group = (seq as f64 * self.ratio) as usize;
        if group == 0 || seq % group != 0 {
            return Err(Error::Argument(format!(
                "group_size_ratio: a sequence of {seq} cannot be split into groups of {group}; pad it to a multiple"
            )));
        }
        let mask = args.mask(3, "attention_mask");
        if mask.starts.is_some() {
            let why = "positionIds: LongLoRA's groups take one sequence per row, and here are several";
            return Err(Error::Argument(why.into()));
        }
        let shift = group.div_ceil(2) as isize;
        let half = heads / 2;
        let (k, v) = (repeat_heads(k, heads)?, repeat_heads(v, heads)?);
        let part = |start: usize, count: usize, shift: isize| -> Result<Tensor> {
            let grouped = |x: &Tensor| {
                let x = x.narrow(2, start, count)?.roll(-shift, 1)?.contiguous()?;
                x.reshape((batch * seq / group, group, count, head_dim))
            };
            let keys = match &mask.keys {
                Some(keys) => {
                    let keys = Tensor::from(keys.clone()).roll(-shift, 1)?.contiguous()?;
                    Some(keys.reshape((batch * seq / group, group))?.into_data())
                }
                None => None,
            };
            let mask = Value::Mask(Mask { keys, ..mask.clone() });
            let positional = vec![grouped(q)?.into(), grouped(&k)?.into(), grouped(&v)?.into(), mask];
            let y = next.run(cx, Args { positional, named: Vec::new() })?.into_tensor()?;
            y.reshape((batch, seq, count * head_dim))?.roll(shift, 1)
        };
        if half == 0 {
            return Ok(part(0, heads, 0)?.into());
        }
        let (first, second) = (part(0, half, 0)?, part(half, heads - half, shift)?);
        Ok(Tensor::cat(&[&first, &second], 2)?.into()) // [batch, seq, heads * head_dim]
    }
}

/// `[batch, seq, kv_heads, d]` → `[batch, seq, heads, d]`, each head in turn for the queries that share it.
fn repeat_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let &[batch, seq, kv, d] = x.dims() else {
        return Err(Error::Argument(format!("attention: expected four dimensions, found {:?}", x.dims())));
    };
    if kv == heads {
        return Ok(x.clone());
    }
    x.unsqueeze(3)?.broadcast_to(&[batch, seq, kv, heads / kv, d])?.contiguous()?.reshape((batch, seq, heads, d))
}

impl Tuner for ShiftedAttention {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        if cx.training && cx.cache.is_none() {
            self.attend(cx, &args, next)
        } else {
            next.run(cx, args)
        }
    }

    fn surrounds(&self, method: &str) -> bool {
        method == ATTEND
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
