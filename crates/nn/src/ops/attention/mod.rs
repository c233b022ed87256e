//! Scaled dot-product attention in row tiles: the full score matrix never exists, forward or backward.

mod options;
mod scores;
mod sizes;
mod tiled;

pub use options::AttentionOptions;

use super::real::dispatch;
use crate::tensor::Tensor;
use crate::{Error, Result};
use candle_core::DType;
use sizes::Sizes;

/// `softmax(scale · q kᵀ + mask) v` per head.
///
/// `q [batch, queries, heads, d]`, `k [batch, keys, kv_heads, d]`, `v [batch, keys, kv_heads, dv]` → `[batch, queries,
/// heads, dv]`; each key/value head serves `heads / kv_heads` query heads. Saves the output and one number per query.
///
/// Tiling and the recomputing backward pass follow Dao 2023 (arXiv 2307.08691).
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Result<Tensor> {
    let size = Sizes::new(q, k, v)?;
    if let Some(dense) = &options.mask.dense {
        let fits = matches!(dense.dims(), &[b, h, s, t] if (b == 1 || b == size.batch)
            && (h == 1 || h == size.heads) && s == size.queries && t == size.keys);
        if !fits {
            return Err(Error::Shape {
                path: "attention mask".into(),
                expected: vec![size.batch, 1, size.queries, size.keys],
                actual: dense.dims().to_vec(),
            });
        }
    }
    if let Some(keys) = &options.mask.keys {
        if keys.dims() != [size.batch, size.keys] {
            return Err(Error::Shape {
                path: "attention mask".into(),
                expected: vec![size.batch, size.keys],
                actual: keys.dims().to_vec(),
            });
        }
    }
    if let Some(starts) = options.mask.starts.as_ref().filter(|s| s.len() != size.batch * size.queries) {
        return Err(Error::Shape {
            path: "attention mask".into(),
            expected: vec![size.batch, size.queries],
            actual: vec![starts.len()],
        });
    }
    if !q.device().is_cpu() {
        return composed(q, k, v, options, &size);
    }
    dispatch!(q.dtype(), T => tiled::cpu::<T>(q, k, v, options, size))
}

fn composed(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions, size: &Sizes) -> Result<Tensor> {
    let group = size.heads / size.kv_heads;
    let spread = |x: &Tensor| -> Result<Tensor> {
        let x = x.transpose(1, 2)?.contiguous()?;
        if group == 1 {
            return Ok(x);
        }
        let (b, h, t, d) = (x.dim(0), x.dim(1), x.dim(2), x.dim(3));
        x.unsqueeze(2)?.broadcast_to(&[b, h, group, t, d])?.contiguous()?.reshape((b, h * group, t, d))
    };
    let (q, k, v) = (q.transpose(1, 2)?.contiguous()?, spread(k)?, spread(v)?);
    let mask = options.mask.to_dense(size.queries, size.keys, q.device())?;
    let scores = q.matmul(&k.transpose(-1, -2)?)?.affine(options.scale, 0.)?.to_dtype(DType::F32)?;
    let mut p = scores.add(&mask.into())?.softmax(-1)?;
    if let Some((rate, seed)) = options.dropout {
        p = super::dropout::dropout(&p, rate, seed)?;
    }
    p.to_dtype(q.dtype())?.matmul(&v)?.transpose(1, 2)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradients, values};
    use super::*;
    use crate::ops::Mask;
    use crate::tensor::Array;
    use candle_core::Device;

    fn masks() -> Vec<Mask> {
        let hidden = f64::NEG_INFINITY;
        let keys = Array::new(&[[0., 0., 0., 0., hidden], [hidden, 0., 0., 0., 0.]], &Device::Cpu).unwrap();
        vec![
            Mask::default(),
            Mask { causal: true, ..Mask::default() },
            Mask { causal: true, window: Some(2), ..Mask::default() },
            Mask { causal: true, keys: Some(keys), ..Mask::default() },
            Mask { dense: Some(values(&[1, 4, 3, 5], 9)), ..Mask::default() },
            Mask { causal: true, starts: Some(vec![0, 3, 4, 1, 1, 4].into()), ..Mask::default() },
        ]
    }

    #[test]
    fn gradients_match_difference_quotients() {
        let (q, k, v) = (values(&[2, 3, 4, 2], 1), values(&[2, 5, 2, 2], 2), values(&[2, 5, 2, 3], 3));
        for mask in masks() {
            for dropout in [None, Some((0.3, 5))] {
                let options = AttentionOptions { scale: 0.7, mask: mask.clone(), dropout };
                check_gradients(&[q.clone(), k.clone(), v.clone()], |t| attention(&t[0], &t[1], &t[2], &options));
            }
        }
    }

    #[test]
    fn tiles_equal_the_composed_form() {
        let (queries, keys) = (150, 170);
        let q: Tensor = values(&[2, queries, 4, 8], 1).into();
        let (k, v): (Tensor, Tensor) = (values(&[2, keys, 2, 8], 2).into(), values(&[2, keys, 2, 8], 3).into());
        let size = Sizes::new(&q, &k, &v).unwrap();
        let packed = |row: usize| (0..queries).map(move |i| [0, 50, 90, 140][(i + 20 * row) / 50]);
        let packed: Vec<usize> = packed(0).chain(packed(1)).collect();
        for (window, starts) in [(None, None), (Some(40), None), (None, Some(&packed)), (Some(40), Some(&packed))] {
            let starts = starts.map(|starts| starts.clone().into());
            let mask = Mask { causal: true, window, starts, ..Mask::default() };
            let options = AttentionOptions { scale: 0.4, mask, dropout: None };
            let reference = composed(&q, &k, &v, &options, &size).unwrap();
            // The composed scores pass through f32.
            assert_close(attention(&q, &k, &v, &options).unwrap().data(), reference.data(), 1e-6);
        }
    }

    #[test]
    fn a_query_that_sees_no_key_gives_zeros_and_no_gradient() {
        let hidden = f64::NEG_INFINITY;
        let keys = Some(Array::new(&[[hidden, hidden]], &Device::Cpu).unwrap());
        let options = AttentionOptions { scale: 1., mask: Mask { keys, ..Mask::default() }, dropout: None };
        let (x, slot) = super::super::testing::leaf(&values(&[1, 2, 1, 2], 1));
        let y = attention(&x, &x, &x, &options).unwrap();
        assert_eq!(y.data().flatten_all().unwrap().to_vec1::<f64>().unwrap(), [0.; 4]);
        y.sum(None, false).unwrap().backward().unwrap();
        assert_eq!(slot.get().unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap(), [0.; 4]);
    }
}
