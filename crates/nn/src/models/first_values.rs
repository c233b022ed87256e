//! What transformers draws while it makes a network with fresh weights.

use super::body::Body;
use super::config::Config;
use crate::module::{model_nodes, Node, Weights};
use crate::ops::WeightLayout;
use crate::param::Param;
use crate::{module, Result};

/// One array that is drawn, in order: first what constructors draw, which is replaced, then what stays.
#[derive(Clone, Debug)]
pub struct Draw {
    /// The name of the parameter that keeps it, without which it is replaced.
    pub keeps: Option<String>,
    pub shape: Vec<usize>,
    /// The deviation of normal values; nothing for uniform ones.
    pub deviation: Option<f64>,
    /// The row that is zero.
    pub padding: Option<usize>,
}

/// The deviation of what `Conv1D`'s constructor draws.
const CONV1D: f64 = 0.02;

impl Body {
    /// The draws of a network with fresh weights; parameters that none of them keeps start as constants, which a builder gives them.
    pub fn draws(&self) -> Result<Vec<Draw>> {
        let c = Config::new(&self.config)?;
        let deviation = c.float_or("initializer_range", 0.02)?;
        let residual = deviation / (2. * c.size_or("n_layer", 1)? as f64).sqrt();
        let kind = c.text("model_type")?.unwrap_or_default();
        let gpt2 = kind == "gpt2";
        let padding = match (self.config.get("pad_token_id"), kind) {
            (_, "gpt2") => None,
            (Some(given), _) => given.as_u64().map(|id| id as usize),
            // What the classes of transformers have where a file says nothing.
            (None, "bert" | "gemma3_text") => Some(0),
            (None, "phi3") => Some(32000),
            (None, _) => None,
        };
        let mut constructed = Vec::new();
        let mut kept = Vec::new();
        let gone = |shape: &[usize], deviation| Draw { keeps: None, shape: shape.to_vec(), deviation, padding: None };
        for (path, node) in model_nodes(&self.node) {
            let weights = node.module().weights();
            for (name, param) in direct(node) {
                let shape = param.shape();
                match &weights {
                    Some(Weights::Linear { layout: WeightLayout::OutIn, .. }) => constructed.push(gone(&shape, None)),
                    Some(Weights::Linear { .. }) if shape.len() > 1 => constructed.push(gone(&shape, Some(CONV1D))),
                    Some(Weights::Embedding { .. }) => constructed.push(gone(&shape, Some(1.))),
                    _ => {}
                }
                // Gains and biases are constant.
                if shape.len() < 2 {
                    continue;
                }
                let embeds = path == self.embedding;
                let keeps = Some(format!("{path}.{name}"));
                let padding = padding.filter(|&row| embeds && row < shape[0]);
                let draw = Draw { keeps, shape: shape.clone(), deviation: Some(deviation), padding };
                // What ends a branch of GPT-2 is drawn as all others are, and again, smaller.
                if gpt2 && path.ends_with(".c_proj") {
                    kept.push(gone(&shape, Some(deviation)));
                    kept.push(Draw { deviation: Some(residual), ..draw });
                } else {
                    kept.push(draw);
                }
            }
        }
        constructed.extend(kept);
        Ok(constructed)
    }
}

/// The parameters of a module that are in none of its children.
fn direct(node: &Node) -> Vec<(String, &Param)> {
    struct Direct<'a>(Vec<(String, &'a Param)>);
    impl<'a> module::Visitor<'a> for Direct<'a> {
        fn param(&mut self, name: &str, param: &'a Param) {
            self.0.push((name.to_owned(), param));
        }
        fn node(&mut self, _: &str, _: &'a Node) {}
        fn list(&mut self, _: &str, _: &'a module::NodeList) {}
    }
    let mut direct = Direct(Vec::new());
    node.module().visit(&mut direct);
    direct.0
}
