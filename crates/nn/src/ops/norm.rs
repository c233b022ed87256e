//! RMS and layer normalisation over the last dimension.

use super::host::{host, uninit};
use super::parallel::rows_per_task;
use super::precision::{compute_dtype, finish, prepared};
use super::real::{dispatch, Real};
use super::simd::simd;
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::DType;
use rayon::prelude::*;

/// `x / sqrt(mean(x²) + eps) · weight`, the mean taken in f32 or wider.
///
/// Half-precision inputs are rounded before the multiplication with `weight`, as `LlamaRMSNorm` does.
/// Zhang and Sennrich 2019 (arXiv 1910.07467).
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    check(x, weight)?;
    if !x.device().is_cpu() || x.dtype() != compute_dtype(x.dtype()) {
        let wide = x.to_dtype(compute_dtype(x.dtype()))?;
        let scale = wide.sqr()?.mean(Some(&[-1]), true)?.affine(1., eps)?.sqrt()?;
        return wide.div(&scale)?.to_dtype(x.dtype())?.mul(weight);
    }
    dispatch!(x.dtype(), T => cpu::<T>(x, weight, None, eps, false))
}

/// `(x − mean) / sqrt(var + eps) · weight + bias`, with the biased variance.
///
/// Ba et al. 2016 (arXiv 1607.06450).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    check(x, weight)?;
    check(x, bias)?;
    if !x.device().is_cpu() {
        let wide = x.to_dtype(compute_dtype(x.dtype()))?;
        let centred = wide.sub(&wide.mean(Some(&[-1]), true)?)?;
        let scale = centred.sqr()?.mean(Some(&[-1]), true)?.affine(1., eps)?.sqrt()?;
        let (w, b) = (weight.to_dtype(wide.dtype())?, bias.to_dtype(wide.dtype())?);
        return centred.div(&scale)?.mul(&w)?.add(&b)?.to_dtype(x.dtype());
    }
    dispatch!(x.dtype(), T => cpu::<T>(x, weight, Some(bias), eps, true))
}

/// `torch.nn.functional.group_norm`: each of `groups` equal parts of the channels (axis 1) is normalised on its own, then
/// scaled and shifted per channel. `x [batch, channels, ..]`, `weight` and `bias` `[channels]`.
///
/// Wu and He 2018 (arXiv 1803.08494).
pub fn group_norm(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let channels = x.dims().get(1).copied().unwrap_or(0);
    if groups == 0 || channels == 0 || channels % groups != 0 || weight.dims() != [channels] {
        return Err(Error::Shape {
            path: format!("group norm of {groups} groups"),
            expected: weight.dims().to_vec(),
            actual: x.dims().to_vec(),
        });
    }
    let width = x.data().elem_count() / (x.dim(0) * groups).max(1);
    let (ones, zeros) = (Array::ones(width, x.dtype(), x.device())?, Array::zeros(width, x.dtype(), x.device())?);
    let normed = layer_norm(&x.contiguous()?.reshape((x.dim(0) * groups, width))?, &ones.into(), &zeros.into(), eps)?;
    let mut per_channel = vec![1; x.rank()];
    per_channel[1] = channels;
    normed.reshape(x.dims())?.mul(&weight.reshape(&per_channel[..])?)?.add(&bias.reshape(&per_channel[..])?)
}

fn check(x: &Tensor, weight: &Tensor) -> Result<()> {
    if x.rank() == 0 || weight.dims() != [x.last_dim()] {
        return Err(Error::Shape {
            path: "norm weight".into(),
            expected: vec![x.last_dim()],
            actual: weight.dims().to_vec(),
        });
    }
    Ok(())
}

