//! Dense layers, alone and with low-rank updates, that never compute the gradient of a frozen weight.

use super::gemm::gemm;
use super::host::{host, uninit};
use super::lora_term::{rank, LoraTerm};
use super::mat::{mat, mat_mut};
use super::parallel::Shared;
use super::precision::{finish, prepared};
use super::real::{dispatch, Real};
use super::reduce::column_sums;
use super::tiles::Operand;
use super::weight::{Base, WeightLayout};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// `y = x Wᵀ + bias` for `x [.., in]` → `[.., out]`.
///
/// The gradients of `w` and `bias` are computed only when they are tracked. Fails with [`Error::Shape`] when `x` does not
/// end in `in`.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    lora_linear(x, Some((&w.clone().into(), bias, layout)), &[])
}

/// `y = x Wᵀ + bias + Σᵢ sᵢ · x Aᵢᵀ Bᵢᵀ`, or the sum alone when `base` is absent.
///
/// `x [.., in]` → `[.., out]`. Saves only the products `x Aᵢᵀ` beside its inputs. All operands share one dtype. A term may be
/// for some of the rows only: a batch with an adapter of its own for each row takes one product with `W`.
///
/// Hu et al. 2021 (arXiv 2106.09685).
pub fn lora_linear(x: &Tensor, base: Option<Base<'_>>, terms: &[LoraTerm]) -> Result<Tensor> {
    let inp = x.last_dim();
    let out = match (&base, terms.first()) {
        (Some((w, _, layout)), _) => {
            let (wanted, out) = layout.sizes(&w.dims());
            if wanted != inp || x.rank() == 0 {
                let mut expected = x.dims().to_vec();
                expected.pop();
                expected.push(wanted);
                return Err(Error::Shape { path: "linear input".into(), expected, actual: x.dims().to_vec() });
            }
            out
        }
        (None, Some(term)) => term.b.dim(0),
        (None, None) => return Err(Error::Argument("lora_linear needs a base or an adapter".into())),
    };
    let dtype = x.dtype();
    let dtypes = base.iter().flat_map(|(w, b, _)| [Some(w.dtype()), b.map(Tensor::dtype)]).flatten();
    let mut dtypes = dtypes.chain(terms.iter().flat_map(|t| [t.a.dtype(), t.b.dtype()]));
    if let Some(other) = dtypes.find(|&d| d != dtype) {
        return Err(Error::Argument(format!(
            "linear: the input is {dtype:?} but a weight is {other:?}; convert one of them"
        )));
    }
    for t in terms {
        rank(t.a.data(), t.b.data(), inp, out)?;
    }
    let rows = x.data().elem_count() / inp.max(1);
    if let Some(range) = terms.iter().flat_map(|t| t.rows.iter().flatten()).find(|r| r.start > r.end || r.end > rows) {
        return Err(Error::Argument(format!("rows {range:?} of an input that has {rows}")));
    }
    if !x.device().is_cpu() {
        return composed(x, base, terms);
    }
    dispatch!(dtype, T => cpu::<T>(x, base, terms, inp, out))
}

fn composed(x: &Tensor, base: Option<Base<'_>>, terms: &[LoraTerm]) -> Result<Tensor> {
    let inp = x.last_dim();
    let rows = x.data().elem_count() / inp.max(1);
    let flat = x.reshape((rows, inp))?;
    let mut y: Option<Tensor> = None;
    if let Some((w, bias, layout)) = base {
        let w = w.tensor()?;
        let w = if layout == WeightLayout::OutIn { w.transpose(0, 1)? } else { w };
        let product = flat.matmul(&w)?;
        y = Some(match bias {
            Some(b) => product.add(b)?,
            None => product,
        });
    }
    for t in terms {
        let (a, b) = (t.a.transpose(0, 1)?, t.b.transpose(0, 1)?);
        let delta = |x: &Tensor| x.matmul(&a)?.matmul(&b)?.affine(t.scaling, 0.);
        let delta = match &t.rows {
            None => delta(&flat)?,
            Some(_) => {
                let mut parts = Vec::new();
                let mut end = 0;
                let nothing = |n: usize| Array::zeros((n, t.b.dim(0)), x.dtype(), x.device());
                for Range { start, end: stop } in t.segments(rows) {
                    parts.push(nothing(start - end)?.into());
                    parts.push(delta(&flat.narrow(0, start, stop - start)?)?);
                    end = stop;
                }
                parts.push(nothing(rows - end)?.into());
                Tensor::cat(&parts.iter().filter(|p| p.dim(0) > 0).collect::<Vec<_>>(), 0)?
            }
        };
        y = Some(match y {
            Some(y) => y.add(&delta)?,
            None => delta,
        });
    }
    let y = y.expect("checked by the caller");
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(y.last_dim());
    y.reshape(shape)
}

