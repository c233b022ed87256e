//! Attention on the CPU, a tile of queries at a time.

use super::options::AttentionOptions;
use super::scores::{softmax_row, Kernel};
use super::sizes::Sizes;
use crate::ops::gemm::gemm;
use crate::ops::host::{host, uninit};
use crate::ops::mask::MaskData;
use crate::ops::mat::{mat, mat_mut, Mat};
use crate::ops::parallel::Shared;
use crate::ops::precision::{finish, prepared};
use crate::ops::real::Real;
use crate::ops::simd::simd;
use crate::tensor::Tensor;
use crate::Result;
use rayon::prelude::*;

/// Queries handled together; a tile's scores are `TILE · keys` numbers per running task.
const TILE: usize = 64;

fn tiles(queries: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..queries).step_by(TILE).map(move |i| i..(i + TILE).min(queries))
}

pub(super) fn cpu<T: Real>(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions, s: Sizes) -> Result<Tensor> {
    let dtype = q.dtype();
    let (qs, ks, vs) = (prepared(q.data())?, prepared(k.data())?, prepared(v.data())?);
    let data = MaskData::<T>::new(&options.mask, dtype)?;
    let scale = T::of(options.scale);
    let group = s.heads / s.kv_heads;
    let (q_row, k_row, v_row, o_row) = (s.heads * s.d, s.kv_heads * s.d, s.kv_heads * s.dv, s.heads * s.dv);
    let mut out = uninit::<T>(s.batch * s.queries * o_row);
    // log Σ exp of each query's scores
    let mut lse = vec![T::ZERO; s.batch * s.heads * s.queries];
    let work = s.queries * s.keys * (s.d + s.dv);
    let min_len = (1usize << 16).div_ceil(work.max(1));
    {
        let kernel = Kernel { size: s, mask: &options.mask, data: &data, scale, dropout: options.dropout };
        let (qv, kv, vv) = (host::<T>(&qs), host::<T>(&ks), host::<T>(&vs));
        let (qv, kv, vv): (&[T], &[T], &[T]) = (&qv, &kv, &vv);
        let target = Shared(out.as_mut_ptr());
        lse.par_chunks_mut(s.queries.max(1)).enumerate().with_min_len(min_len).for_each(|(task, lse)| {
            let (b, h) = (task / s.heads, task % s.heads);
            let g = h / group;
            let mut scores: Vec<T> = Vec::new();
            for rows in tiles(s.queries) {
                let keys = options.mask.key_range(b, &rows, s.queries, s.keys);
                let width = keys.len();
                scores.clear();
                scores.resize(rows.len() * width, T::ZERO);
                let q_at = &qv[(b * s.queries + rows.start) * q_row + h * s.d..];
                // SAFETY: head h of rows `rows` of batch b lies inside the checked shapes; each task writes its own head's
                // places of `out` only.
                unsafe {
                    if width > 0 {
                        let k_at = &kv[(b * s.keys + keys.start) * k_row + g * s.d..];
                        let qm = Mat { ptr: q_at.as_ptr(), row: q_row as isize, col: 1 };
                        let km = Mat { ptr: k_at.as_ptr(), row: 1, col: k_row as isize };
                        gemm((rows.len(), width, s.d), mat_mut(&mut scores, width), T::ZERO, qm, km, T::ONE, false);
                    }
                    for (i, row) in rows.clone().zip(scores.chunks_exact_mut(width.max(1))) {
                        lse[i] = simd(
                            #[inline(always)]
                            || {
                                kernel.mask_row(row, b, h, i, &keys);
                                softmax_row(row)
                            },
                        );
                        kernel.drop_row(row, b, h, i, &keys);
                    }
                    let o_at = target.ptr().add((b * s.queries + rows.start) * o_row + h * s.dv);
                    let om = Mat { ptr: o_at, row: o_row as isize, col: 1 };
                    if width > 0 {
                        let v_at = &vv[(b * s.keys + keys.start) * v_row + g * s.dv..];
                        let vm = Mat { ptr: v_at.as_ptr(), row: v_row as isize, col: 1 };
                        gemm((rows.len(), s.dv, width), om, T::ZERO, mat(&scores, width), vm, T::ONE, false);
                    } else {
                        for r in 0..rows.len() {
                            lse[rows.start + r] = -T::NEG_INFINITY;
                            std::slice::from_raw_parts_mut(o_at.add(r * o_row), s.dv).fill(T::ZERO);
                        }
                    }
                }
            }
        });
    }
    let shape = [s.batch, s.queries, s.heads, s.dv];
    let y = finish(out, &shape, dtype)?;
    let saved = y.clone();
    let options = options.clone();
    Ok(Tensor::from_op(y, &[q, k, v], move |grad| {
        let kernel = Kernel { size: s, mask: &options.mask, data: &data, scale, dropout: options.dropout };
        let (grad, saved) = (prepared(grad)?, prepared(&saved)?);
        let (gv, ov) = (host::<T>(&grad), host::<T>(&saved));
        let (qv, kv, vv) = (host::<T>(&qs), host::<T>(&ks), host::<T>(&vs));
        let (gv, ov): (&[T], &[T]) = (&gv, &ov);
        let (qv, kv, vv): (&[T], &[T], &[T]) = (&qv, &kv, &vv);
        let mut dq = uninit::<T>(qv.len());
        let (mut dk, mut dv) = (vec![T::ZERO; kv.len()], vec![T::ZERO; vv.len()]);
        let (dq_at, dk_at, dv_at) = (Shared(dq.as_mut_ptr()), Shared(dk.as_mut_ptr()), Shared(dv.as_mut_ptr()));
        let lse = &lse;
        (0..s.batch * s.kv_heads).into_par_iter().with_min_len(min_len.div_ceil(group)).for_each(|task| {
            let (b, g) = (task / s.kv_heads, task % s.kv_heads);
            let (mut p, mut ds): (Vec<T>, Vec<T>) = (Vec::new(), Vec::new());
            for h in g * group..(g + 1) * group {
                for rows in tiles(s.queries) {
                    let keys = options.mask.key_range(b, &rows, s.queries, s.keys);
                    let width = keys.len();
                    let q_start = (b * s.queries + rows.start) * q_row + h * s.d;
                    let o_start = (b * s.queries + rows.start) * o_row + h * s.dv;
                    // SAFETY: as in the forward pass; a task owns the gradients of key/value head g and of its query heads.
                    unsafe {
                        let dqm = Mat { ptr: dq_at.ptr().add(q_start), row: q_row as isize, col: 1 };
                        if width == 0 {
                            for r in 0..rows.len() {
                                std::slice::from_raw_parts_mut(dqm.ptr.add(r * q_row), s.d).fill(T::ZERO);
                            }
                            continue;
                        }
                        let k_start = (b * s.keys + keys.start) * k_row + g * s.d;
                        let v_start = (b * s.keys + keys.start) * v_row + g * s.dv;
                        let qm = Mat { ptr: qv.as_ptr().add(q_start), row: q_row as isize, col: 1 };
                        let km = Mat { ptr: kv.as_ptr().add(k_start), row: k_row as isize, col: 1 };
                        let vm = Mat { ptr: vv.as_ptr().add(v_start), row: v_row as isize, col: 1 };
                        let gm = Mat { ptr: gv.as_ptr().add(o_start), row: o_row as isize, col: 1 };
                        p.clear();
                        p.resize(rows.len() * width, T::ZERO);
                        ds.clear();
                        ds.resize(rows.len() * width, T::ZERO);
                        let n = (rows.len(), width, s.d);
                        gemm(n, mat_mut(&mut p, width), T::ZERO, qm, km.t(), T::ONE, false);
                        let n = (rows.len(), width, s.dv);
                        gemm(n, mat_mut(&mut ds, width), T::ZERO, gm, vm.t(), T::ONE, false);
                        for (r, i) in rows.clone().enumerate() {
                            let p = &mut p[r * width..(r + 1) * width];
                            let ds = &mut ds[r * width..(r + 1) * width];
                            let l = lse[(b * s.heads + h) * s.queries + i];
                            kernel.drop_row(ds, b, h, i, &keys);
                            let at = o_start + r * o_row;
                            let (g, o) = (&gv[at..at + s.dv], &ov[at..at + s.dv]);
                            simd(
                                #[inline(always)]
                                || {
                                    kernel.mask_row(p, b, h, i, &keys);
                                    let dot: T = g.iter().zip(o).map(|(&a, &b)| a * b).sum();
                                    for (ds, p) in ds.iter_mut().zip(p.iter_mut()) {
                                        *p = (*p - l).fast_exp();
                                        *ds = *p * (*ds - dot) * scale;
                                    }
                                },
                            );
                            kernel.drop_row(p, b, h, i, &keys);
                        }
                        let (pm, dsm) = (mat(&p, width), mat(&ds, width));
                        gemm((rows.len(), s.d, width), dqm, T::ZERO, dsm, km, T::ONE, false);
                        let dkm = Mat { ptr: dk_at.ptr().add(k_start), row: k_row as isize, col: 1 };
                        gemm((width, s.d, rows.len()), dkm, T::ONE, dsm.t(), qm, T::ONE, false);
                        let dvm = Mat { ptr: dv_at.ptr().add(v_start), row: v_row as isize, col: 1 };
                        gemm((width, s.dv, rows.len()), dvm, T::ONE, pm.t(), gm, T::ONE, false);
                    }
                }
            }
        });
        Ok(vec![
            Some(finish(dq, qs.dims(), dtype)?),
            Some(finish(dk, ks.dims(), dtype)?),
            Some(finish(dv, vs.dims(), dtype)?),
        ])
    }))
}
