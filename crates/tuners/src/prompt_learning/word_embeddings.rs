//! Rows of the model's own embedding, for first values.

use candle_core::DType;
use swift_tuners_nn::module::{model_nodes, Args, Ints, Value};
use swift_tuners_nn::{Array, Context, Error, Model, Result};

/// What the model's embedding gives for `ids`, `[ids, width]` in f32.
pub fn word_embeddings(model: &Model, ids: &[i64], option: &str) -> Result<Array> {
    let name = model.keys.input_embedding;
    let found = model_nodes(&model.root).into_iter().find(|(path, _)| path == name);
    let (_, node) = found.ok_or_else(|| Error::Invalid(format!("this model has no {name}")))?;
    let rows = vocabulary(model)?;
    if let Some(id) = ids.iter().find(|&&id| id < 0 || id >= rows as i64) {
        return Err(Error::config(option, format!("the token {id} is not among the {rows} of the model")));
    }
    let cx = Context { grad: false, ..Context::default() };
    let ids = Value::Ints(Ints::new(vec![ids.len()], ids.to_vec())?);
    let rows = node.call(&cx, Args { positional: vec![ids], named: Vec::new() })?.into_tensor()?;
    Ok(rows.data().to_dtype(DType::F32)?)
}

/// Rows of the model's embedding.
pub fn vocabulary(model: &Model) -> Result<usize> {
    let weight = format!("{}.weight", model.keys.input_embedding);
    let weight = model.parameter(&weight).ok_or_else(|| Error::Invalid(format!("this model has no {weight}")))?;
    Ok(weight.shape().first().copied().unwrap_or(0))
}
