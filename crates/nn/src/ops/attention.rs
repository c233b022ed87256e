//! Scaled dot-product attention in row tiles: the full score matrix never exists, forward or backward.

use super::dropout::keep;
use super::{dispatch, finish, gemm, host, prepared, simd, uninit, Mat, Real, Shared};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use candle_core::{DType, Device};
use rayon::prelude::*;

/// Which keys a query may see. The parts add up; a query that sees nothing attends to nothing and gives zeros.
#[derive(Clone, Default, Debug)]
pub struct Mask {
    /// Query `i` sees keys up to its own position; queries are the last ones of the keys.
    pub causal: bool,
    /// Sliding window: only the last `window` positions, its own included.
    pub window: Option<usize>,
    /// `[batch, keys]`, added to the scores of every query (0 = visible, -inf = hidden).
    pub keys: Option<Array>,
    /// `[batch or 1, heads or 1, queries, keys]`, added to the scores.
    pub dense: Option<Array>,
}

impl Mask {
    /// From 1 (keep) and 0 (hide) per token, `[batch, keys]` in row-major order; absent when nothing is hidden.
    pub fn padding(keep: &[i64], batch: usize, device: &Device) -> Result<Option<Array>> {
        if keep.iter().all(|&k| k != 0) {
            return Ok(None);
        }
        let values: Vec<f32> = keep.iter().map(|&k| if k != 0 { 0. } else { f32::NEG_INFINITY }).collect();
        let width = keep.len() / batch.max(1);
        Ok(Some(Array::from_vec(values, (batch, width), device)?))
    }

    /// The same mask as one additive array `[batch or 1, heads or 1, queries, keys]` in f32, hidden places at a very
    /// negative finite value.
    pub fn to_dense(&self, queries: usize, keys: usize, device: &Device) -> Result<Array> {
        const HIDDEN: f32 = -1e30;
        let offset = keys as isize - queries as isize;
        let structure: Vec<f32> = (0..queries as isize)
            .flat_map(|i| (0..keys as isize).map(move |j| self.sees(i + offset, j)))
            .map(|visible| if visible { 0. } else { HIDDEN })
            .collect();
        let mut mask = Array::from_vec(structure, (1, 1, queries, keys), device)?;
        if let Some(padding) = &self.keys {
            let padding = padding.to_dtype(DType::F32)?.unsqueeze(1)?.unsqueeze(1)?;
            mask = mask.broadcast_add(&padding)?;
        }
        if let Some(dense) = &self.dense {
            mask = mask.broadcast_add(&dense.to_dtype(DType::F32)?)?;
        }
        Ok(mask.maximum(HIDDEN)?)
    }

    fn sees(&self, position: isize, key: isize) -> bool {
        (!self.causal || key <= position) && self.window.is_none_or(|w| position - key < w as isize)
    }

    /// The range of keys that the queries `rows` may see at all.
    fn key_range(&self, rows: &std::ops::Range<usize>, queries: usize, keys: usize) -> std::ops::Range<usize> {
        let offset = keys as isize - queries as isize;
        let end = if self.causal { (rows.end as isize + offset).clamp(0, keys as isize) } else { keys as isize };
        let start = self.window.map_or(0, |w| (rows.start as isize + offset + 1 - w as isize).clamp(0, end));
        start as usize..end as usize
    }
}

/// What an attention call does beside multiplying.
#[derive(Clone, Debug)]
pub struct AttentionOptions {
    /// Multiplies the scores before the mask is added.
    pub scale: f64,
    pub mask: Mask,
    /// Probability and seed of dropping an attention weight (training only).
    pub dropout: Option<(f32, u64)>,
}

/// Queries handled together; a tile's scores are `TILE · keys` numbers per running task.
const TILE: usize = 64;

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
    if !q.device().is_cpu() {
        return composed(q, k, v, options, &size);
    }
    dispatch!(q.dtype(), T => cpu::<T>(q, k, v, options, size))
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    d: usize,
    dv: usize,
}

impl Sizes {
    fn new(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Self> {
        match (q.dims(), k.dims(), v.dims()) {
            (&[batch, queries, heads, d], &[kb, keys, kv_heads, kd], &[vb, vk, vh, dv])
                if kb == batch
                    && vb == batch
                    && vk == keys
                    && vh == kv_heads
                    && kd == d
                    && kv_heads > 0
                    && heads % kv_heads == 0 =>
            {
                Ok(Self { batch, queries, keys, heads, kv_heads, d, dv })
            }
            (q, k, v) => Err(Error::Argument(format!("attention: shapes {q:?}, {k:?} and {v:?} do not fit"))),
        }
    }
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
        p = super::dropout(&p, rate, seed)?;
    }
    p.to_dtype(q.dtype())?.matmul(&v)?.transpose(1, 2)?.contiguous()
}

/// Mask arrays as slices of the compute type.
struct MaskData<T> {
    keys: Option<Vec<T>>,
    dense: Option<(Vec<T>, bool, bool)>,
}

