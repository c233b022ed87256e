//! Mean cross-entropy with ignored positions.

use super::gemm::gemm;
use super::host::{host, uninit};
use super::mat::{mat, mat_mut};
use super::parallel::rows_per_task;
use super::precision::{compute_dtype, finish, prepared};
use super::real::{dispatch, Real};
use super::reduce::row_max;
use super::simd::simd;
use super::tiles::Operand;
use super::weight::{Weight, WeightLayout};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::{DType, Device};
use rayon::prelude::*;

/// Targets with this value take no part in the loss; PyTorch's default.
pub(super) const IGNORE: i64 = -100;

/// The mean over targets that are not -100 of `log Σ exp(logits) − logits[target]`, as a scalar in f32 (or f64).
///
/// `logits [.., classes]` with one target per row. All targets ignored gives NaN, as in PyTorch. Fails with
/// [`Error::Argument`] when a target is no class.
pub fn cross_entropy(logits: &Tensor, targets: &[i64]) -> Result<Tensor> {
    weighted_cross_entropy(logits, targets, None)
}

/// [`cross_entropy`] in which each row's term counts `weights[row]` times; the mean is still over the number of targets.
pub fn weighted_cross_entropy(logits: &Tensor, targets: &[i64], weights: Option<&[f64]>) -> Result<Tensor> {
    let classes = logits.last_dim();
    let rows = logits.data().elem_count() / classes.max(1);
    check_targets(targets, weights, rows, classes)?;
    if !logits.device().is_cpu() {
        return composed(logits, targets, weights, rows, classes);
    }
    dispatch!(logits.dtype(), T => cpu::<T>(logits, targets, weights, rows, classes))
}

/// How much row `i` counts.
fn weight_of(weights: Option<&[f64]>, i: usize) -> f64 {
    weights.map_or(1., |weights| weights[i])
}

pub(super) fn check_targets(targets: &[i64], weights: Option<&[f64]>, rows: usize, classes: usize) -> Result<()> {
    if let Some(weights) = weights.filter(|weights| weights.len() != rows) {
        return Err(Error::Shape { path: "lossScale".into(), expected: vec![rows], actual: vec![weights.len()] });
    }
    if rows != targets.len() {
        return Err(Error::Shape { path: "labels".into(), expected: vec![rows], actual: vec![targets.len()] });
    }
    if let Some(bad) = targets.iter().find(|&&t| t != IGNORE && !(0..classes as i64).contains(&t)) {
        return Err(Error::Argument(format!("label {bad} is neither a class below {classes} nor -100")));
    }
    Ok(())
}

/// [`cross_entropy`] of `x Wᵀ`, for `x [.., width]` and `w [classes, width]`, that never holds the logits as a whole: they are
/// made for some rows at a time, and turned into their gradient at once. Rows without a target cost nothing.
///
/// In f32 or f64 and on the CPU; `None` elsewhere. The gradient of `x` is made in the forward pass, as in Liger's
/// `FusedLinearCrossEntropy` (Hsu et al. 2024, arXiv 2410.10989).
pub fn linear_cross_entropy(x: &Tensor, w: &Weight, targets: &[i64]) -> Result<Option<Tensor>> {
    weighted_linear_cross_entropy(x, w, targets, None)
}

/// [`linear_cross_entropy`] with weights as [`weighted_cross_entropy`] has them.
pub fn weighted_linear_cross_entropy(
    x: &Tensor,
    w: &Weight,
    targets: &[i64],
    weights: Option<&[f64]>,
) -> Result<Option<Tensor>> {
    if !x.device().is_cpu() || x.dtype() != compute_dtype(x.dtype()) || w.dtype() != x.dtype() {
        return Ok(None);
    }
    let (width, rows) = (x.last_dim(), x.data().elem_count() / x.last_dim().max(1));
    let dims = w.dims();
    if dims.len() != 2 || dims[1] != width {
        return Err(Error::Shape { path: "linear input".into(), expected: vec![rows, width], actual: dims });
    }
    check_targets(targets, weights, rows, dims[0])?;
    dispatch!(x.dtype(), T => fused::<T>(x, w, targets, weights, dims[0])).map(Some)
}

