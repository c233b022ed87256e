//! Pooling over windows of an image.

use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

/// The largest value of each `kernel × kernel` window: `[batch, channels, height, width]` → `[.., rows, cols]`, without padding
/// (`torch.nn.functional.max_pool2d`). The gradient goes to the first of equal values.
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize) -> Result<Tensor> {
    let &[batch, channels, height, width] = x.dims() else {
        return Err(Error::Argument(format!("max pooling: expected four dimensions, found {:?}", x.dims())));
    };
    if kernel == 0 || stride == 0 || height < kernel || width < kernel {
        return Err(Error::Shape {
            path: format!("max pooling of {kernel} by {kernel}"),
            expected: vec![batch, channels, height.max(kernel), width.max(kernel)],
            actual: x.dims().to_vec(),
        });
    }
    let (rows, cols) = ((height - kernel) / stride + 1, (width - kernel) / stride + 1);
    // A window's values side by side, so that picking the largest is one gather.
    let taps = (0..kernel).flat_map(|dy| (0..kernel).map(move |dx| (dy, dx)));
    let windows = taps
        .map(|(dy, dx)| {
            let pick = |from: usize, count: usize| -> Result<Array> {
                let index: Vec<u32> = (0..count).map(|i| (from + i * stride) as u32).collect();
                Ok(Array::from_vec(index, count, x.device())?)
            };
            x.index_select(&pick(dy, rows)?, 2)?.index_select(&pick(dx, cols)?, 3)
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::stack(&windows.iter().collect::<Vec<_>>(), -1)?.max(-1, false)
}

/// Means over a grid of `rows × cols` parts (`torch.nn.functional.adaptive_avg_pool2d`).
pub fn adaptive_avg_pool2d(x: &Tensor, rows: usize, cols: usize) -> Result<Tensor> {
    let &[_, _, height, width] = x.dims() else {
        return Err(Error::Argument(format!("average pooling: expected four dimensions, found {:?}", x.dims())));
    };
    if height == 0 || width == 0 || rows == 0 || cols == 0 {
        return Err(Error::Argument("average pooling: nothing to average".into()));
    }
    let part = |i: usize, parts: usize, size: usize| {
        let (start, end) = (i * size / parts, ((i + 1) * size).div_ceil(parts));
        (start, end - start)
    };
    let lines = (0..rows)
        .map(|i| {
            let (start, count) = part(i, rows, height);
            let line = x.narrow(2, start, count)?.mean(Some(&[2]), true)?;
            let cells = (0..cols)
                .map(|j| {
                    let (start, count) = part(j, cols, width);
                    line.narrow(3, start, count)?.mean(Some(&[3]), true)
                })
                .collect::<Result<Vec<_>>>()?;
            Tensor::cat(&cells.iter().collect::<Vec<_>>(), 3)
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&lines.iter().collect::<Vec<_>>(), 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, values};

    #[test]
    fn gradients_match_difference_quotients() {
        check_gradients(&[values(&[1, 2, 7, 6], 1)], |t| max_pool2d(&t[0], 3, 2));
        check_gradients(&[values(&[1, 2, 5, 7], 1)], |t| adaptive_avg_pool2d(&t[0], 3, 2));
    }
}
