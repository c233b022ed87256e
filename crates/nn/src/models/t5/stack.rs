//! Encoder and decoder: embeddings and a stack of blocks.

use crate::context::Context;
use crate::models::head::hidden_output;
use crate::models::tokens::{embedded, padding_mask, token_shape};
use crate::module::{Args, Module, Node, NodeList, Value};
use crate::ops::Mask;
use crate::{fields, Error, Result};

#[derive(Clone)]
pub(super) struct T5Stack {
    pub embed_tokens: Node,
    pub block: NodeList,
    pub final_layer_norm: Node,
    pub dropout: Node,
    pub decoder: bool,
}

impl Module for T5Stack {
    fields!(embed_tokens, block, final_layer_norm, dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let (batch, seq) = token_shape(args)?;
        let embedded = embedded(cx, args, Some(&self.embed_tokens))?;
        let keys = padding_mask(args, batch, cx.past() + seq, embedded.device())?;
        let mask = Mask { causal: self.decoder, keys, ..Mask::default() };
        let encoded = args.named("encoder_hidden_states").clone();
        let cross = match (&encoded, args.named("encoder_attention_mask")) {
            (Value::Tensor(e), Value::Ints(m)) => {
                let given = Args::default().with("attention_mask", Value::Ints(m.clone()));
                Mask { keys: padding_mask(&given, batch, e.dim(1), embedded.device())?, ..Mask::default() }
            }
            _ => Mask::default(),
        };
        let mut hidden = self.dropout.apply(cx, &embedded)?;
        let mut bias = Value::None;
        for block in &self.block.items {
            let positional =
                vec![hidden.into(), Value::Mask(mask.clone()), bias, encoded.clone(), Value::Mask(cross.clone())];
            let Value::Tuple(mut out) = block.call(cx, Args { positional, named: Vec::new() })? else {
                return Err(Error::Argument("t5: a block gives its hidden state and position bias".into()));
            };
            bias = out.pop().unwrap_or(Value::None);
            hidden = out.swap_remove(0).into_tensor()?;
        }
        let hidden = self.final_layer_norm.apply(cx, &hidden)?;
        Ok(hidden_output(self.dropout.apply(cx, &hidden)?))
    }
}
