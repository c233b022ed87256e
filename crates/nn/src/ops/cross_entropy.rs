//! Mean cross-entropy with ignored positions.

use super::{dispatch, finish, host, prepared, rows_per_task, simd, uninit, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::DType;
use rayon::prelude::*;

/// Targets with this value take no part in the loss; PyTorch's default.
const IGNORE: i64 = -100;

/// The mean over targets that are not -100 of `log Σ exp(logits) − logits[target]`, as a scalar in f32 (or f64).
///
/// `logits [.., classes]` with one target per row. All targets ignored gives NaN, as in PyTorch. Fails with
/// [`Error::Argument`] when a target is no class.
pub fn cross_entropy(logits: &Tensor, targets: &[i64]) -> Result<Tensor> {
    let classes = logits.last_dim();
    let rows = logits.data().elem_count() / classes.max(1);
    if rows != targets.len() {
        return Err(Error::Shape { path: "labels".into(), expected: vec![rows], actual: vec![targets.len()] });
    }
    if let Some(bad) = targets.iter().find(|&&t| t != IGNORE && !(0..classes as i64).contains(&t)) {
        return Err(Error::Argument(format!("label {bad} is neither a class below {classes} nor -100")));
    }
    if !logits.device().is_cpu() {
        return composed(logits, targets, rows, classes);
    }
    dispatch!(logits.dtype(), T => cpu::<T>(logits, targets, rows, classes))
}

fn composed(logits: &Tensor, targets: &[i64], rows: usize, classes: usize) -> Result<Tensor> {
    let kept: Vec<u32> = (0..rows as u32).filter(|&i| targets[i as usize] != IGNORE).collect();
    let picked: Vec<u32> = kept.iter().map(|&i| targets[i as usize] as u32).collect();
    let device = logits.device();
    let n = kept.len();
    let flat = logits.reshape((rows, classes))?.index_select(&Array::from_vec(kept, n, device)?, 0)?;
    let flat = flat.to_dtype(super::compute_dtype(logits.dtype()))?;
    flat.log_softmax(-1)?
        .gather(&Array::from_vec(picked, (n, 1), device)?, 1)?
        .sum(None, false)?
        .affine(-1. / n as f64, 0.)
}

fn cpu<T: Real>(logits: &Tensor, targets: &[i64], rows: usize, classes: usize) -> Result<Tensor> {
    let dtype: DType = logits.dtype();
    let xs = prepared(logits.data())?;
    let count = targets.iter().filter(|&&t| t != IGNORE).count();
    let mut lse = vec![T::ZERO; rows];
    let loss = {
        let x = host::<T>(&xs);
        let x: &[T] = &x;
        lse.par_iter_mut().with_min_len(rows_per_task(classes)).enumerate().for_each(|(i, lse)| {
            if targets[i] != IGNORE {
                let row = &x[i * classes..(i + 1) * classes];
                *lse = simd(
                    #[inline(always)]
                    || log_sum_exp(row),
                );
            }
        });
        let total: f64 = (0..rows)
            .filter(|&i| targets[i] != IGNORE)
            .map(|i| (lse[i] - x[i * classes + targets[i] as usize]).wide())
            .sum();
        total / count as f64
    };
    let y = finish(vec![T::of(loss)], &[], super::compute_dtype(dtype))?;
    let shape = logits.dims().to_vec();
    let targets = targets.to_vec();
    Ok(Tensor::from_op(y, &[logits], move |g| {
        let g = host::<T>(&prepared(g)?)[0];
        let scale = g / T::of(count as f64);
        let x = host::<T>(&xs);
        let x: &[T] = &x;
        let mut dx = uninit::<T>(rows * classes);
        dx.par_chunks_mut(classes.max(1)).with_min_len(rows_per_task(classes)).enumerate().for_each(|(i, dx)| {
            if targets[i] == IGNORE {
                dx.fill(T::ZERO);
                return;
            }
            let (x, l) = (&x[i * classes..(i + 1) * classes], lse[i]);
            simd(
                #[inline(always)]
                || {
                    for (d, &x) in dx.iter_mut().zip(x) {
                        *d = (x - l).fast_exp() * scale;
                    }
                },
            );
            dx[targets[i] as usize] += -scale;
        });
        Ok(vec![Some(finish(dx, &shape, dtype)?)])
    }))
}

#[inline(always)]
fn log_sum_exp<T: Real>(x: &[T]) -> T {
    let max = super::row_max(x);
    let mut lanes = [T::ZERO; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += (v - max).fast_exp();
        }
    }
    let total = lanes.into_iter().chain(rest.iter().map(|&v| (v - max).fast_exp())).sum::<T>();
    max + total.ln()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradients, values};
    use super::*;

    #[test]
    fn gradients_match_difference_quotients_and_ignored_rows_get_none() {
        let x = values(&[2, 2, 11], 1);
        check_gradients(std::slice::from_ref(&x), |t| cross_entropy(&t[0], &[3, -100, 0, 10]));
        let (fused, reference) =
            (cross_entropy(&x.clone().into(), &[3, -100, 0, 10]), composed(&x.into(), &[3, -100, 0, 10], 4, 11));
        assert_close(fused.unwrap().data(), reference.unwrap().data(), 1e-12);
    }

    #[test]
    fn a_label_outside_the_classes_is_refused() {
        assert_eq!(cross_entropy(&values(&[1, 3], 1).into(), &[3]).unwrap_err().code(), "ERR_SHAPE");
    }
}
