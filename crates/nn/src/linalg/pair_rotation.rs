//! Scaled rotations of pairs of outputs.

use crate::ops::{dispatch, finish, host, prepared, rows_per_task, simd, uninit, Real};
use crate::tensor::Tensor;
use crate::{Error, Result};
use rayon::prelude::*;

/// `a ∘ y + b ∘ J y`: in each group of a row J turns the halves, `J (y₁, y₂) = (−y₂, y₁)`.
///
/// `y [.., n]`, `a [n]`, `b [n]` → `[.., n]`, in one dtype. Fails with [`Error::Shape`] when groups do not fill a row.
///
/// Liao et al. 2024 (RoAd, arXiv 2409.00119), section 3.
pub fn rotate_pairs(y: &Tensor, a: &Tensor, b: &Tensor, group: usize) -> Result<Tensor> {
    let n = y.last_dim();
    if y.rank() == 0
        || group == 0
        || !group.is_multiple_of(2)
        || !n.is_multiple_of(group)
        || a.dims() != [n]
        || b.dims() != [n]
    {
        let actual = [y.dims(), a.dims(), b.dims()].concat();
        return Err(Error::Shape { path: "pairs to rotate".into(), expected: vec![n, group], actual });
    }
    if !y.device().is_cpu() {
        let halves = y.reshape((y.data().elem_count() / group, 2, group / 2))?;
        let (first, second) = (halves.narrow(1, 0, 1)?, halves.narrow(1, 1, 1)?);
        let turned = Tensor::cat(&[&second.neg()?, &first], 1)?.reshape(y.dims())?;
        return y.mul(a)?.add(&turned.mul(b)?);
    }
    dispatch!(y.dtype(), T => cpu::<T>(y, a, b, group / 2))
}

fn cpu<T: Real>(y: &Tensor, a: &Tensor, b: &Tensor, half: usize) -> Result<Tensor> {
    let (n, shape, dtype) = (y.last_dim(), y.dims().to_vec(), y.dtype());
    let (ys, a_values, b_values) = (prepared(y.data())?, prepared(a.data())?, prepared(b.data())?);
    let count = ys.elem_count();
    let mut out = uninit::<T>(count);
    let each = rows_per_task(n) * n;
    if n > 0 {
        let (av, bv) = (host::<T>(&a_values), host::<T>(&b_values));
        out.par_chunks_mut(each).zip(host::<T>(&ys).par_chunks(each)).for_each(|(out, y)| {
            simd(
                #[inline(always)]
                || {
                    for (out, y) in out.chunks_exact_mut(n).zip(y.chunks_exact(n)) {
                        for at in (0..n).step_by(2 * half) {
                            for i in at..at + half {
                                let j = i + half;
                                out[i] = av[i] * y[i] - bv[i] * y[j];
                                out[j] = av[j] * y[j] + bv[j] * y[i];
                            }
                        }
                    }
                },
            );
        });
    }
    let out = finish(out, &shape, dtype)?;
    let (need_y, need_ab) = (y.is_tracked(), a.is_tracked() || b.is_tracked());
    let ys = need_ab.then_some(ys);
    Ok(Tensor::from_op(out, &[y, a, b], move |g| {
        let g = prepared(g)?;
        let g = host::<T>(&g);
        let (av, bv) = (host::<T>(&a_values), host::<T>(&b_values));
        let mut grads = vec![None, None, None];
        if need_y {
            let mut dy = uninit::<T>(count);
            dy.par_chunks_mut(each.max(1)).zip(g.par_chunks(each.max(1))).for_each(|(dy, g)| {
                simd(
                    #[inline(always)]
                    || {
                        for (dy, g) in dy.chunks_exact_mut(n).zip(g.chunks_exact(n)) {
                            for at in (0..n).step_by(2 * half) {
                                for i in at..at + half {
                                    let j = i + half;
                                    dy[i] = av[i] * g[i] + bv[j] * g[j];
                                    dy[j] = av[j] * g[j] - bv[i] * g[i];
                                }
                            }
                        }
                    },
                );
            });
            grads[0] = Some(finish(dy, &shape, dtype)?);
        }
        if let Some(ys) = &ys {
            // Few tasks, whatever the number of threads: each has sums of its own, added up in order.
            let each = each.max((count / n.max(1)).div_ceil(16) * n).max(1);
            let sums: Vec<(Vec<T>, Vec<T>)> = g
                .par_chunks(each)
                .zip(host::<T>(ys).par_chunks(each))
                .map(|(g, y)| {
                    let (mut da, mut db) = (vec![T::ZERO; n], vec![T::ZERO; n]);
                    simd(
                        #[inline(always)]
                        || {
                            for (g, y) in g.chunks_exact(n).zip(y.chunks_exact(n)) {
                                for at in (0..n).step_by(2 * half) {
                                    for i in at..at + half {
                                        let j = i + half;
                                        da[i] += g[i] * y[i];
                                        da[j] += g[j] * y[j];
                                        db[i] -= g[i] * y[j];
                                        db[j] += g[j] * y[i];
                                    }
                                }
                            }
                        },
                    );
                    (da, db)
                })
                .collect();
            let (mut da, mut db) = (vec![T::ZERO; n], vec![T::ZERO; n]);
            for (a, b) in &sums {
                da.iter_mut().zip(a).for_each(|(d, &s)| *d += s);
                db.iter_mut().zip(b).for_each(|(d, &s)| *d += s);
            }
            grads[1] = Some(finish(da, &[n], dtype)?);
            grads[2] = Some(finish(db, &[n], dtype)?);
        }
        Ok(grads)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, values};
    use crate::tensor::Array;
    use candle_core::Device;

    #[test]
    fn gradients_match_difference_quotients() {
        let (y, a, b) = (values(&[2, 3, 12], 1), values(&[12], 2), values(&[12], 3));
        for group in [2, 4, 6, 12] {
            check_gradients(&[y.clone(), a.clone(), b.clone()], |t| rotate_pairs(&t[0], &t[1], &t[2], group));
        }
        check_gradients(std::slice::from_ref(&y), |t| rotate_pairs(&t[0], &a.clone().into(), &b.clone().into(), 4));
    }

    #[test]
    fn halves_of_a_group_turn_into_each_other() {
        let row = |x: &[f64]| Tensor::from(Array::new(x, &Device::Cpu).unwrap());
        let (zero, one) = (row(&[0.; 4]), row(&[1.; 4]));
        let turned = rotate_pairs(&row(&[1., 2., 3., 4.]), &zero, &one, 4).unwrap();
        assert_eq!(turned.data().to_vec1::<f64>().unwrap(), [-3., -4., 1., 2.]);
        assert_eq!(rotate_pairs(&one, &zero, &one, 3).unwrap_err().code(), "ERR_SHAPE");
    }
}