fn fused<T: Real>(x: &Tensor, w: &Weight, targets: &[i64], weights: Option<&[f64]>, classes: usize) -> Result<Tensor> {
    let (width, dtype) = (x.last_dim(), x.dtype());
    let kept: Vec<usize> = (0..targets.len()).filter(|&i| targets[i] != IGNORE).collect();
    let scale = T::ONE / T::of(kept.len() as f64);
    let (need_x, need_w) = (x.is_tracked(), w.tracked().is_some_and(Tensor::is_tracked));
    let operand = Operand::new::<T>(w)?;
    let xs = prepared(x.data())?;
    let mut dx = need_x.then(|| uninit::<T>(kept.len() * width));
    let mut dw = need_w.then(|| vec![T::ZERO; classes * width]);
    let mut total = 0f64;
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
            // SAFETY: the sizes were checked by the caller; logits, dx and dw are ours.
            unsafe {
                operand.product(
                    (n, width, classes),
                    WeightLayout::OutIn,
                    mat_mut(logits, classes),
                    T::ZERO,
                    mat(rows, width),
                );
            }
            let losses = logits.par_chunks_mut(classes.max(1)).with_min_len(rows_per_task(classes)).zip(part).map(
                |(row, &i)| {
                    let target = targets[i] as usize;
                    let lse = simd(
                        #[inline(always)]
                        || log_sum_exp(row),
                    );
                    let loss = lse - row[target];
                    let weight = weight_of(weights, i);
                    let scale = scale * T::of(weight);
                    if need_x || need_w {
                        simd(
                            #[inline(always)]
                            || {
                                for v in row.iter_mut() {
                                    *v = (*v - lse).fast_exp() * scale;
                                }
                            },
                        );
                        row[target] += -scale;
                    }
                    weight * loss.wide()
                },
            );
            // Added in the order of the rows, whatever the number of threads.
            total += losses.collect::<Vec<f64>>().into_iter().sum::<f64>();
            let grads = mat(logits, classes);
            // SAFETY: as above.
            unsafe {
                if let Some(dx) = &mut dx {
                    let dx = mat_mut(&mut dx[at * most * width..][..n * width], width);
                    operand.product((n, classes, width), WeightLayout::InOut, dx, T::ZERO, grads);
                }
                if let Some(dw) = &mut dw {
                    gemm((classes, width, n), mat_mut(dw, width), T::ONE, grads.t(), mat(rows, width), T::ONE, true);
                }
            }
        }
    }
    let loss = finish(vec![T::of(total / kept.len() as f64)], &[], dtype)?;
    let (x_shape, w_shape) = (x.dims().to_vec(), w.dims());
    let inputs: Vec<&Tensor> = std::iter::once(x).chain(w.tracked()).collect();
    let both = inputs.len() > 1;
    Ok(Tensor::from_op(loss, &inputs, move |g| {
        let g = host::<T>(&prepared(g)?)[0];
        let dx = dx.map(|dx| {
            let mut all = vec![T::ZERO; x_shape.iter().product()];
            for (from, &i) in dx.chunks_exact(width.max(1)).zip(&kept) {
                for (to, &v) in all[i * width..(i + 1) * width].iter_mut().zip(from) {
                    *to = v * g;
                }
            }
            finish(all, &x_shape, dtype)
        });
        let dw = dw.map(|mut dw| {
            dw.iter_mut().for_each(|v| *v *= g);
            finish(dw, &w_shape, dtype)
        });
        let mut grads = vec![dx.transpose()?];
        grads.extend(both.then(|| dw.transpose()).transpose()?);
        Ok(grads)
    }))
}

fn composed(logits: &Tensor, targets: &[i64], weights: Option<&[f64]>, rows: usize, classes: usize) -> Result<Tensor> {
    let kept: Vec<u32> = (0..rows as u32).filter(|&i| targets[i as usize] != IGNORE).collect();
    let picked: Vec<u32> = kept.iter().map(|&i| targets[i as usize] as u32).collect();
    let device = logits.device();
    let n = kept.len();
    let scale: Option<Vec<f64>> = weights.map(|weights| kept.iter().map(|&i| weights[i as usize]).collect());
    let flat = logits.reshape((rows, classes))?.index_select(&Array::from_vec(kept, n, device)?, 0)?;
    let flat = flat.to_dtype(compute_dtype(logits.dtype()))?;
    let mut terms = flat.log_softmax(-1)?.gather(&Array::from_vec(picked, (n, 1), device)?, 1)?;
    if let Some(scale) = scale {
        terms = terms
            .mul(&Array::from_vec(scale, (n, 1), &Device::Cpu)?.to_dtype(terms.dtype())?.to_device(device)?.into())?;
    }
    terms.sum(None, false)?.affine(-1. / n as f64, 0.)
}

