//! Axes by number, and gradients back in the shape from before broadcasting.

use crate::array::Array;
use crate::{Error, Result};

/// Sums a gradient of the broadcast shape back to `shape`.
pub(super) fn reduce_to(grad: Array, shape: &[usize]) -> Result<Array> {
    if grad.dims() == shape {
        return Ok(grad);
    }
    let extra = grad.rank() - shape.len();
    let mut axes: Vec<usize> = (0..extra).collect();
    axes.extend((0..shape.len()).filter(|&i| shape[i] == 1 && grad.dims()[extra + i] != 1).map(|i| i + extra));
    Ok(grad.sum_keepdim(axes)?.reshape(shape)?)
}

/// Python's axis convention: negative counts from the end.
pub(super) fn axis(rank: usize, dim: isize) -> Result<usize> {
    let resolved = if dim < 0 { dim + rank as isize } else { dim };
    if resolved < 0 || resolved >= rank as isize {
        return Err(Error::Argument(format!("dimension {dim} is out of range for a tensor of rank {rank}")));
    }
    Ok(resolved as usize)
}
