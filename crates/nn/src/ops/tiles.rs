//! Products with weights that are not in the type that is computed in: a tile of rows at a time is decoded into memory of its
//! own, so that the whole matrix never is.

use super::gemm::gemm;
use super::host::{host, uninit};
use super::mat::{mat, Mat};
use super::parallel::Shared;
use super::precision::{prepared, widen};
use super::real::Real;
use super::thin::MAX_ROWS;
use super::weight::{Weight, WeightLayout};
use crate::quantized::Packed;
use crate::tensor::Array;
use crate::Result;
use candle_core::DType;
use rayon::prelude::*;
use std::any::TypeId;
use std::ops::Range;
use std::sync::Arc;

/// Elements of a thread's tile: small enough for a core's own cache.
const TILE: usize = 1 << 15;

/// A weight ready for products in `T`. Copies share memory.
#[derive(Clone)]
pub(super) enum Operand {
    /// In the type that is computed in.
    Whole(Array),
    /// bf16 or f16.
    Half(Array),
    Packed(Arc<Packed>),
}

impl Operand {
    pub fn new<T: Real>(weight: &Weight) -> Result<Self> {
        let single = TypeId::of::<T>() == TypeId::of::<f32>();
        Ok(match weight {
            Weight::Packed(packed) if single => Self::Packed(packed.clone()),
            Weight::Packed(packed) => Self::Whole(prepared(&packed.array()?)?),
            Weight::Dense(w) if single && matches!(w.dtype(), DType::BF16 | DType::F16) => {
                Self::Half(w.data().contiguous()?)
            }
            Weight::Dense(w) => Self::Whole(prepared(w.data())?),
        })
    }

    /// `c [m, out] = beta · c + x [m, in] · W`, with `W` as `layout` says. The way back is the same with the layout transposed
    /// and the sizes exchanged.
    ///
    /// # Safety
    /// As for [`gemm()`]; the sizes are those of the weight.
    pub unsafe fn product<T: Real>(
        &self,
        (m, inp, out): (usize, usize, usize),
        layout: WeightLayout,
        c: Mat<*mut T>,
        beta: T,
        x: Mat<*const T>,
    ) {
        match layout {
            WeightLayout::OutIn => self.rows_to_columns((m, out, inp), c, beta, x),
            WeightLayout::InOut => self.rows_to_sum((m, inp, out), c, beta, x),
        }
    }

    /// `c [m, rows] = beta · c + a [m, columns] · Wᵀ` for `W [rows, columns]` as it is stored: each tile gives columns of `c`.
    unsafe fn rows_to_columns<T: Real>(
        &self,
        (m, rows, columns): (usize, usize, usize),
        c: Mat<*mut T>,
        beta: T,
        a: Mat<*const T>,
    ) {
        if let Self::Whole(w) = self {
            return gemm((m, rows, columns), c, beta, a, mat(&host::<T>(w), columns).t(), T::ONE, true);
        }
        // Products of few rows pack nothing, so each thread takes tiles of its own.
        if m > MAX_ROWS {
            return self.each_tile(rows, columns, |range, tile| {
                let c = Mat { ptr: c.ptr.wrapping_offset(range.start as isize * c.col), ..c };
                // SAFETY: the caller vouches for the sizes.
                unsafe { gemm((m, range.len(), columns), c, beta, a, mat(tile, columns).t(), T::ONE, true) };
            });
        }
        let (height, pa, pc) = (tile_rows(columns), Shared(a.ptr.cast_mut()), Shared(c.ptr));
        (0..rows.div_ceil(height)).into_par_iter().for_each(|i| {
            let range = i * height..((i + 1) * height).min(rows);
            let mut tile = uninit::<T>(range.len() * columns);
            self.decode(range.clone(), columns, &mut tile);
            let c = Mat { ptr: pc.ptr().wrapping_offset(range.start as isize * c.col), ..c };
            let a = Mat { ptr: pa.ptr().cast_const(), ..a };
            // SAFETY: the caller vouches for the sizes; no two tiles write the same columns.
            unsafe { gemm((m, range.len(), columns), c, beta, a, mat(&tile, columns).t(), T::ONE, false) };
        });
    }

    /// `c [m, columns] = beta · c + a [m, rows] · W` for `W [rows, columns]` as it is stored: each tile adds to all of `c`.
    unsafe fn rows_to_sum<T: Real>(
        &self,
        (m, rows, columns): (usize, usize, usize),
        c: Mat<*mut T>,
        mut beta: T,
        a: Mat<*const T>,
    ) {
        if let Self::Whole(w) = self {
            return gemm((m, columns, rows), c, beta, a, mat(&host::<T>(w), columns), T::ONE, true);
        }
        self.each_tile(rows, columns, |range, tile| {
            let a = Mat { ptr: a.ptr.wrapping_offset(range.start as isize * a.col), ..a };
            // SAFETY: the caller vouches for the sizes.
            unsafe { gemm((m, columns, range.len()), c, beta, a, mat(tile, columns), T::ONE, true) };
            beta = T::ONE;
        });
    }