fn cpu<T: Real>(
    logits: &Tensor,
    targets: &[i64],
    weights: Option<&[f64]>,
    rows: usize,
    classes: usize,
) -> Result<Tensor> {
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
            .map(|i| weight_of(weights, i) * (lse[i] - x[i * classes + targets[i] as usize]).wide())
            .sum();
        total / count as f64
    };
    let y = finish(vec![T::of(loss)], &[], compute_dtype(dtype))?;
    let shape = logits.dims().to_vec();
    let (targets, weights) = (targets.to_vec(), weights.map(<[f64]>::to_vec));
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
            let scale = scale * T::of(weight_of(weights.as_deref(), i));
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
pub(super) fn log_sum_exp<T: Real>(x: &[T]) -> T {
    let max = row_max(x);
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
    use super::super::lora_linear;
    use super::super::testing::{assert_close, check_gradients, values};
    use super::*;

    #[test]
    fn gradients_match_difference_quotients_and_ignored_rows_get_none() {
        let x = values(&[2, 2, 11], 1);
        check_gradients(std::slice::from_ref(&x), |t| cross_entropy(&t[0], &[3, -100, 0, 10]));
        let (fused, reference) =
            (cross_entropy(&x.clone().into(), &[3, -100, 0, 10]), composed(&x.into(), &[3, -100, 0, 10], None, 4, 11));
        assert_close(fused.unwrap().data(), reference.unwrap().data(), 1e-12);
    }

    #[test]
    fn the_fused_form_equals_the_two_operations_also_in_parts() {
        let (x, w) = (values(&[2, 3, 5], 1), values(&[11, 5], 2));
        let targets = [3, -100, 0, 10, -100, 7];
        check_gradients(&[x.clone(), w.clone()], |t| {
            Ok(linear_cross_entropy(&t[0], &t[1].clone().into(), &targets)?.unwrap())
        });
        // More rows than one part holds, with a packed weight, too.
        let (x, w) = (values(&[2200, 64], 3), values(&[70, 64], 4));
        let targets: Vec<i64> = (0..2200).map(|i| if i % 7 == 0 { -100 } else { i * 13 % 70 }).collect();
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let (x, w) = (x.to_dtype(dtype).unwrap(), w.to_dtype(dtype).unwrap());
            let packed = crate::quantized::Packed::new(&w, crate::quantized::Packing::Nf4).unwrap().unwrap();
            for w in [Weight::Dense(w.into()), Weight::Packed(std::sync::Arc::new(packed))] {
                let run = |fused: bool| {
                    let (x, slot) = super::super::testing::leaf(&x);
                    let loss = match fused {
                        true => linear_cross_entropy(&x, &w, &targets).unwrap().unwrap(),
                        false => {
                            let logits = lora_linear(&x, Some((&w, None, WeightLayout::OutIn)), &[]).unwrap();
                            cross_entropy(&logits, &targets).unwrap()
                        }
                    };
                    loss.affine(0.5, 0.).unwrap().backward().unwrap();
                    (loss.data().clone(), slot.get().unwrap())
                };
                let ((loss, dx), (expected, expected_dx)) = (run(true), run(false));
                assert_close(&loss, &expected, tolerance);
                assert_close(&(dx * 1e3).unwrap(), &(expected_dx * 1e3).unwrap(), tolerance);
            }
        }
        let none =
            linear_cross_entropy(&values(&[2, 5], 1).into(), &Weight::Dense(values(&[3, 5], 2).into()), &[-100, -100]);
        assert!(none.unwrap().unwrap().to_scalar_f64().unwrap().is_nan());
        let wrong =
            linear_cross_entropy(&values(&[2, 5], 1).into(), &Weight::Dense(values(&[3, 5], 2).into()), &[0, 3]);
        assert_eq!(wrong.unwrap_err().code(), "ERR_INVALID_ARGUMENT");
    }

    #[test]
    fn weights_scale_the_terms_and_their_gradients_and_not_the_count() {
        let (targets, weights) = ([3, -100, 0, 10], [2., 9., 0., 0.25]);
        let (x, w) = (values(&[2, 2, 5], 1), values(&[11, 5], 2));
        let logits = values(&[2, 2, 11], 3);
        let weighted = |t: &Tensor| weighted_cross_entropy(t, &targets, Some(&weights));
        check_gradients(std::slice::from_ref(&logits), |t| weighted(&t[0]));
        check_gradients(&[x.clone(), w.clone()], |t| {
            Ok(weighted_linear_cross_entropy(&t[0], &t[1].clone().into(), &targets, Some(&weights))?.unwrap())
        });
        let logits: Tensor = logits.into();
        let alone = |i: usize| {
            let only: Vec<i64> = (0..4).map(|j| if j == i { targets[j] } else { IGNORE }).collect();
            cross_entropy(&logits, &only).unwrap().to_scalar_f64().unwrap()
        };
        let expected = (2. * alone(0) + 0.25 * alone(3)) / 3.;
        let loss = weighted(&logits).unwrap().to_scalar_f64().unwrap();
        assert!((loss - expected).abs() < 1e-12, "{loss} {expected}");
        let reference = composed(&logits, &targets, Some(&weights), 4, 11).unwrap().to_scalar_f64().unwrap();
        assert!((loss - reference).abs() < 1e-12, "{loss} {reference}");
        assert_eq!(weighted_cross_entropy(&logits, &targets, Some(&[1.])).unwrap_err().code(), "ERR_SHAPE");
    }

    #[test]
    fn a_label_outside_the_classes_is_refused() {
        assert_eq!(cross_entropy(&values(&[1, 3], 1).into(), &[3]).unwrap_err().code(), "ERR_INVALID_ARGUMENT");
    }
}