/// Both norms; `centre` subtracts the mean.
fn cpu<T: Real>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64, centre: bool) -> Result<Tensor> {
    let dtype: DType = x.dtype();
    let width = x.last_dim();
    let xs = prepared(x.data())?;
    let ws = prepared(weight.data())?;
    let bs = bias.map(|b| prepared(b.data())).transpose()?;
    let rows = xs.elem_count() / width.max(1);
    let mut y = uninit::<T>(rows * width);
    // (mean, 1 / deviation) of each row
    let mut stats = vec![(T::ZERO, T::ZERO); rows];
    {
        let (xv, w) = (host::<T>(&xs), host::<T>(&ws));
        let (xv, w): (&[T], &[T]) = (&xv, &w);
        let b = bs.as_ref().map(host::<T>);
        let b: Option<&[T]> = b.as_deref();
        let per_task = rows_per_task(width);
        let n = T::of(width as f64);
        y.par_chunks_mut(per_task * width)
            .zip(stats.par_chunks_mut(per_task))
            .zip(xv.par_chunks(per_task * width))
            .for_each(|((y, stats), x)| {
                simd(
                    #[inline(always)]
                    || {
                        for ((y, stat), x) in y.chunks_exact_mut(width).zip(stats).zip(x.chunks_exact(width)) {
                            let mean = if centre { sum(x.iter().copied()) / n } else { T::ZERO };
                            let variance = sum(x.iter().map(|&v| (v - mean) * (v - mean))) / n;
                            let scale = T::ONE / (variance + T::of(eps)).sqrt();
                            *stat = (mean, scale);
                            match b {
                                Some(b) => {
                                    for (((y, &v), &w), &b) in y.iter_mut().zip(x).zip(w).zip(b) {
                                        *y = (v - mean) * scale * w + b;
                                    }
                                }
                                None => {
                                    for ((y, &v), &w) in y.iter_mut().zip(x).zip(w) {
                                        *y = (v - mean) * scale * w;
                                    }
                                }
                            }
                        }
                    },
                );
            });
    }
    let y = finish(y, x.dims(), dtype)?;
    let shape = x.dims().to_vec();
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    let needs: Vec<bool> = inputs.iter().map(|t| t.is_tracked()).collect();
    Ok(Tensor::from_op(y, &inputs, move |g| {
        let g = prepared(g)?;
        let (g, xv, w) = (host::<T>(&g), host::<T>(&xs), host::<T>(&ws));
        let (g, xv, w): (&[T], &[T], &[T]) = (&g, &xv, &w);
        let n = T::of(width as f64);
        let mut grads: Vec<Option<Array>> = vec![None; needs.len()];
        if needs[0] {
            let mut dx = uninit::<T>(rows * width);
            let per_task = rows_per_task(width);
            dx.par_chunks_mut(per_task * width)
                .zip(stats.par_chunks(per_task))
                .zip(xv.par_chunks(per_task * width).zip(g.par_chunks(per_task * width)))
                .for_each(|((dx, stats), (x, g))| {
                    simd(
                        #[inline(always)]
                        || {
                            for (((dx, &(mean, scale)), x), g) in dx
                                .chunks_exact_mut(width)
                                .zip(stats)
                                .zip(x.chunks_exact(width))
                                .zip(g.chunks_exact(width))
                            {
                                let mean_g =
                                    if centre { sum(g.iter().zip(w).map(|(&g, &w)| g * w)) / n } else { T::ZERO };
                                let mean_gx =
                                    sum(g.iter().zip(w).zip(x).map(|((&g, &w), &x)| g * w * (x - mean))) * scale / n;
                                for (((dx, &g), &w), &x) in dx.iter_mut().zip(g).zip(w).zip(x) {
                                    *dx = scale * (g * w - mean_g - (x - mean) * scale * mean_gx);
                                }
                            }
                        },
                    );
                });
            grads[0] = Some(finish(dx, &shape, dtype)?);
        }
        if needs[1..].iter().any(|&n| n) {
            let mut dw = vec![T::ZERO; width];
            let mut db = vec![T::ZERO; width];
            for ((x, g), &(mean, scale)) in xv.chunks_exact(width).zip(g.chunks_exact(width)).zip(&stats) {
                for (((dw, db), &x), &g) in dw.iter_mut().zip(&mut db).zip(x).zip(g) {
                    *dw += g * (x - mean) * scale;
                    *db += g;
                }
            }
            if needs[1] {
                grads[1] = Some(finish(dw, &[width], dtype)?);
            }
            if needs.get(2) == Some(&true) {
                grads[2] = Some(finish(db, &[width], dtype)?);
            }
        }
        Ok(grads)
    }))
}

/// A sum in sixteen lanes: vectorises, and its rounding error grows with n / 16.
#[inline(always)]
pub(crate) fn sum<T: Real>(mut values: impl ExactSizeIterator<Item = T>) -> T {
    let mut lanes = [T::ZERO; 16];
    for _ in 0..values.len() / 16 {
        for lane in &mut lanes {
            // The length was taken from the iterator itself.
            *lane += values.next().unwrap_or(T::ZERO);
        }
    }
    let rest: T = values.sum();
    lanes.into_iter().sum::<T>() + rest
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, values};
    use super::*;

    #[test]
    fn gradients_match_difference_quotients() {
        let (x, w, b) = (values(&[2, 3, 11], 1), values(&[11], 2), values(&[11], 3));
        check_gradients(&[x.clone(), w.clone()], |t| rms_norm(&t[0], &t[1], 1e-3));
        check_gradients(&[x, w, b], |t| layer_norm(&t[0], &t[1], &t[2], 1e-3));
        let (x, w, b) = (values(&[2, 6, 2, 3], 4), values(&[6], 5), values(&[6], 6));
        check_gradients(&[x, w, b], |t| group_norm(&t[0], 3, &t[1], &t[2], 1e-3));
    }
}
