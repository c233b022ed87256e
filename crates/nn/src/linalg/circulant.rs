//! Block-circulant matrices.

use crate::ops::{dispatch, finish, host, prepared, uninit, Real};
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use rayon::prelude::*;

/// The matrix of circulant blocks, whose element (p, q) is `kernel[(q − p) mod b]`.
///
/// `kernel [rows, columns, b]` → `[rows b, columns b]`, for a dense product in place of PEFT's complex transforms.
///
/// Chen et al. 2024 (C3A, arXiv 2407.19342).
pub fn block_circulant(kernel: &Tensor) -> Result<Tensor> {
    let &[m, n, b] = kernel.dims() else {
        let actual = kernel.dims().to_vec();
        return Err(Error::Shape { path: "kernels of circulant blocks".into(), expected: vec![1, 1, 1], actual });
    };
    if !kernel.device().is_cpu() {
        let index: Vec<u32> = (0..b * b).map(|at| ((at % b + b - at / b) % b) as u32).collect();
        let index = Array::from_vec(index, b * b, kernel.device())?;
        let blocks = kernel.index_select(&index, 2)?.reshape((m, n, b, b))?;
        return blocks.transpose(1, 2)?.contiguous()?.reshape((m * b, n * b));
    }
    dispatch!(kernel.dtype(), T => cpu::<T>(kernel, (m, n, b)))
}

fn cpu<T: Real>(kernel: &Tensor, (m, n, b): (usize, usize, usize)) -> Result<Tensor> {
    let dtype = kernel.dtype();
    let ks = prepared(kernel.data())?;
    let mut y = uninit::<T>(m * b * n * b);
    if n * b > 0 {
        let k = host::<T>(&ks);
        y.par_chunks_mut(n * b).enumerate().for_each(|(row, y)| {
            let (i, p) = (row / b, row % b);
            for (y, k) in y.chunks_exact_mut(b).zip(k[i * n * b..].chunks_exact(b)) {
                y[p..].copy_from_slice(&k[..b - p]);
                y[..p].copy_from_slice(&k[b - p..]);
            }
        });
    }
    let y = finish(y, &[m * b, n * b], dtype)?;
    Ok(Tensor::from_op(y, &[kernel], move |g| {
        let g = prepared(g)?;
        let g = host::<T>(&g);
        let mut dk = vec![T::ZERO; m * n * b];
        if n * b > 0 {
            dk.par_chunks_mut(n * b).zip(g.par_chunks(b * n * b)).for_each(|(dk, g)| {
                for (p, g) in g.chunks_exact(n * b).enumerate() {
                    for (dk, g) in dk.chunks_exact_mut(b).zip(g.chunks_exact(b)) {
                        dk[..b - p].iter_mut().zip(&g[p..]).for_each(|(d, &g)| *d += g);
                        dk[b - p..].iter_mut().zip(&g[..p]).for_each(|(d, &g)| *d += g);
                    }
                }
            });
        }
        Ok(vec![Some(finish(dk, &[m, n, b], dtype)?)])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, values};
    use candle_core::Device;

    #[test]
    fn gradients_match_difference_quotients() {
        check_gradients(&[values(&[2, 3, 4], 1)], |t| block_circulant(&t[0]));
        check_gradients(&[values(&[1, 2, 1], 1)], |t| block_circulant(&t[0]));
    }

    #[test]
    fn rows_are_the_kernel_moved_on_by_one() {
        let kernel = Array::new(&[[[1f64, 2., 3.], [4., 5., 6.]]], &Device::Cpu).unwrap();
        let rows = [[1., 2., 3., 4., 5., 6.], [3., 1., 2., 6., 4., 5.], [2., 3., 1., 5., 6., 4.]];
        assert_eq!(block_circulant(&kernel.into()).unwrap().data().to_vec2::<f64>().unwrap(), rows);
    }
}
