//! Cross-entropy of each target by itself, for losses that weigh or compare them (preferences, policies).

use super::cross_entropy::{check_targets, log_sum_exp, IGNORE};
use super::host::{host, uninit};
use super::mat::{mat, mat_mut};
use super::parallel::rows_per_task;
use super::precision::{compute_dtype, finish, prepared};
use super::real::{dispatch, Real};
use super::simd::simd;
use super::tiles::Operand;
use super::weight::{Weight, WeightLayout};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// `log Σ exp(logits) − logits[target]` of each row, `[rows]` in f32 (or f64); 0 where the target is -100.
///
/// `logits [.., classes]` with one target per row. Fails with [`Error::Argument`] when a target is no class.
pub fn token_losses(logits: &Tensor, targets: &[i64]) -> Result<Tensor> {
    let classes = logits.last_dim();
    let rows = logits.data().elem_count() / classes.max(1);
    check_targets(targets, None, rows, classes)?;
    let device = logits.device();
    let picked: Vec<u32> = targets.iter().map(|&t| t.max(0) as u32).collect();
    let counts: Vec<f32> = targets.iter().map(|&t| if t == IGNORE { 0. } else { -1. }).collect();
    let flat = logits.reshape((rows, classes))?.to_dtype(compute_dtype(logits.dtype()))?;
    let found = flat.log_softmax(-1)?.gather(&Array::from_vec(picked, (rows, 1), device)?, 1)?.reshape(rows)?;
    found.mul(&Array::from_vec(counts, rows, device)?.to_dtype(found.dtype())?.into())
}

/// [`token_losses`] of `x Wᵀ`, for `x [.., width]` and `w [classes, width]`, that never holds the logits as a whole: they are made for some
/// rows at a time, and turned into the gradient of `x` at once. Rows without a target cost nothing.
///
/// In f32 or f64 on the CPU with a weight that is not trained; `None` elsewhere.
pub fn linear_token_losses(x: &Tensor, w: &Weight, targets: &[i64]) -> Result<Option<Tensor>> {
    let trained = w.tracked().is_some_and(Tensor::is_tracked);
    if !x.device().is_cpu() || trained || x.dtype() != compute_dtype(x.dtype()) || w.dtype() != x.dtype() {
        return Ok(None);
    }
    let (width, rows) = (x.last_dim(), x.data().elem_count() / x.last_dim().max(1));
    let dims = w.dims();
    if dims.len() != 2 || dims[1] != width {
        return Err(Error::Shape { path: "linear input".into(), expected: vec![rows, width], actual: dims });
    }
    check_targets(targets, None, rows, dims[0])?;
    dispatch!(x.dtype(), T => fused::<T>(x, w, targets, dims[0])).map(Some)
}

fn fused<T: Real>(x: &Tensor, w: &Weight, targets: &[i64], classes: usize) -> Result<Tensor> {
    let (width, dtype, need_x) = (x.last_dim(), x.dtype(), x.is_tracked());
    let kept: Vec<usize> = (0..targets.len()).filter(|&i| targets[i] != IGNORE).collect();
    let operand = Operand::new::<T>(w)?;
    let xs = prepared(x.data())?;
    let mut dx = need_x.then(|| uninit::<T>(kept.len() * width));
    let mut losses = vec![T::ZERO; targets.len()];
    {
        let xv = host::<T>(&xs);
        // Enough rows to share what reading the weight costs, few enough to be small.
        let most = ((1 << 20) / classes.max(1)).clamp(64, 1024);
        let mut logits = uninit::<T>(most.min(kept.len()) * classes);
        let mut rows = uninit::<T>(most.min(kept.len()) * width);
        for (at, part) in kept.chunks(most).enumerate() {
            let n = part.len();
            let (rows, logits) = (&mut rows[..n * width], &mut logits[..n * classes]);
            for (row, &i) in rows.chunks_exact_mut(width.max(1)).zip(part) {
                row.copy_from_slice(&xv[i * width..(i + 1) * width]);
            }
            // SAFETY: the sizes were checked by the caller; logits and dx are ours.
            unsafe {
                let product = mat_mut(logits, classes);
                operand.product((n, width, classes), WeightLayout::OutIn, product, T::ZERO, mat(rows, width));
            }
            let found: Vec<T> = logits
                .par_chunks_mut(classes.max(1))
                .with_min_len(rows_per_task(classes))
                .zip(part)
                .map(|(row, &i)| loss_and_gradient(row, targets[i] as usize, need_x))
                .collect();
            part.iter().zip(found).for_each(|(&i, loss)| losses[i] = loss);
            if let Some(dx) = &mut dx {
                // SAFETY: as above.
                unsafe {
                    let dx = mat_mut(&mut dx[at * most * width..][..n * width], width);
                    operand.product((n, classes, width), WeightLayout::InOut, dx, T::ZERO, mat(logits, classes));
                }
            }
        }
    }
    let y = finish(losses, &[targets.len()], dtype)?;
    let shape = x.dims().to_vec();
    Ok(Tensor::from_op(y, &[x], move |g| {
        let g = prepared(g)?;
        let g = host::<T>(&g);
        let dx = dx.map(|dx| {
            let mut all = vec![T::ZERO; shape.iter().product()];
            for (from, &i) in dx.chunks_exact(width.max(1)).zip(&kept) {
                for (to, &v) in all[i * width..(i + 1) * width].iter_mut().zip(from) {
                    *to = v * g[i];
                }
            }
            finish(all, &shape, dtype)
        });
        Ok(vec![dx.transpose()?])
    }))
}

