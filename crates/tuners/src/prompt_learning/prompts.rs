//! The tuner that puts virtual tokens before a sequence.

use super::encoder::{EncoderTensor, Held, PromptEncoder};
use super::place::Place;
use super::size::Size;
use crate::method::Attach;
use candle_core::{DType, Device};
use std::sync::Arc;
use swift_tuners_nn::kv_cache::Prefix;
use swift_tuners_nn::models::{DECODER_PROMPT, LOSS, PROMPT};
use swift_tuners_nn::module::{Args, Ints, Next, Part, PartName, Role, Steps, Tuner, Value, Visitor, FORWARD};
use swift_tuners_nn::{AdapterId, Context, Error, Param, Result, Tensor};

/// The key of the tokens in files.
const SAVED: &str = "prompt_embeddings";
/// Where labels count nothing.
const IGNORED: i64 = -100;

/// One adapter.
#[derive(Clone)]
pub struct Entry {
    name: String,
    place: Place,
    size: Size,
    encoder: Arc<dyn PromptEncoder>,
    made: Option<Made>,
}

/// What an encoder gives, where files hold that.
#[derive(Clone)]
struct Made {
    /// From a file: counts until the encoder has values.
    given: Param,
    computed: Param,
}

impl Entry {
    pub fn new(name: &str, place: Place, size: Size, encoder: Box<dyn PromptEncoder>) -> Result<Self> {
        let encoder: Arc<dyn PromptEncoder> = encoder.into();
        let sources = || encoder.tensors().into_iter().filter(|t| !matches!(t.held, Held::Saved(_)));
        let made = sources().next().map(|first| {
            let (dtype, device) = (first.param.dtype(), first.param.device());
            let shape = match place {
                Place::Embeddings => [size.rows(), size.width],
                Place::Past => [size.tokens, size.layers * 2 * size.width],
            };
            let make = encoder.clone();
            let tokens = move || make.tokens(&Context { grad: false, ..Context::default() }).map(Tensor::into_data);
            let computed = Param::pending(&shape, dtype, &device, false, tokens);
            let zeros = move || Ok(swift_tuners_nn::Array::zeros(shape.as_slice(), DType::F32, &Device::Cpu)?);
            Made { given: Param::pending(&shape, dtype, &device, false, zeros), computed }
        });
        Ok(Self { name: name.to_owned(), place, size, encoder, made })
    }

    /// Whether the encoder has no values of its own, so that what a file held counts.
    fn is_given(&self) -> bool {
        self.encoder.tensors().iter().any(|t| t.held == Held::Encoder && t.param.is_pending())
    }

    fn made(&self) -> Option<&Param> {
        let made = self.made.as_ref()?;
        // Values that a file may give are none yet.
        let none = self.encoder.tensors().iter().any(|t| t.param.is_pending());
        Some(if none { &made.given } else { &made.computed })
    }

    fn full(&self, name: &str) -> String {
        format!("prompt_encoder.{}.{name}", self.name)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let one = |EncoderTensor { name, held, param }| {
            let (key, role) = match held {
                Held::Saved(key) => (key, Role::Trained),
                Held::Encoder | Held::Invertible => ("", Role::Source),
                Held::Frozen => ("", Role::Buffer { saved: false }),
            };
            Part::of(PartName::Beside { name: self.full(&name), key: key.to_owned() }, param).role(role)
        };
        let mut parts: Vec<Part<'_>> = self.encoder.tensors().into_iter().map(one).collect();
        if let Some(made) = self.made() {
            parts.push(
                Part::of(PartName::Beside { name: self.full(SAVED), key: SAVED.to_owned() }, made).role(Role::Made),
            );
        }
        parts
    }

    /// `[batch, tokens, width]`, those of all stacks.
    fn tokens(&self, cx: &Context, batch: usize) -> Result<Tensor> {
        let tokens = match &self.made {
            Some(made) if self.is_given() => {
                if cx.training && cx.grad {
                    let why = format!(
                        "{}: its checkpoint holds what its encoder gave and not the encoder, so training cannot go on \
                         from it; load the encoder with loadStateDict",
                        self.name
                    );
                    return Err(Error::Invalid(why));
                }
                made.given.value(false)?
            }
            _ => self.encoder.tokens(cx)?,
        };
        match tokens.rank() {
            2 => {
                let (rows, width) = (tokens.dim(0), tokens.dim(1));
                tokens.unsqueeze(0)?.broadcast_to(&[batch, rows, width])?.contiguous()
            }
            _ => Ok(tokens),
        }
    }

