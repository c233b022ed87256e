//! Dense layers, alone and with low-rank updates, that never compute the gradient of a frozen weight.

use super::{column_sums, dispatch, finish, gemm, host, mat, mat_mut, prepared, simd, uninit, Mat, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// How a weight matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `torch.nn.Linear`: `[out, in]`.
    OutIn,
    /// GPT-2's `Conv1D`: `[in, out]`.
    InOut,
}

impl WeightLayout {
    fn sizes(self, w: &Array) -> (usize, usize) {
        match (self, w.dims()) {
            (Self::OutIn, &[out, inp]) => (inp, out),
            (Self::InOut, &[inp, out]) => (inp, out),
            _ => (0, 0),
        }
    }

    /// The weight as a matrix `[in, out]`.
    fn in_out<T>(self, w: &[T], inp: usize, out: usize) -> Mat<*const T> {
        match self {
            Self::OutIn => mat(w, inp).t(),
            Self::InOut => mat(w, out),
        }
    }
}

/// One adapter's update `scaling · B A`, with `a [r, in]` and `b [out, r]`.
#[derive(Clone)]
pub struct LoraTerm {
    pub a: Tensor,
    pub b: Tensor,
    pub scaling: f64,
}

/// `y = x Wᵀ + bias` for `x [.., in]` → `[.., out]`.
///
/// The gradients of `w` and `bias` are computed only when they are tracked. Fails with [`Error::Shape`] when `x` does not
/// end in `in`.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    lora_linear(x, Some((w, bias, layout)), &[])
}