impl<T: Real> MaskData<T> {
    fn new(mask: &Mask, dtype: DType) -> Result<Self> {
        let wide = super::compute_dtype(dtype);
        let read = |x: &Array| -> Result<Vec<T>> {
            let x = x.to_dtype(wide)?.to_device(&Device::Cpu)?.contiguous()?;
            let v = host::<T>(&x).to_vec();
            Ok(v)
        };
        Ok(Self {
            keys: mask.keys.as_ref().map(read).transpose()?,
            dense: match &mask.dense {
                Some(d) => Some((read(d)?, d.dims()[0] > 1, d.dims()[1] > 1)),
                None => None,
            },
        })
    }
}

struct Kernel<'a, T> {
    size: Sizes,
    mask: &'a Mask,
    data: &'a MaskData<T>,
    scale: T,
    dropout: Option<(f32, u64)>,
}

impl<T: Real> Kernel<'_, T> {
    /// Turns raw products of query `i` with `keys` into masked, scaled scores.
    #[inline(always)]
    fn mask_row(&self, row: &mut [T], b: usize, h: usize, i: usize, keys: &std::ops::Range<usize>) {
        let s = &self.size;
        for x in row.iter_mut() {
            *x *= self.scale;
        }
        let position = i as isize + s.keys as isize - s.queries as isize;
        if self.mask.causal {
            let visible = (position + 1 - keys.start as isize).clamp(0, row.len() as isize) as usize;
            row[visible..].fill(T::NEG_INFINITY);
        }
        if let Some(w) = self.mask.window {
            let hidden = (position + 1 - w as isize - keys.start as isize).clamp(0, row.len() as isize) as usize;
            row[..hidden].fill(T::NEG_INFINITY);
        }
        if let Some(padding) = &self.data.keys {
            let padding = &padding[b * s.keys..][keys.clone()];
            row.iter_mut().zip(padding).for_each(|(x, &p)| *x += p);
        }
        if let Some((dense, per_row, per_head)) = &self.data.dense {
            let heads = if *per_head { s.heads } else { 1 };
            let plane = if *per_row { b * heads } else { 0 } + if *per_head { h } else { 0 };
            let dense = &dense[(plane * s.queries + i) * s.keys..][keys.clone()];
            row.iter_mut().zip(dense).for_each(|(x, &p)| *x += p);
        }
    }

    fn drop_row(&self, row: &mut [T], b: usize, h: usize, i: usize, keys: &std::ops::Range<usize>) {
        let Some((rate, seed)) = self.dropout else {
            return;
        };
        let s = &self.size;
        let base = (((b * s.heads + h) * s.queries + i) * s.keys + keys.start) as u64;
        let scale = T::of(1. / (1. - f64::from(rate)));
        for (j, x) in row.iter_mut().enumerate() {
            *x = if keep(seed, base + j as u64, rate) { *x * scale } else { T::ZERO };
        }
    }
}

fn tiles(queries: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..queries).step_by(TILE).map(move |i| i..(i + TILE).min(queries))
}

fn cpu<T: Real>(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions, s: Sizes) -> Result<Tensor> {
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
                let keys = options.mask.key_range(&rows, s.queries, s.keys);
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
                        gemm(
                            (rows.len(), width, s.d),
                            super::mat_mut(&mut scores, width),
                            T::ZERO,
                            qm,
                            km,
                            T::ONE,
                            false,
                        );
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
                        gemm((rows.len(), s.dv, width), om, T::ZERO, super::mat(&scores, width), vm, T::ONE, false);
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
                    let keys = options.mask.key_range(&rows, s.queries, s.keys);
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
                        gemm(n, super::mat_mut(&mut p, width), T::ZERO, qm, km.t(), T::ONE, false);
                        let n = (rows.len(), width, s.dv);
                        gemm(n, super::mat_mut(&mut ds, width), T::ZERO, gm, vm.t(), T::ONE, false);
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
                        let (pm, dsm) = (super::mat(&p, width), super::mat(&ds, width));
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

/// Softmax in place; returns log Σ exp. A row of -inf becomes zeros and +inf.
#[inline(always)]
fn softmax_row<T: Real>(row: &mut [T]) -> T {
    let max = super::row_max(row);
    if max == T::NEG_INFINITY {
        row.fill(T::ZERO);
        return -T::NEG_INFINITY;
    }
    let mut lanes = [T::ZERO; 16];
    let mut chunks = row.chunks_exact_mut(16);
    for chunk in &mut chunks {
        for (x, lane) in chunk.iter_mut().zip(&mut lanes) {
            *x = (*x - max).fast_exp();
            *lane += *x;
        }
    }
    let mut total: T = lanes.into_iter().sum();
    for x in chunks.into_remainder() {
        *x = (*x - max).fast_exp();
        total += *x;
    }
    let inverse = T::ONE / total;
    row.iter_mut().for_each(|x| *x *= inverse);
    max + total.ln()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradients, values};
    use super::*;

    fn masks() -> Vec<Mask> {
        let hidden = f64::NEG_INFINITY;
        let keys = Array::new(&[[0., 0., 0., 0., hidden], [hidden, 0., 0., 0., 0.]], &Device::Cpu).unwrap();
        vec![
            Mask::default(),
            Mask { causal: true, ..Mask::default() },
            Mask { causal: true, window: Some(2), ..Mask::default() },
            Mask { causal: true, keys: Some(keys), ..Mask::default() },
            Mask { dense: Some(values(&[1, 4, 3, 5], 9)), ..Mask::default() },
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
        for window in [None, Some(40)] {
            let mask = Mask { causal: true, window, ..Mask::default() };
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