    /// Keys and values of every layer.
    fn prefix(&self, cx: &Context, batch: usize) -> Result<Prefix> {
        let Size { tokens, layers, heads, width, stacks } = self.size;
        let all = self.tokens(cx, batch)?.reshape((batch, tokens, layers * 2, heads, width / heads))?;
        let at = |i: usize| all.narrow(2, i % (2 * layers), 1)?.squeeze(2)?.contiguous();
        // Python splits twice the list among an encoder-decoder's layers: each has two pairs, of which the first counts.
        let step = 2 * stacks;
        Ok(Prefix::new((0..layers).map(|l| Ok((at(l * step)?, at(l * step + 1)?))).collect::<Result<_>>()?))
    }
}

/// All adapters that put virtual tokens before the sequence; one of them may be active.
#[derive(Clone, Default)]
pub struct Prompts {
    ids: Vec<AdapterId>,
    entries: Vec<Entry>,
}

impl Prompts {
    pub fn push(a: &mut Attach<'_>, entry: Entry) -> Result<()> {
        let root = &mut a.model.root;
        if root.tuner::<Self>().is_none() {
            root.tuners.push(Box::new(Self::default()));
        }
        if let Some(prompts) = root.tuner_mut::<Self>() {
            prompts.ids.push(a.id);
            prompts.entries.push(entry);
        }
        Ok(())
    }

    fn entry(&self, id: AdapterId) -> Option<&Entry> {
        self.ids.binary_search(&id).ok().map(|at| &self.entries[at])
    }

    fn active(&self, cx: &Context) -> Result<&Entry> {
        let mut active = cx.active.iter().filter_map(|&id| self.entry(id));
        match (active.next(), active.next()) {
            (Some(one), None) => Ok(one),
            (Some(a), Some(b)) => {
                let why = format!("{} and {} both put virtual tokens first; activate one of them", a.name, b.name);
                Err(Error::Invalid(why))
            }
            (None, _) => Err(Error::Invalid("no prompt is active".into())),
        }
    }

    fn forward(entry: &Entry, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        let batch = rows(&args)?;
        let n = entry.size.tokens;
        let seq2seq = args.ints("decoder_input_ids").is_some();
        let past = entry.place == Place::Past;
        let decoder_too = past || entry.encoder.also_decoder();
        let masks: &[&str] = match (seq2seq, past) {
            (true, true) => &["decoder_attention_mask"],
            (true, false) if decoder_too => &["attention_mask", "decoder_attention_mask"],
            _ => &["attention_mask"],
        };
        for (name, value) in &mut args.named {
            let Value::Ints(ints) = value else { continue };
            match *name {
                name if masks.contains(&name) => *ints = before(ints, n, 1)?,
                "labels" if !past => *ints = before(ints, n, IGNORED)?,
                "position_ids" if past => {
                    *ints = Ints::new(ints.shape.clone(), ints.data.iter().map(|p| p + n as i64).collect())?
                }
                "token_type_ids" if !past && !cx.decoding => *ints = before(ints, n, 0)?,
                _ => {}
            }
        }
        if past {
            // A cache has them from its first pass on.
            let prefix = if cx.decoding { None } else { Some(Arc::new(entry.prefix(cx, batch)?)) };
            return next.run(&Context { prefix, ..cx.clone() }, args);
        }
        if args.ints("position_ids").is_some() {
            if cx.cache.is_none() {
                return Err(Error::Argument(
                    "positionIds: not with virtual tokens, which take the first positions".into(),
                ));
            }
            // Generation counts tokens; behind virtual ones PEFT counts positions, padding included.
            args.named.retain(|(name, _)| *name != "position_ids");
        }
        if !cx.decoding || seq2seq {
            let tokens = entry.tokens(cx, batch)?; // [batch, tokens * stacks, width]
            args = args.with(PROMPT, tokens.narrow(1, 0, n)?);
            if decoder_too && entry.size.stacks == 2 && !cx.decoding {
                args = args.with(DECODER_PROMPT, tokens.narrow(1, n, n)?);
            }
        }
        next.run(cx, args)
    }

