//! Resampling of images.

use crate::tensor::{Array, Tensor};
use crate::{Error, Result};

/// Nearest-neighbour resampling of `x [batch, channels, height, width]` to `[batch, channels, rows, cols]`, as
/// `torch.nn.functional.interpolate(mode="nearest")` picks pixels.
pub fn upsample_nearest(x: &Tensor, rows: usize, cols: usize) -> Result<Tensor> {
    let &[_, _, height, width] = x.dims() else {
        return Err(Error::Argument(format!("upsampling: expected four dimensions, found {:?}", x.dims())));
    };
    let picks = |size: usize, target: usize| -> Result<Array> {
        let index: Vec<u32> = (0..target).map(|i| ((i * size) / target.max(1)).min(size - 1) as u32).collect();
        Ok(Array::from_vec(index, target, x.device())?)
    };
    if height == 0 || width == 0 {
        return Err(Error::Argument("upsampling: the input is empty".into()));
    }
    x.index_select(&picks(height, rows)?, 2)?.index_select(&picks(width, cols)?, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, values};

    #[test]
    fn gradients_match_difference_quotients() {
        check_gradients(&[values(&[1, 2, 2, 3], 1)], |t| upsample_nearest(&t[0], 5, 4));
    }
}
