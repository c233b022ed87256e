//! Shapes that JavaScript gives.

use swift_tuners_nn::{Error, Result};

pub fn shape(dims: &[f64]) -> Result<Vec<usize>> {
    dims.iter()
        .map(|&d| {
            if d >= 0. && d.fract() == 0. && d <= 9e15 {
                Ok(d as usize)
            } else {
                Err(Error::Argument(format!("a shape holds {d}")))
            }
        })
        .collect()
}

pub fn checked_count(shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= 1 << 40);
    count.ok_or_else(|| Error::Argument(format!("a tensor of shape {shape:?} is too large")))
}
