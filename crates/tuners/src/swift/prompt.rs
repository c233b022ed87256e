//! (Visual) prompt tuning: trained positions in a layer's sequence.
//!
//! Jia et al. 2022 (arXiv 2203.12119); Python's `swift.tuners.prompt`.

use crate::config::Dialect;
use crate::fields::{Required, Sizes};
use crate::method::{Attach, Attachment, Kind};
use crate::target::{attach_at, SwiftRule};
use serde_json::Value as Json;
use swift_tuners_nn::module::{Args, Next, Own, Position, Tuner, Value};
use swift_tuners_nn::ops::Mask;
use swift_tuners_nn::{Array, Context, Error, Param, Result, Tensor};

crate::config! {
    /// `PromptConfig`
    pub struct PromptConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        /// Width of the hidden state: one for all layers, or one for each that matches.
        dim: Required<Sizes>;
        /// Layers of a list: their paths end in a number. Layer 0 lengthens the sequence, the others overwrite its ends.
        target_modules: Required<SwiftRule>;
        /// Where the hidden state is among the layer's arguments.
        embedding_pos: Required<Position>;
        attention_mask_pos: Option<Position> = None;
        /// Added to the attention scores of the prompt; 0 makes it visible.
        attention_mask_value: f64 = 0.;
        prompt_length: usize = 16, in 1..;
        /// Before the sequence, or behind it.
        attach_front: bool = true;
        /// Cuts the prompt's positions from the layer's output.
        extract_embedding: bool = false;
    }
}

/// The kind of tuner.
pub struct PromptTuning;

impl Kind for PromptTuning {
    const NAME: &'static str = "PROMPT";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "PromptConfig";
    const ABOUT: &'static str = "Trained positions in the sequences of layers. Jia et al. 2022 (arXiv 2203.12119).";
    type Config = PromptConfig;

    fn attach(config: &PromptConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

fn attach(c: &PromptConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    let places = c.target_modules.0.places(a.model, "target_modules")?;
    let length = c.prompt_length;
    let mut layers = Vec::new();
    for place in &places {
        let number: Option<usize> = place.path.rsplit('.').next().and_then(|n| n.parse().ok());
        layers.push(number.ok_or_else(|| {
            Error::config(
                "target_modules",
                format!("{:?} is no layer of a list: its path ends in no number", place.path),
            )
        })?);
    }
    let grows = layers.contains(&0);
    let mut tokens = Vec::new();
    for i in 0..places.len() {
        let dim = c.dim.0.at("dim", i)?;
        tokens.push(a.init.param(&[1, length, dim], move |g| g.xavier_uniform(&[1, length, dim], 1.))?);
    }
    let embedding = c.embedding_pos.0.clone();
    let (mask, mask_value) = (c.attention_mask_pos.clone(), c.attention_mask_value);
    let (front, extract) = (c.attach_front, c.extract_embedding);
    attach_at(&mut a.model.root, &places, |i, node| {
        let token = tokens[i].clone();
        let params = vec![("prompt_token".to_owned(), token.clone())];
        let own = Own { adapter: id, before: "prompt_", name: name.to_owned(), params };
        node.tuners.push(Box::new(Prompt {
            own,
            token,
            first: layers[i] == 0,
            grows,
            embedding: embedding.clone(),
            mask: mask.clone(),
            mask_value,
            front,
            extract,
        }));
        Ok(())
    })?;
    Ok(Attachment::new(a.config))
}

/// Layer 0 of a stack gets the prompt before (or behind) its sequence; in every other layer the first (last) positions are
/// overwritten by it.
#[derive(Clone)]
struct Prompt {
    own: Own,
    /// `[1, length, dim]`
    token: Param,
    first: bool,
    /// Whether the sequence of this adapter's layers has grown, because layer 0 is among them.
    grows: bool,
    embedding: Position,
    mask: Option<Position>,
    mask_value: f64,
    front: bool,
    /// Cut the prompt's positions from the layer's output.
    extract: bool,
}

impl Prompt {
    fn length(&self) -> usize {
        self.token.shape()[1]
    }

    fn prompted(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (length, width) = (self.length(), self.token.shape()[2]);
        let fits = x.rank() == 3 && x.last_dim() == width && (self.first || x.dim(1) >= length);
        if !fits {
            return Err(Error::Shape {
                path: format!("prompt of {}", self.own.name),
                expected: vec![x.dims().first().copied().unwrap_or(1), length, width],
                actual: x.dims().to_vec(),
            });
        }
        let token = self.token.value(cx.grad)?.to_dtype(x.dtype())?.broadcast_to(&[x.dim(0), length, width])?;
        let rest =
            if self.first { x.clone() } else { x.narrow(1, if self.front { length } else { 0 }, x.dim(1) - length)? };
        Tensor::cat(&if self.front { [&token, &rest] } else { [&rest, &token] }, 1)
    }

    /// The mask with places for the prompt.
    fn widened(&self, mask: &Mask) -> Result<Mask> {
        if mask.starts.is_some() {
            let why = "positionIds: a Prompt stands before one sequence per row, and here are several";
            return Err(Error::Argument(why.into()));
        }
        let wide = |m: &Array| -> Result<Array> {
            let axis = m.rank() - 1;
            let mut shape = m.dims().to_vec();
            shape[axis] = self.length();
            let added = Array::full(self.mask_value as f32, shape, m.device())?.to_dtype(m.dtype())?;
            Ok(Array::cat(&if self.front { [&added, m] } else { [m, &added] }, axis)?)
        };
        // A dense mask has a row per query, too: what a prompt sees is what the nearest position of the sequence sees.
        let tall = |m: Array| -> Result<Array> {
            let rows = m.dims()[2];
            if rows == 1 {
                return Ok(m);
            }
            let nearest = m.narrow(2, if self.front { 0 } else { rows - 1 }, 1)?;
            let added = nearest.repeat((1, 1, self.length(), 1))?;
            Ok(Array::cat(&if self.front { [&added, &m] } else { [&m, &added] }, 2)?)
        };
        Ok(Mask {
            keys: mask.keys.as_ref().map(wide).transpose()?,
            dense: mask.dense.as_ref().map(|m| wide(m).and_then(tall)).transpose()?,
            ..mask.clone()
        })
    }
}

impl Tuner for Prompt {
    fn around(&self, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        // In a decoding step the prompt is among the positions that the cache holds.
        if cx.decoding {
            return next.run(cx, args);
        }
        match args.get_mut(&self.embedding)? {
            Value::Tensor(x) => *x = self.prompted(cx, x)?,
            other => {
                return Err(Error::Argument(format!(
                    "embedding_pos: the argument {} is {}, not a tensor",
                    self.embedding,
                    other.kind()
                )))
            }
        }
        if let (Some(position), true) = (&self.mask, self.grows) {
            // Layers are called without a mask where nothing is hidden.
            if let Ok(Value::Mask(mask)) = args.get_mut(position) {
                *mask = self.widened(mask)?;
            }
        }
        let mut value = next.run(cx, args)?;
        if self.extract {
            let y = value.element_mut(&Some(Position::Index(0)))?;
            *y = y.narrow(1, if self.front { self.length() } else { 0 }, y.dim(1) - self.length())?;
        }
        Ok(value)
    }

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}