    fn loss(entry: &Entry, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        if entry.encoder.has_loss() && args.ints("labels").is_some() {
            if args.optional_tensor("loss_scale").is_some() {
                return Err(Error::Argument("lossScale: the virtual tokens have a loss of their own".into()));
            }
            return Ok(entry.encoder.loss(cx, &args)?.into());
        }
        let longer = |output: &Value, labels: &Ints| match output.field("logits") {
            Some(Value::Tensor(logits)) => {
                logits.rank() == 3 && labels.shape.len() == 2 && logits.dim(1) > labels.shape[1]
            }
            _ => false,
        };
        let grown = args.ints("labels").is_some_and(|labels| longer(args.get(0, "output"), labels));
        for (name, value) in &mut args.named {
            if let (true, "labels", Value::Ints(labels)) = (grown, *name, &mut *value) {
                *labels = before(labels, entry.size.tokens, IGNORED)?;
            }
        }
        next.run(cx, args)
    }
}

fn rows(args: &Args) -> Result<usize> {
    let ids = args.ints("input_ids").map(|ids| ids.shape.as_slice());
    let shape = ids.or_else(|| args.optional_tensor("inputs_embeds").map(Tensor::dims));
    shape
        .and_then(|s| s.first().copied())
        .ok_or_else(|| Error::Argument("this model needs inputIds or inputsEmbeds".into()))
}

/// `[batch, seq]` → `[batch, n + seq]`, the new ones `value`.
pub(super) fn before(ints: &Ints, n: usize, value: i64) -> Result<Ints> {
    let &[batch, seq] = &ints.shape[..] else {
        return Err(Error::Argument(format!("expected [batch, seq], found {:?}", ints.shape)));
    };
    let rows = ints.data.chunks(seq.max(1));
    let longer = rows.flat_map(|row| std::iter::repeat_n(value, n).chain(row.iter().copied())).collect();
    Ints::new(vec![batch, n + seq], longer)
}

impl Steps for Prompts {
    fn constrain(&self) -> Result<()> {
        self.entries.iter().try_for_each(|entry| entry.encoder.constrain())
    }
}

impl Tuner for Prompts {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let entry = self.active(cx)?;
        match next.method() {
            LOSS => Self::loss(entry, cx, args, next),
            _ => Self::forward(entry, cx, args, next),
        }
    }

    fn loss_items(&self, cx: &Context, labels: &Ints, causal: bool) -> Result<Option<usize>> {
        let Some(entry) = cx.active.iter().find_map(|&id| self.entry(id)) else { return Ok(None) };
        if entry.encoder.has_loss() {
            return entry.encoder.loss_items(cx, labels).map(Some);
        }
        // The last virtual token predicts the first label.
        let all = causal && entry.place == Place::Embeddings;
        Ok(all.then(|| labels.data.iter().filter(|&&label| label != IGNORED).count()))
    }

    fn positions_before(&self, cx: &Context) -> usize {
        cx.active.iter().find_map(|&id| self.entry(id)).map_or(0, |entry| entry.size.tokens)
    }

    fn surrounds(&self, method: &str) -> bool {
        method == LOSS || method == FORWARD
    }

    fn reads_output(&self) -> bool {
        self.entries.iter().any(|e| e.encoder.has_loss())
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        self.entry(adapter).map(Entry::parts).unwrap_or_default()
    }

    fn loaded(&self, adapter: AdapterId) -> Result<()> {
        let Some(entry) = self.entry(adapter) else { return Ok(()) };
        let Some(made) = entry.made.as_ref().filter(|m| !m.given.is_pending()) else { return Ok(()) };
        let Some(values) = entry.encoder.inverted(&made.given.array()?)? else { return Ok(()) };
        entry.encoder.tensors().iter().zip(values).try_for_each(|(t, value)| t.param.set(&value))
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for entry in &self.entries {
            v.scope(&format!("prompt_encoder.{}", entry.name));
            entry.encoder.tensors().iter().for_each(|t| v.param(&entry.full(&t.name), t.param));
        }
    }

    /// Nothing of it can go into weights.
    fn unloads(&self) -> bool {
        false
    }

    fn steps(&self) -> Option<&dyn Steps> {
        Some(self)
    }

    fn rename(&mut self, adapter: AdapterId, name: &str) {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.entries[at].name = name.to_owned();
        }
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.entries.remove(at);
        }
        self.ids.is_empty()
    }
}
