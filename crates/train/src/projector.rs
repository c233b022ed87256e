//! Bases of a low-rank space from the singular vectors of a gradient.

use crate::algorithm::State;
use crate::projection::Projection;
use candle_core::{DType, Device};
use swift_tuners_nn::linalg::svd;
use swift_tuners_nn::{Array, Result};

/// The present basis: `left [rows, rank]`, `right [rank, cols]`.
pub struct Projector {
    left: Option<Array>,
    right: Option<Array>,
    scale: f64,
}

/// Where the bases are kept: what is left of the gradient, and what is right of it.
pub(crate) const LEFT: &str = "ortho0";
pub(crate) const RIGHT: &str = "ortho1";

impl Projector {
    /// The shape of a saved basis; `None` for other keys.
    pub fn saved_shape(projection: Option<&Projection>, key: &str, param: &[usize]) -> Option<Vec<usize>> {
        let (projection, &[rows, cols]) = (projection?, param) else { return None };
        let rank = projection.rank_of(param);
        match key {
            LEFT => Some(vec![rows, rank]),
            RIGHT => Some(vec![rank, cols]),
            _ => None,
        }
    }

    /// The basis for this step, a new one at the first and after every `update_proj_gap`-th.
    pub fn at_step(projection: &Projection, g: &Array, state: &mut State) -> Result<Self> {
        let (rows, cols) = g.dims2()?;
        let (left, right) = projection.proj_type.sides(rows, cols);
        let present = (left.then(|| state.get(LEFT).cloned()), right.then(|| state.get(RIGHT).cloned()));
        let known = !matches!(present, (Some(None), _) | (_, Some(None)));
        let due = (state.step - 1).is_multiple_of(projection.update_proj_gap);
        if known && !due {
            return Ok(Self { left: present.0.flatten(), right: present.1.flatten(), scale: projection.scale });
        }
        let (u, vt) = singular_vectors(g, projection.rank_of(g.dims()))?;
        // The signs of singular vectors are arbitrary. Moments go on in the new basis, so it should point where the old did.
        let left = left.then(|| align(&u, state.get(LEFT), 1)).transpose()?;
        let right = right.then(|| align(&vt, state.get(RIGHT), 0)).transpose()?;
        for (key, basis) in [(LEFT, &left), (RIGHT, &right)] {
            if let Some(basis) = basis {
                state.put(key, basis.clone());
            }
        }
        Ok(Self { left, right, scale: projection.scale })
    }

    pub fn project(&self, g: &Array) -> Result<Array> {
        let g = match &self.left {
            Some(u) => u.t()?.contiguous()?.matmul(g)?,
            None => g.clone(),
        };
        match &self.right {
            Some(vt) => Ok(g.matmul(&vt.t()?.contiguous()?)?),
            None => Ok(g),
        }
    }

    pub fn back(&self, low: &Array) -> Result<Array> {
        let full = match &self.left {
            Some(u) => u.matmul(low)?,
            None => low.clone(),
        };
        let full = match &self.right {
            Some(vt) => full.matmul(vt)?,
            None => full,
        };
        Ok((full * self.scale)?)
    }
}

/// The leading singular vectors, `[rows, rank]` and `[rank, cols]`.
pub(crate) fn singular_vectors(g: &Array, rank: usize) -> Result<(Array, Array)> {
    let cpu = g.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let (u, _, vt) = svd(&cpu, rank)?;
    Ok((u.to_dtype(g.dtype())?.to_device(g.device())?, vt.to_dtype(g.dtype())?.to_device(g.device())?))
}

/// Flips vectors (columns where `along` is 1, rows where it is 0) that point away from the old ones.
fn align(basis: &Array, old: Option<&Array>, along: usize) -> Result<Array> {
    let Some(old) = old.filter(|o| o.dims() == basis.dims()) else {
        return Ok(basis.contiguous()?);
    };
    let dots = (basis * old)?.sum_keepdim(1 - along)?;
    let signs = dots.ge(0f64)?.to_dtype(basis.dtype())?.affine(2., -1.)?;
    Ok(basis.broadcast_mul(&signs)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, fixture, flat, projection};

    #[test]
    fn a_basis_of_our_own_spans_the_same_space() {
        for case in ["galore-adamw-std-tall", "galore-adamw-left-wide", "galore-adamw-full-tall"] {
            let (info, inputs, expected) = fixture(case);
            let options = projection(&info["group"]);
            let mut state = State { step: 1, ..State::default() };
            let projector = Projector::at_step(&options, &inputs["weight_grad.1"], &mut state).unwrap();
            let spans: Vec<Array> = [
                projector.left.as_ref().map(|u| u.matmul(&u.t().unwrap()).unwrap()),
                projector.right.as_ref().map(|vt| vt.t().unwrap().contiguous().unwrap().matmul(vt).unwrap()),
            ]
            .into_iter()
            .flatten()
            .collect();
            for (j, span) in spans.iter().enumerate() {
                assert_close(&flat(span), &flat(&expected[&format!("projection{j}.1")]), 1e-4);
            }
        }
    }
}