/// The loss of a row of logits; the row becomes its gradient where that is wanted.
fn loss_and_gradient<T: Real>(row: &mut [T], target: usize, gradient: bool) -> T {
    let lse = simd(
        #[inline(always)]
        || log_sum_exp(row),
    );
    let loss = lse - row[target];
    if gradient {
        simd(
            #[inline(always)]
            || row.iter_mut().for_each(|v| *v = (*v - lse).fast_exp()),
        );
        row[target] += -T::ONE;
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradients, values};
    use super::super::{cross_entropy, lora_linear};
    use super::*;

    const TARGETS: [i64; 6] = [3, -100, 0, 10, -100, 7];

    /// A sum in which every token counts differently.
    fn weighed(losses: &Tensor) -> Result<Tensor> {
        losses.mul(&values(&[6], 9).into())?.sum(None, false)
    }

    #[test]
    fn both_forms_have_the_gradients_of_difference_quotients_and_give_the_same() {
        let (x, w) = (values(&[2, 3, 5], 1), values(&[11, 5], 2));
        let dense = Weight::Dense(w.clone().into());
        check_gradients(std::slice::from_ref(&x), |t| {
            weighed(&linear_token_losses(&t[0], &dense, &TARGETS)?.expect("the CPU has it"))
        });
        check_gradients(&[x.clone(), w.clone()], |t| {
            let weight = Weight::Dense(t[1].clone());
            assert!(linear_token_losses(&t[0], &weight, &TARGETS)?.is_none());
            weighed(&token_losses(&lora_linear(&t[0], Some((&weight, None, WeightLayout::OutIn)), &[])?, &TARGETS)?)
        });
        let x: Tensor = x.into();
        let logits = lora_linear(&x, Some((&dense, None, WeightLayout::OutIn)), &[]).unwrap();
        let one = linear_token_losses(&x, &dense, &TARGETS).unwrap().unwrap();
        assert_close(one.data(), token_losses(&logits, &TARGETS).unwrap().data(), 1e-12);
        let mean = one.sum(None, false).unwrap().affine(0.25, 0.).unwrap();
        assert_close(mean.data(), cross_entropy(&logits, &TARGETS).unwrap().data(), 1e-12);
    }

    #[test]
    fn rows_beyond_one_part_and_rows_without_targets() {
        let (x, w) = (values(&[1500, 8], 3), values(&[70, 8], 4));
        let targets: Vec<i64> = (0..1500).map(|i| if i % 7 == 0 { -100 } else { i * 13 % 70 }).collect();
        let (x, w): (Tensor, _) = (x.into(), Weight::Dense(w.into()));
        let logits = lora_linear(&x, Some((&w, None, WeightLayout::OutIn)), &[]).unwrap();
        let found = linear_token_losses(&x, &w, &targets).unwrap().unwrap();
        assert_close(found.data(), token_losses(&logits, &targets).unwrap().data(), 1e-11);
        let none = linear_token_losses(&x, &w, &[-100; 1500]).unwrap().unwrap();
        assert_eq!(none.sum(None, false).unwrap().to_scalar_f64().unwrap(), 0.);
    }
}