    /// One tile after another, on which all threads work: what the other operand costs to pack, or the result to add to, is
    /// shared by more rows than one thread's tile would have.
    fn each_tile<T: Real>(&self, rows: usize, columns: usize, mut product: impl FnMut(Range<usize>, &[T])) {
        let height = 4 * tile_rows(columns);
        let mut tile = uninit::<T>(height.min(rows) * columns);
        for start in (0..rows).step_by(height) {
            let n = height.min(rows - start);
            let part = (n / 4).max(16);
            let tile = &mut tile[..n * columns];
            tile.par_chunks_mut((part * columns).max(1)).enumerate().for_each(|(i, tile)| {
                let first = start + i * part;
                self.decode(first..first + tile.len() / columns, columns, tile);
            });
            product(start..start + n, tile);
        }
    }

    fn decode<T: Real>(&self, rows: Range<usize>, columns: usize, out: &mut [T]) {
        // SAFETY: other operands than whole ones are made for T = f32 only.
        let out = unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<f32>(), out.len()) };
        match self {
            Self::Whole(_) => unreachable!("whole operands are not decoded"),
            Self::Packed(packed) => packed.decode(rows, out),
            Self::Half(w) => widen(w, rows.start * columns, out),
        }
    }
}

fn tile_rows(columns: usize) -> usize {
    (TILE / columns.max(1)).clamp(16, 512)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, leaf, values};
    use super::super::{lora_linear, LoraTerm};
    use super::*;
    use crate::quantized::Packing;
    use crate::tensor::Tensor;

    fn arrays(x: &Array, w: &Weight, layout: WeightLayout, terms: &[LoraTerm]) -> (Array, Array) {
        let (x, slot) = leaf(x);
        let y = lora_linear(&x, Some((w, None, layout)), terms).unwrap();
        // Weights of the sum that every type holds exactly.
        let weights = values(y.dims(), 77).to_dtype(DType::BF16).unwrap().to_dtype(DType::F16).unwrap();
        let weights: Tensor = weights.to_dtype(y.dtype()).unwrap().into();
        y.mul(&weights).unwrap().sum(None, false).unwrap().backward().unwrap();
        (y.data().clone(), slot.get().unwrap())
    }

    #[test]
    fn products_with_decoded_tiles_equal_those_with_the_decoded_matrix() {
        for (rows, columns, m) in [(5, 64, 3), (70, 256, 40), (600, 96, 33), (1, 32, 1), (300, 512, 25)] {
            let stored = values(&[rows, columns], 2).to_dtype(DType::F32).unwrap();
            let mut weights: Vec<Weight> = Vec::new();
            for packing in [Packing::Nf4, Packing::Q8_0, Packing::Q4K] {
                weights.push(Weight::Packed(Arc::new(Packed::new(&stored, packing).unwrap().unwrap())));
            }
            for (layout, inp, out) in [(WeightLayout::OutIn, columns, rows), (WeightLayout::InOut, rows, columns)] {
                let x = values(&[m, inp], 1).to_dtype(DType::F32).unwrap();
                let factor =
                    |shape: [usize; 2], seed| -> Tensor { values(&shape, seed).to_dtype(DType::F32).unwrap().into() };
                let terms = [LoraTerm::new(factor([2, inp], 5), factor([out, 2], 6), 0.5)];
                for weight in &weights {
                    let whole = Weight::Dense(weight.tensor().unwrap());
                    let (y, dx) = arrays(&x, weight, layout, &terms);
                    let (expected, expected_dx) = arrays(&x, &whole, layout, &terms);
                    assert_close(&y, &expected, 2e-5);
                    assert_close(&dx, &expected_dx, 2e-5);
                }
            }
        }
    }

    #[test]
    fn half_precision_weights_give_what_widened_ones_give() {
        for dtype in [DType::BF16, DType::F16] {
            for (rows, columns, m) in [(70, 200, 40), (3, 64, 2), (530, 80, 30)] {
                for (layout, inp) in [(WeightLayout::OutIn, columns), (WeightLayout::InOut, rows)] {
                    let (x, w) = (
                        values(&[m, inp], 1).to_dtype(dtype).unwrap(),
                        values(&[rows, columns], 2).to_dtype(dtype).unwrap(),
                    );
                    let wide = |a: &Array| a.to_dtype(DType::F32).unwrap();
                    let (y, dx) = arrays(&x, &Weight::Dense(w.clone().into()), layout, &[]);
                    let (expected, expected_dx) = arrays(&wide(&x), &Weight::Dense(wide(&w).into()), layout, &[]);
                    assert_eq!((y.dtype(), dx.dtype()), (dtype, dtype));
                    // One rounding of the result.
                    assert_close(&y, &expected, 5e-3);
                    assert_close(&dx, &expected_dx, 5e-3);
                }
            }
        }
    }
}
