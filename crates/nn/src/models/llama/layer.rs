//! Layers of a decoder.

use super::attention::{attend, Attention, AttentionShape, FusedAttention};
use super::flags::Flags;
use super::gemma::GemmaLayer;
use super::mlp::{FusedMlp, Mlp};
use crate::context::Context;
use crate::models::builder::{activation, dropout, Builder};
use crate::models::experts;
use crate::module::{Args, Module, Node, Value};
use crate::{fields, Result};

pub(super) fn decoder_layer(
    b: &Builder,
    f: &Flags,
    index: usize,
    window: Option<usize>,
    moe: Option<&experts::MoeConfig>,
) -> Result<Node> {
    let a = b.at("self_attn");
    let (q, kv) = (f.heads * f.head_dim, f.kv_heads * f.head_dim);
    let o_proj = a.at("o_proj").linear(q, f.hidden, f.o_bias)?;
    let shared = AttentionShape {
        heads: f.heads,
        kv_heads: f.kv_heads,
        head_dim: f.head_dim,
        index,
        window,
        dropout: f.attention_dropout,
        scale: f.scale,
        rope: usize::from(f.gemma && window.is_some()),
    };
    let m = b.at("mlp");
    let down = || m.at("down_proj").linear(f.inner, f.hidden, f.mlp_bias);
    let mlp = match (moe, f.fused) {
        (Some(moe), _) => experts::build(&m, moe, f.hidden, f.act)?,
        (None, true) => {
            let gate_up_proj = m.at("gate_up_proj").linear(f.hidden, 2 * f.inner, false)?;
            Node::new(FusedMlp { gate_up_proj, down_proj: down()?, activation_fn: activation(f.act), act: f.act })
        }
        (None, false) => Node::new(Mlp {
            gate_proj: m.at("gate_proj").linear(f.hidden, f.inner, f.mlp_bias)?,
            up_proj: m.at("up_proj").linear(f.hidden, f.inner, f.mlp_bias)?,
            down_proj: down()?,
            act_fn: activation(f.act),
            act: f.act,
        }),
    };
    let self_attn = if f.fused {
        let qkv_proj = a.at("qkv_proj").linear(f.hidden, q + 2 * kv, false)?;
        Node::new(FusedAttention { o_proj, qkv_proj, shape: shared })
    } else {
        let norm =
            |name: &str| -> Result<Option<Node>> { f.qk_norm.then(|| f.norm(&a.at(name), f.head_dim)).transpose() };
        Node::new(Attention {
            q_proj: a.at("q_proj").linear(f.hidden, q, f.qkv_bias)?,
            k_proj: a.at("k_proj").linear(f.hidden, kv, f.qkv_bias)?,
            v_proj: a.at("v_proj").linear(f.hidden, kv, f.qkv_bias)?,
            o_proj,
            q_norm: norm("q_norm")?,
            k_norm: norm("k_norm")?,
            shape: shared,
        })
    };
    let norm = |name: &str| f.norm(&b.at(name), f.hidden);
    if f.gemma {
        return Ok(Node::new(GemmaLayer {
            self_attn,
            mlp,
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            pre_feedforward_layernorm: norm("pre_feedforward_layernorm")?,
            post_feedforward_layernorm: norm("post_feedforward_layernorm")?,
        }));
    }
    Ok(Node::new(DecoderLayer {
        self_attn,
        mlp,
        input_layernorm: norm("input_layernorm")?,
        post_attention_layernorm: norm("post_attention_layernorm")?,
        resid_attn_dropout: f.fused.then(|| dropout(f.resid_dropout)),
        resid_mlp_dropout: f.fused.then(|| dropout(f.resid_dropout)),
    }))
}

#[derive(Clone)]
struct DecoderLayer {
    self_attn: Node,
    mlp: Node,
    input_layernorm: Node,
    post_attention_layernorm: Node,
    resid_attn_dropout: Option<Node>,
    resid_mlp_dropout: Option<Node>,
}

impl Module for DecoderLayer {
    fields!(self_attn, mlp, input_layernorm, post_attention_layernorm, resid_attn_dropout, resid_mlp_dropout);

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "hidden_states")?;
        let mut attended = attend(cx, &self.self_attn, args, self.input_layernorm.apply(cx, x)?)?;
        if let Some(d) = &self.resid_attn_dropout {
            attended = d.apply(cx, &attended)?;
        }
        let x = x.add(&attended)?;
        let mut y = self.mlp.apply(cx, &self.post_attention_layernorm.apply(cx, &x)?)?;
        if let Some(d) = &self.resid_mlp_dropout {
            y = d.apply(cx, &y)?;
        }
        Ok(x.add(&y)?.into())
    }
}
