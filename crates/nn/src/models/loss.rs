//! Losses by task.

use crate::module::Ints;
use crate::tensor::{Array, Tensor};
use crate::{layers, Error, Result};
use candle_core::{DType, Device};

/// The loss of classification heads by `problem_type`: mean cross-entropy, mean squared error or binary cross-entropy.
pub fn classification_loss(
    logits: &Tensor,
    ints: Option<&Ints>,
    floats: Option<&Tensor>,
    problem: Option<&str>,
) -> Result<Tensor> {
    let classes = logits.last_dim();
    let problem = match problem {
        Some(p) => p,
        None if classes == 1 => "regression",
        None if ints.is_some() => "single_label_classification",
        None => "multi_label_classification",
    };
    let as_floats = || -> Result<Tensor> {
        match (floats, ints) {
            (Some(t), _) => t.to_dtype(logits.dtype()),
            (None, Some(i)) => {
                let values: Vec<f64> = i.data.iter().map(|&v| v as f64).collect();
                let array = Array::from_vec(values, i.shape.clone(), &Device::Cpu)?;
                Ok(array.to_dtype(logits.dtype())?.to_device(logits.device())?.into())
            }
            (None, None) => Err(Error::Argument("labels are missing".into())),
        }
    };
    Ok(match problem {
        "regression" => layers::mse(logits, &as_floats()?.reshape(logits.dims())?)?,
        "single_label_classification" => match ints {
            Some(labels) => crate::ops::cross_entropy(logits, &labels.data)?,
            None => return Err(Error::Argument("labels: class ids must be integers".into())),
        },
        "multi_label_classification" => {
            // max(x, 0) − x y + log(1 + e^-|x|)
            let y = as_floats()?.reshape(logits.dims())?;
            let tail = logits.abs()?.neg()?.exp()?.affine(1., 1.)?.log()?;
            logits.relu()?.sub(&logits.mul(&y)?)?.add(&tail)?.mean(None, false)?
        }
        other => return Err(Error::UnsupportedModel(format!("problem_type {:?}", crate::error::printable(other, 60)))),
    })
}

/// Mean cross-entropy over tokens. `shift`: position i predicts label i + 1, as causal language models do; then `scale` may weight
/// each label.
pub(super) fn token_loss(logits: &Tensor, labels: &Ints, scale: Option<&Tensor>, shift: bool) -> Result<Tensor> {
    check_labels(logits, labels)?;
    if shift {
        let weights = shifted_weights(labels, scale)?;
        crate::ops::weighted_cross_entropy(logits, &shifted(labels), weights.as_deref())
    } else {
        crate::ops::cross_entropy(logits, &labels.data)
    }
}

/// The cross-entropy of each token by itself, `[batch, seq]`: with `causal` at the place before its own.
pub(super) fn each_token_loss(logits: &Tensor, labels: &Ints, causal: bool) -> Result<Tensor> {
    check_labels(logits, labels)?;
    let own: Vec<i64>;
    let targets: &[i64] = if causal {
        own = shifted(labels);
        &own
    } else {
        &labels.data
    };
    crate::ops::token_losses(logits, targets)?.reshape(labels.shape.as_slice())
}

/// The mean of the cross-entropies of both ends `[batch, seq]`. A place that is not in the sequence counts nothing.
pub(super) fn span_loss(logits: [&Tensor; 2], places: [&Ints; 2]) -> Result<Tensor> {
    let mut terms = Vec::with_capacity(2);
    for (logits, places) in logits.into_iter().zip(places) {
        let (batch, seq) = (logits.dim(0), logits.dim(1) as i64);
        if places.data.len() != batch {
            return Err(Error::Shape {
                path: "startPositions, endPositions".into(),
                expected: vec![batch],
                actual: places.shape.clone(),
            });
        }
        let labels: Vec<i64> = places.data.iter().map(|&p| if p >= seq { IGNORED } else { p.max(0) }).collect();
        terms.push(crate::ops::cross_entropy(logits, &labels)?);
    }
    terms[0].add(&terms[1])?.affine(0.5, 0.)
}

/// What a label is that counts nothing.
const IGNORED: i64 = -100;

pub(super) fn check_labels(x: &Tensor, labels: &Ints) -> Result<()> {
    if x.dims()[..2] != labels.shape[..] {
        return Err(Error::Shape {
            path: "labels".into(),
            expected: x.dims()[..2].to_vec(),
            actual: labels.shape.clone(),
        });
    }
    Ok(())
}

/// How much each position's label counts, `[batch, seq]`.
pub(super) fn shifted_weights(labels: &Ints, scale: Option<&Tensor>) -> Result<Option<Vec<f64>>> {
    let Some(scale) = scale else { return Ok(None) };
    if scale.dims() != labels.shape {
        let (expected, actual) = (labels.shape.clone(), scale.dims().to_vec());
        return Err(Error::Shape { path: "lossScale".into(), expected, actual });
    }
    let all: Vec<f64> = scale.data().to_dtype(DType::F64)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    if let Some(odd) = all.iter().find(|weight| !weight.is_finite()) {
        return Err(Error::Argument(format!("lossScale: {odd} is no finite number")));
    }
    Ok(Some(all.chunks(labels.shape[1].max(1)).flat_map(|row| row[1..].iter().copied().chain([0.])).collect()))
}

pub(super) fn shifted(labels: &Ints) -> Vec<i64> {
    let seq = labels.shape[1];
    labels.data.chunks(seq).flat_map(|row| row[1..].iter().copied().chain([IGNORED])).collect()
}
