//! Words, positions and token types.

use crate::context::Context;
use crate::models::tokens::{embedded, token_shape, PROMPT};
use crate::module::{Args, Ints, Module, Node, Value};
use crate::{fields, Error, Result};

#[derive(Clone)]
pub(super) struct Embeddings {
    pub word_embeddings: Node,
    /// BERT lists its positions before the token types, RoBERTa last.
    pub first_positions: Option<Node>,
    pub token_type_embeddings: Node,
    pub layer_norm: Node,
    pub dropout: Node,
    pub last_positions: Option<Node>,
    pub max: usize,
    /// RoBERTa counts positions from here, over tokens that are not this one.
    pub pad: Option<i64>,
}

impl Embeddings {
    fn position_ids(&self, args: &Args, batch: usize, seq: usize, past: usize) -> Result<Ints> {
        let past = past as i64;
        if let Some(given) = args.ints("position_ids") {
            return Ok(given.clone());
        }
        let Some(pad) = self.pad else {
            return Ints::new(vec![1, seq], (past..past + seq as i64).collect());
        };
        match args.ints("input_ids").filter(|_| args.optional_tensor(PROMPT).is_none()) {
            Some(ids) => {
                let count = |row: &[i64]| {
                    let mut n = 0;
                    row.iter()
                        .map(|&id| {
                            if id == pad {
                                pad
                            } else {
                                n += 1;
                                n + past + pad
                            }
                        })
                        .collect::<Vec<_>>()
                };
                Ints::new(vec![batch, seq], ids.data.chunks(seq).flat_map(count).collect())
            }
            None => Ints::new(vec![1, seq], (pad + 1..=pad + seq as i64).collect()),
        }
    }
}

impl Module for Embeddings {
    fields!(
        word_embeddings,
        first_positions as "position_embeddings",
        token_type_embeddings,
        layer_norm as "LayerNorm",
        dropout,
        last_positions as "position_embeddings",
    );

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (batch, seq) = token_shape(args)?;
        let look_up = |node: &Node, ids: Ints| -> Result<crate::Tensor> {
            node.call(cx, Args { positional: vec![Value::Ints(ids)], named: Vec::new() })?.into_tensor()
        };
        let words = embedded(cx, args, Some(&self.word_embeddings))?;
        let types = match args.ints("token_type_ids") {
            Some(types) => types.clone(),
            None => Ints::new(vec![1, seq], vec![0; seq])?,
        };
        let positions = self.position_ids(args, batch, seq, cx.past())?;
        if positions.data.iter().any(|&p| p < 0 || p >= self.max as i64) {
            return Err(Error::Argument(format!("a position is past max_position_embeddings = {}", self.max)));
        }
        let table = self.first_positions.as_ref().or(self.last_positions.as_ref()).expect("one of them is set");
        let sum = words.add(&look_up(&self.token_type_embeddings, types)?)?.add(&look_up(table, positions)?)?;
        Ok(self.dropout.apply(cx, &self.layer_norm.apply(cx, &sum)?)?.into())
    }
}