/// One term on some rows: `y += scaling · (h = x aᵀ) bᵀ`.
struct Update<'a, T> {
    rows: Range<usize>,
    r: usize,
    a: &'a [T],
    b: &'a [T],
    h: Shared<T>,
    scaling: T,
}

fn disjoint(ranges: impl Iterator<Item = Range<usize>>) -> bool {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_unstable_by_key(|r| r.start);
    ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
}

fn cpu<T: Real>(x: &Tensor, base: Option<Base<'_>>, terms: &[LoraTerm], inp: usize, out: usize) -> Result<Tensor> {
    let dtype = x.dtype();
    let rows = x.data().elem_count() / inp.max(1);
    let xs = prepared(x.data())?;
    let w = base.map(|(w, _, _)| Operand::new::<T>(w)).transpose()?;
    let bias = base.and_then(|(_, b, _)| b).map(|b| prepared(b.data())).transpose()?;
    let layout = base.map_or(WeightLayout::OutIn, |(_, _, l)| l);
    let factors =
        terms.iter().map(|t| Ok((prepared(t.a.data())?, prepared(t.b.data())?))).collect::<Result<Vec<_>>>()?;

    let mut y = uninit::<T>(rows * out);
    let mut hidden: Vec<Vec<T>> = Vec::with_capacity(terms.len());
    {
        let xv = host::<T>(&xs);
        let mut beta = T::ZERO;
        if w.is_none() && bias.is_none() && terms.iter().any(|t| t.rows.is_some()) {
            y.fill(T::ZERO);
            beta = T::ONE;
        }
        if let Some(b) = &bias {
            let b = host::<T>(b);
            y.chunks_exact_mut(out.max(1)).for_each(|row| row.copy_from_slice(&b));
            beta = T::ONE;
        }
        if let Some(w) = &w {
            // SAFETY: the sizes were checked against the shapes; y is ours.
            unsafe { w.product((rows, inp, out), layout, mat_mut(&mut y, out), beta, mat(&xv, inp)) };
            beta = T::ONE;
        }
        hidden.extend(factors.iter().map(|(a, _)| uninit::<T>(rows * a.dims()[0])));
        let (hosts_a, hosts_b): (Vec<_>, Vec<_>) = factors.iter().map(|(a, b)| (host::<T>(a), host::<T>(b))).unzip();
        let (xv, yp) = (&xv[..], Shared(y.as_mut_ptr()));
        let updates: Vec<Update<'_, T>> = terms
            .iter()
            .zip(hidden.iter_mut().zip(hosts_a.iter().zip(&hosts_b)))
            .flat_map(|(term, (h, (a, b)))| {
                let (h, r, scaling) = (Shared(h.as_mut_ptr()), a.len() / inp.max(1), T::of(term.scaling));
                let (a, b): (&[T], &[T]) = (a, b);
                term.segments(rows).into_iter().map(move |rows| Update { rows, r, a, b, h, scaling })
            })
            .collect();
        let run = |update: &Update<'_, T>, beta: T, parallel: bool| {
            let Update { rows: Range { start, end }, r, a, b, h, scaling } = update;
            let (n, r) = (end - start, *r);
            // SAFETY: the rows are inside of x, y and h, which are ours; a and b were checked against the sizes.
            unsafe {
                let h = std::slice::from_raw_parts_mut(h.ptr().add(start * r), n * r);
                let y = std::slice::from_raw_parts_mut(yp.ptr().add(start * out), n * out);
                let x = mat(&xv[start * inp..end * inp], inp);
                gemm((n, r, inp), mat_mut(h, r), T::ZERO, x, mat(a, inp).t(), T::ONE, parallel);
                gemm((n, out, r), mat_mut(y, out), beta, mat(h, r), mat(b, r).t(), *scaling, parallel);
            }
        };
        if updates.len() > 1 && disjoint(updates.iter().map(|u| u.rows.clone())) {
            // Each row has one update: they go side by side, which wastes less than splitting each small product.
            updates.par_iter().for_each(|update| run(update, beta, false));
        } else {
            for (i, update) in updates.iter().enumerate() {
                run(update, if i == 0 { beta } else { T::ONE }, true);
            }
        }
    }
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(out);
    let y = finish(y, &shape, dtype)?;

    let mut inputs: Vec<&Tensor> = vec![x];
    inputs.extend(base.and_then(|(w, _, _)| w.tracked()));
    inputs.extend(base.and_then(|(_, b, _)| b));
    inputs.extend(terms.iter().flat_map(|t| [&t.a, &t.b]));
    let needs: Vec<bool> = inputs.iter().map(|t| t.is_tracked()).collect();
    let dense = base.and_then(|(w, _, _)| w.tracked()).map(|w| w.dims().to_vec());
    let settings: Vec<(f64, Vec<Range<usize>>)> = terms.iter().map(|t| (t.scaling, t.segments(rows))).collect();
    let partial = terms.iter().any(|t| t.rows.is_some());
    let x_shape = x.dims().to_vec();
    // The input is saved only for the gradients of weights.
    let saved_x = needs[1..].iter().any(|&n| n).then_some(xs);

    Ok(Tensor::from_op(y, &inputs, move |g| {
        let g = prepared(g)?;
        let g = host::<T>(&g);
        let mut needs = needs.into_iter();
        let mut grads: Vec<Option<Array>> = vec![None];
        let need_x = needs.next() == Some(true);
        let mut dx = need_x.then(|| uninit::<T>(rows * inp));
        let mut beta = T::ZERO;
        let xv = saved_x.as_ref().map(host::<T>);
        if let Some(w) = &w {
            if let Some(dx) = &mut dx {
                // SAFETY: sizes as in the forward pass; dx is ours.
                unsafe { w.product((rows, out, inp), layout.t(), mat_mut(dx, inp), beta, mat(&g, out)) };
                beta = T::ONE;
            }
        }
        if let Some(dims) = &dense {
            grads.push(match (needs.next() == Some(true), &xv) {
                (true, Some(xv)) => {
                    let mut dw = uninit::<T>(inp * out);
                    // SAFETY: as above; dw is ours.
                    unsafe {
                        let (gm, xm) = (mat(&g, out), mat(xv, inp));
                        match layout {
                            WeightLayout::OutIn => {
                                gemm((out, inp, rows), mat_mut(&mut dw, inp), T::ZERO, gm.t(), xm, T::ONE, true)
                            }
                            WeightLayout::InOut => {
                                gemm((inp, out, rows), mat_mut(&mut dw, out), T::ZERO, xm.t(), gm, T::ONE, true)
                            }
                        }
                    }
                    Some(finish(dw, dims, dtype)?)
                }
                _ => None,
            });
        }
        if bias.is_some() {
            let need = needs.next() == Some(true);
            grads.push(if need { Some(finish(column_sums(&g, out), &[out], dtype)?) } else { None });
        }
        if let (true, Some(dx)) = (partial && w.is_none(), &mut dx) {
            dx.fill(T::ZERO);
            beta = T::ONE;
        }
        for (((a, b), h), (scaling, segments)) in factors.iter().zip(&hidden).zip(settings) {
            let r = a.dims()[0];
            let scaling = T::of(scaling);
            let (need_a, need_b) = (needs.next() == Some(true), needs.next() == Some(true));
            let (av, bv) = (host::<T>(a), host::<T>(b));
            let (mut da, mut db) = (need_a.then(|| uninit::<T>(r * inp)), need_b.then(|| uninit::<T>(out * r)));
            if segments.is_empty() {
                da.iter_mut().chain(&mut db).for_each(|d| d.fill(T::ZERO));
            }
            for (i, Range { start, end }) in segments.into_iter().enumerate() {
                let n = end - start;
                let (g, h) = (mat(&g[start * out..end * out], out), mat(&h[start * r..end * r], r));
                // Later segments add to what the first one gives.
                let before = if i == 0 { T::ZERO } else { T::ONE };
                // SAFETY: sizes as in the forward pass; dh, da, db and dx are ours.
                unsafe {
                    if need_a || need_x {
                        let mut dh = uninit::<T>(n * r);
                        gemm((n, r, out), mat_mut(&mut dh, r), T::ZERO, g, mat(&bv, r), scaling, true);
                        if let Some(dx) = &mut dx {
                            let dx = mat_mut(&mut dx[start * inp..end * inp], inp);
                            gemm((n, inp, r), dx, beta, mat(&dh, r), mat(&av, inp), T::ONE, true);
                        }
                        if let (Some(da), Some(xv)) = (&mut da, &xv) {
                            let x = mat(&xv[start * inp..end * inp], inp);
                            gemm((r, inp, n), mat_mut(da, inp), before, mat(&dh, r).t(), x, T::ONE, true);
                        }
                    }
                    if let Some(db) = &mut db {
                        gemm((out, r, n), mat_mut(db, r), before, g.t(), h, scaling, true);
                    }
                }
            }
            beta = T::ONE;
            grads.push(da.map(|d| finish(d, a.dims(), dtype)).transpose()?);
            grads.push(db.map(|d| finish(d, b.dims(), dtype)).transpose()?);
        }
        if let Some(dx) = dx {
            grads[0] = Some(finish(dx, &x_shape, dtype)?);
        }
        Ok(grads)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, leaf, values};
    use crate::ops::Weight;

    #[test]
    fn gradients_match_difference_quotients() {
        let x = values(&[2, 3, 5], 1);
        for (layout, shape) in [(WeightLayout::OutIn, [4, 5]), (WeightLayout::InOut, [5, 4])] {
            check_gradients(&[x.clone(), values(&shape, 2), values(&[4], 3)], |t| {
                linear(&t[0], &t[1], Some(&t[2]), layout)
            });
        }
        check_gradients(
            &[x, values(&[4, 5], 2), values(&[2, 5], 4), values(&[4, 2], 5), values(&[3, 5], 6), values(&[4, 3], 7)],
            |t| {
                let terms =
                    [LoraTerm::new(t[2].clone(), t[3].clone(), 0.5), LoraTerm::new(t[4].clone(), t[5].clone(), -2.)];
                lora_linear(&t[0], Some((&t[1].clone().into(), None, WeightLayout::OutIn)), &terms)
            },
        );
    }

    #[test]
    fn rows_with_updates_of_their_own() {
        let (x, w) = (values(&[2, 3, 5], 1), values(&[4, 5], 2));
        let factors = [values(&[2, 5], 4), values(&[4, 2], 5), values(&[3, 5], 6), values(&[4, 3], 7)];
        let terms = |t: &[Tensor]| {
            let mut terms = [
                LoraTerm::new(t[0].clone(), t[1].clone(), 0.5),
                LoraTerm::new(t[2].clone(), t[3].clone(), -2.),
                LoraTerm::new(t[0].clone(), t[1].clone(), 3.),
            ];
            terms[0].rows = Some(vec![0..2, 4..5]);
            terms[1].rows = Some(std::iter::once(2..3).collect());
            terms[2].rows = Some(Vec::new());
            terms
        };
        let all: Vec<Array> = [&x, &w].into_iter().chain(&factors).cloned().collect();
        check_gradients(&all, |t| {
            lora_linear(&t[0], Some((&t[1].clone().into(), None, WeightLayout::OutIn)), &terms(&t[2..]))
        });
        check_gradients(&[&all[..1], &all[2..]].concat(), |t| lora_linear(&t[0], None, &terms(&t[1..])));
        let t: Vec<Tensor> = all.into_iter().map(Into::into).collect();
        let w = Weight::Dense(t[1].clone());
        for base in [None, Some((&w, None, WeightLayout::OutIn))] {
            let y = lora_linear(&t[0], base, &terms(&t[2..])).unwrap();
            assert_close(y.data(), composed(&t[0], base, &terms(&t[2..])).unwrap().data(), 1e-12);
        }
        let mut outside = terms(&t[2..]);
        outside[0].rows = Some(std::iter::once(5..7).collect());
        assert_eq!(lora_linear(&t[0], None, &outside).unwrap_err().code(), "ERR_INVALID_ARGUMENT");
    }

    #[test]
    fn equals_its_composed_form() {
        let (x, w, b) = (values(&[3, 5], 1).into(), values(&[4, 5], 2).into(), values(&[4], 3).into());
        let terms = [LoraTerm::new(values(&[2, 5], 4).into(), values(&[4, 2], 5).into(), 1.5)];
        let w = Weight::Dense(w);
        let base = Some((&w, Some(&b), WeightLayout::OutIn));
        let (fused, reference) = (lora_linear(&x, base, &terms).unwrap(), composed(&x, base, &terms).unwrap());
        assert_close(fused.data(), reference.data(), 1e-12);
    }

    #[test]
    fn a_frozen_weight_gets_no_gradient() {
        let (x, x_slot) = leaf(&values(&[3, 5], 1));
        let w: Tensor = values(&[4, 5], 2).into();
        linear(&x, &w, None, WeightLayout::OutIn).unwrap().sum(None, false).unwrap().backward().unwrap();
        assert!(x_slot.get().is_some());
    }

    #[test]
    fn a_wrong_input_size_is_a_shape_error() {
        let w: Tensor = values(&[4, 5], 2).into();
        let error = linear(&values(&[3, 6], 1).into(), &w, None, WeightLayout::OutIn).unwrap_err();
        assert_eq!(error.code(), "ERR_SHAPE");
    }
}