/// `y = x Wᵀ + bias + Σᵢ sᵢ · x Aᵢᵀ Bᵢᵀ`, or the sum alone when `base` is absent.
///
/// `x [.., in]` → `[.., out]`. Saves only the products `x Aᵢᵀ` beside its inputs. All operands share one dtype.
///
/// Hu et al. 2021 (arXiv 2106.09685).
pub fn lora_linear(
    x: &Tensor,
    base: Option<(&Tensor, Option<&Tensor>, WeightLayout)>,
    terms: &[LoraTerm],
) -> Result<Tensor> {
    let inp = x.last_dim();
    let out = match (&base, terms.first()) {
        (Some((w, _, layout)), _) => {
            let (wanted, out) = layout.sizes(w.data());
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
    let operands = base.iter().flat_map(|(w, b, _)| [Some(*w), *b]).flatten();
    let operands: Vec<&Tensor> = operands.chain(terms.iter().flat_map(|t| [&t.a, &t.b])).collect();
    if let Some(other) = operands.iter().find(|t| t.dtype() != dtype) {
        return Err(Error::Argument(format!(
            "linear: the input is {dtype:?} but a weight is {:?}; convert one of them",
            other.dtype()
        )));
    }
    for t in terms {
        let r = t.a.dims().first().copied().unwrap_or(0);
        if t.a.dims() != [r, inp] || t.b.dims() != [out, r] {
            return Err(Error::Shape {
                path: "lora_A / lora_B".into(),
                expected: vec![r, inp, out, r],
                actual: [t.a.dims(), t.b.dims()].concat(),
            });
        }
    }
    if !x.device().is_cpu() {
        return composed(x, base, terms);
    }
    dispatch!(dtype, T => cpu::<T>(x, base, terms, inp, out))
}

/// The Euclidean norms of the rows of `W + scaling · B A`, `[out]`, for `w [out, in]`, `a [r, in]`, `b [out, r]` of one compute
/// type. The sum is never made as a whole.
pub fn updated_row_norms(w: &Array, a: &Array, b: &Array, scaling: f64) -> Result<Array> {
    let ((out, inp), r) = (w.dims2()?, a.dim(0)?);
    if a.dims() != [r, inp] || b.dims() != [out, r] {
        return Err(Error::Shape {
            path: "lora_A / lora_B".into(),
            expected: vec![r, inp, out, r],
            actual: [a.dims(), b.dims()].concat(),
        });
    }
    if !w.device().is_cpu() {
        let sum = (w + (b.matmul(a)? * scaling)?)?;
        return Ok(sum.sqr()?.sum(1)?.sqrt()?);
    }
    dispatch!(w.dtype(), T => norms::<T>(w, a, b, scaling, (out, inp, r)))
}

fn norms<T: Real>(
    w: &Array,
    a: &Array,
    b: &Array,
    scaling: f64,
    (out, inp, r): (usize, usize, usize),
) -> Result<Array> {
    const ROWS: usize = 32;
    let (w, a, b) = (prepared(w)?, prepared(a)?, prepared(b)?);
    let mut norms = uninit::<T>(out);
    {
        let (w, a, b) = (host::<T>(&w), host::<T>(&a), host::<T>(&b));
        let (w, a, b): (&[T], &[T], &[T]) = (&w, &a, &b);
        norms.par_chunks_mut(ROWS).enumerate().for_each(|(block, norms)| {
            let (first, rows) = (block * ROWS, norms.len());
            let mut sum = w[first * inp..(first + rows) * inp].to_vec();
            // SAFETY: the sizes were checked against the shapes; the sum is ours.
            unsafe {
                let b = mat(&b[first * r..(first + rows) * r], r);
                gemm((rows, inp, r), mat_mut(&mut sum, inp), T::ONE, b, mat(a, inp), T::of(scaling), false);
            }
            simd(
                #[inline(always)]
                || {
                    for (norm, row) in norms.iter_mut().zip(sum.chunks_exact(inp.max(1))) {
                        let mut lanes = [T::ZERO; 16];
                        let chunks = row.chunks_exact(16);
                        let rest = chunks.remainder();
                        for chunk in chunks {
                            for (lane, &v) in lanes.iter_mut().zip(chunk) {
                                *lane += v * v;
                            }
                        }
                        *norm = lanes.into_iter().chain(rest.iter().map(|&v| v * v)).sum::<T>().sqrt();
                    }
                },
            );
        });
    }
    finish(norms, &[out], w.dtype())
}

fn composed(x: &Tensor, base: Option<(&Tensor, Option<&Tensor>, WeightLayout)>, terms: &[LoraTerm]) -> Result<Tensor> {
    let inp = x.last_dim();
    let rows = x.data().elem_count() / inp.max(1);
    let flat = x.reshape((rows, inp))?;
    let mut y: Option<Tensor> = None;
    if let Some((w, bias, layout)) = base {
        let w = if layout == WeightLayout::OutIn { w.transpose(0, 1)? } else { w.clone() };
        let product = flat.matmul(&w)?;
        y = Some(match bias {
            Some(b) => product.add(b)?,
            None => product,
        });
    }
    for t in terms {
        let h = flat.matmul(&t.a.transpose(0, 1)?)?;
        let delta = h.matmul(&t.b.transpose(0, 1)?)?.affine(t.scaling, 0.)?;
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

fn cpu<T: Real>(
    x: &Tensor,
    base: Option<(&Tensor, Option<&Tensor>, WeightLayout)>,
    terms: &[LoraTerm],
    inp: usize,
    out: usize,
) -> Result<Tensor> {
    let dtype = x.dtype();
    let rows = x.data().elem_count() / inp.max(1);
    let xs = prepared(x.data())?;
    let w = base.map(|(w, _, _)| prepared(w.data())).transpose()?;
    let bias = base.and_then(|(_, b, _)| b).map(|b| prepared(b.data())).transpose()?;
    let layout = base.map_or(WeightLayout::OutIn, |(_, _, l)| l);
    let factors =
        terms.iter().map(|t| Ok((prepared(t.a.data())?, prepared(t.b.data())?))).collect::<Result<Vec<_>>>()?;

    let mut y = uninit::<T>(rows * out);
    let mut hidden: Vec<Vec<T>> = Vec::with_capacity(terms.len());
    {
        let xv = host::<T>(&xs);
        let mut beta = T::ZERO;
        if let Some(b) = &bias {
            let b = host::<T>(b);
            y.chunks_exact_mut(out.max(1)).for_each(|row| row.copy_from_slice(&b));
            beta = T::ONE;
        }
        if let Some(w) = &w {
            let w = host::<T>(w);
            // SAFETY: the sizes were checked against the shapes; y is ours.
            unsafe {
                let w = layout.in_out(&w, inp, out);
                gemm((rows, out, inp), mat_mut(&mut y, out), beta, mat(&xv, inp), w, T::ONE, true);
            }
            beta = T::ONE;
        }
        for (term, (a, b)) in terms.iter().zip(&factors) {
            let r = a.dims()[0];
            let (a, b) = (host::<T>(a), host::<T>(b));
            let mut h = uninit::<T>(rows * r);
            // SAFETY: as above; h is ours.
            unsafe {
                gemm((rows, r, inp), mat_mut(&mut h, r), T::ZERO, mat(&xv, inp), mat(&a, inp).t(), T::ONE, true);
                let scaling = T::of(term.scaling);
                gemm((rows, out, r), mat_mut(&mut y, out), beta, mat(&h, r), mat(&b, r).t(), scaling, true);
            }
            beta = T::ONE;
            hidden.push(h);
        }
    }
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(out);
    let y = finish(y, &shape, dtype)?;

    let mut inputs: Vec<&Tensor> = vec![x];
    inputs.extend(base.iter().map(|(w, _, _)| *w));
    inputs.extend(base.and_then(|(_, b, _)| b));
    inputs.extend(terms.iter().flat_map(|t| [&t.a, &t.b]));
    let needs: Vec<bool> = inputs.iter().map(|t| t.is_tracked()).collect();
    let scalings: Vec<f64> = terms.iter().map(|t| t.scaling).collect();
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
                let w = host::<T>(w);
                // SAFETY: sizes as in the forward pass; dx is ours.
                unsafe {
                    let w = layout.in_out(&w, inp, out).t();
                    gemm((rows, inp, out), mat_mut(dx, inp), beta, mat(&g, out), w, T::ONE, true);
                }
                beta = T::ONE;
            }
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
                    Some(finish(dw, w.dims(), dtype)?)
                }
                _ => None,
            });
        }
        if bias.is_some() {
            let need = needs.next() == Some(true);
            grads.push(if need { Some(finish(column_sums(&g, out), &[out], dtype)?) } else { None });
        }
        for (((a, b), h), scaling) in factors.iter().zip(&hidden).zip(scalings) {
            let r = a.dims()[0];
            let scaling = T::of(scaling);
            let (need_a, need_b) = (needs.next() == Some(true), needs.next() == Some(true));
            let (av, bv) = (host::<T>(a), host::<T>(b));
            if need_a || need_x {
                let mut dh = uninit::<T>(rows * r);
                // SAFETY: as above; dh, da and dx are ours.
                unsafe {
                    gemm((rows, r, out), mat_mut(&mut dh, r), T::ZERO, mat(&g, out), mat(&bv, r), scaling, true);
                    if let Some(dx) = &mut dx {
                        gemm((rows, inp, r), mat_mut(dx, inp), beta, mat(&dh, r), mat(&av, inp), T::ONE, true);
                        beta = T::ONE;
                    }
                }
                grads.push(match (need_a, &xv) {
                    (true, Some(xv)) => {
                        let mut da = uninit::<T>(r * inp);
                        // SAFETY: as above.
                        unsafe {
                            let (dh, x) = (mat(&dh, r).t(), mat(xv, inp));
                            gemm((r, inp, rows), mat_mut(&mut da, inp), T::ZERO, dh, x, T::ONE, true);
                        }
                        Some(finish(da, a.dims(), dtype)?)
                    }
                    _ => None,
                });
            } else {
                grads.push(None);
            }
            grads.push(if need_b {
                let mut db = uninit::<T>(out * r);
                // SAFETY: as above; db is ours.
                unsafe {
                    gemm((out, r, rows), mat_mut(&mut db, r), T::ZERO, mat(&g, out).t(), mat(h, r), scaling, true);
                }
                Some(finish(db, b.dims(), dtype)?)
            } else {
                None
            });
        }
        if let Some(dx) = dx {
            grads[0] = Some(finish(dx, &x_shape, dtype)?);
        }
        Ok(grads)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradients, leaf, values};
    use super::*;

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
                let terms = [
                    LoraTerm { a: t[2].clone(), b: t[3].clone(), scaling: 0.5 },
                    LoraTerm { a: t[4].clone(), b: t[5].clone(), scaling: -2. },
                ];
                lora_linear(&t[0], Some((&t[1], None, WeightLayout::OutIn)), &terms)
            },
        );
    }

    #[test]
    fn equals_its_composed_form() {
        let (x, w, b) = (values(&[3, 5], 1).into(), values(&[4, 5], 2).into(), values(&[4], 3).into());
        let terms = [LoraTerm { a: values(&[2, 5], 4).into(), b: values(&[4, 2], 5).into(), scaling: 1.5 }];
        let base = Some((&w, Some(&b), WeightLayout::OutIn));
        let (fused, reference) = (lora_linear(&x, base, &terms).unwrap(), composed(&x, base, &terms).unwrap());
        assert_close(fused.data(), reference.data(), 1e-12);
    }

    #[test]
    fn norms_of_updated_rows_equal_those_of_the_sum() {
        for (out, inp, r) in [(1, 5, 2), (33, 40, 3), (70, 17, 8)] {
            let (w, a, b) = (values(&[out, inp], 1), values(&[r, inp], 2), values(&[out, r], 3));
            let sum = (&w + (b.matmul(&a).unwrap() * 1.5).unwrap()).unwrap();
            let expected = sum.sqr().unwrap().sum(1).unwrap().sqrt().unwrap();
            assert_close(&updated_row_norms(&w, &a, &b, 1.5).unwrap(), &expected, 1e-12);
        }
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
