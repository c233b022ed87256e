//! Q-GaLore: GaLore with a basis in few bits.
//!
//! Zhang et al. 2024 (arXiv 2407.08296); numbers as `q_galore_torch`.

use crate::adamw::check_adam;
use crate::adamw8bit;
use crate::algorithm::{Algorithm, Settings, State};
use crate::projection::{Projection, DEFAULT_QUANTISATION};
use crate::projector::singular_vectors;
use candle_core::{DType, Device};
use swift_tuners_nn::{Array, Error, Result};

/// Q-GaLore's AdamW: a basis in few bits, refreshed less often once it stays where it is, and 8-bit moments for large tensors.
pub struct QGaLoreAdamW {
    betas: (f64, f64),
    eps: f64,
}

impl QGaLoreAdamW {
    pub fn new(betas: (f64, f64), eps: f64) -> Result<Self> {
        check_adam(betas, eps)?;
        Ok(Self { betas, eps })
    }

    /// The restored basis for this step: `[rank, cols]` of a tall matrix, `[rows, rank]` of a wide one.
    fn basis(&self, options: &Projection, g: &Array, state: &mut State) -> Result<Array> {
        let (rows, cols) = g.dims2()?;
        let q = options.quantisation.unwrap_or(DEFAULT_QUANTISATION);
        let number =
            |t: Option<&Array>| t.and_then(|t| t.flatten_all().ok()?.to_dtype(DType::F64).ok()?.to_vec1().ok());
        let gap = number(state.get("gap")).and_then(|v: Vec<f64>| v.first().map(|&n| n as u64));
        let gap = gap.filter(|&n| n > 0).unwrap_or(options.update_proj_gap);
        if let Some(stored) = state.get("basis").filter(|_| !(state.step - 1).is_multiple_of(gap)) {
            return dequantise(stored, state, q.group_size);
        }
        let right = rows >= cols;
        let (u, vt) = singular_vectors(g, options.rank_of(g.dims()))?;
        let fresh = if right { vt } else { u };
        let head = |basis: &Array| basis.narrow(usize::from(!right), 0, 1)?.flatten_all();
        let mut fresh = fresh.contiguous()?;
        let past = state.get("head").cloned();
        let mut queue: Vec<f64> = number(state.get("queue")).unwrap_or_default();
        let mut new_gap = gap;
        if let Some(past) = &past {
            let cosine = |a: &Array, b: &Array| -> Result<f64> {
                let dot = |x: &Array, y: &Array| -> Result<f64> {
                    Ok((x * y)?.sum_all()?.to_dtype(DType::F64)?.to_scalar()?)
                };
                Ok(dot(a, b)? / (dot(a, a)? * dot(b, b)?).sqrt().max(1e-8))
            };
            let mut cos = cosine(past, &head(&fresh)?)?;
            // The sign of a singular vector is arbitrary; the basis turns as a whole, as the cosine is about its first vector.
            if cos < 0. {
                fresh = fresh.neg()?;
                cos = -cos;
            }
            queue.push(cos);
            if queue.len() > q.queue_size {
                queue.remove(0);
            }
            if queue.len() == q.queue_size && queue.iter().sum::<f64>() / q.queue_size as f64 >= q.cos_threshold {
                new_gap = (gap as f64 * q.gamma) as u64;
            }
        }
        #[cfg(test)]
        if let Some(given) = state.get("given").cloned() {
            fresh = given;
        }
        state.put("head", head(&fresh)?);
        state.put("gap", Array::new(&[new_gap as i64], &Device::Cpu)?);
        if !queue.is_empty() {
            state.put("queue", Array::new(&queue[..], &Device::Cpu)?);
        }
        quantise(&fresh, q.bits, q.group_size, state)?;
        let stored = state.get("basis").cloned().expect("just put");
        dequantise(&stored, state, q.group_size)
    }
}

impl Algorithm for QGaLoreAdamW {
    fn keys(&self) -> &'static [&'static str] {
        &[
            "exp_avg",
            "exp_avg_sq",
            "state1",
            "absmax1",
            "state2",
            "absmax2",
            "basis",
            "basis_scales",
            "basis_zeros",
            "head",
            "gap",
            "queue",
        ]
    }

    fn projects(&self) -> bool {
        true
    }

    fn shape(&self, key: &str, param: &[usize], settings: &Settings<'_>) -> Option<Vec<usize>> {
        let low = settings.projection.map_or(param.to_vec(), |p| p.low_shape(param));
        match (key, settings.projection, param) {
            ("queue", ..) => None,
            ("gap", ..) => Some(vec![1]),
            (_, Some(p), &[rows, cols]) if matches!(key, "basis" | "head" | "basis_scales" | "basis_zeros") => {
                let rank = p.rank_of(param);
                let basis = if rows >= cols { vec![rank, cols] } else { vec![rows, rank] };
                let group = p.quantisation.unwrap_or(DEFAULT_QUANTISATION).group_size;
                let width = if group > 0 { group } else { basis[1] };
                match key {
                    "basis" => Some(basis),
                    "head" => Some(vec![rows.min(cols)]),
                    _ => Some(vec![basis.iter().product::<usize>() / width.max(1), 1]),
                }
            }
            _ => Some(adamw8bit::moment_shape(key, &low)),
        }
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        let basis = settings.projection.map(|options| self.basis(options, g, state)).transpose()?;
        let right = g.rank() == 2 && g.dims()[0] >= g.dims()[1];
        let low = match &basis {
            Some(b) if right => g.matmul(&b.t()?.contiguous()?)?,
            Some(b) => b.t()?.contiguous()?.matmul(g)?,
            None => g.clone(),
        };
        let step = state.step as f64;
        let (c1, c2) = (1. - self.betas.0.powf(step), (1. - self.betas.1.powf(step)).sqrt());
        let direction = adamw8bit::direction(&low, state, self.betas, c2 * self.eps)?;
        let full = match &basis {
            Some(b) if right => direction.matmul(b)?,
            Some(b) => b.matmul(&direction)?,
            None => direction,
        };
        let scale = settings.projection.map_or(1., |p| p.scale);
        let moved = (p - (full * (settings.lr * scale * c2 / c1))?)?;
        Ok((moved * (1. - settings.lr * settings.weight_decay))?)
    }
}

/// Rows of `group` values with a scale and a zero point each. Leaves integers, scales and zero points in the state.
fn quantise(basis: &Array, bits: u32, group: usize, state: &mut State) -> Result<()> {
    let count = basis.elem_count();
    if group > 0 && !count.is_multiple_of(group) {
        return Err(Error::config("projGroupSize", format!("{group} does not divide a basis of {count} values")));
    }
    let width = if group > 0 { group } else { basis.dims()[1] };
    let rows = basis.reshape((count / width, width))?;
    let top = f64::from((1u32 << bits) - 1);
    let (low, high) = (rows.min_keepdim(1)?, rows.max_keepdim(1)?);
    let scale = ((high - &low)?.maximum(1e-5)? / top)?;
    let zero = round_even(&(&low / &scale)?)?.neg()?.clamp(0., top)?;
    let q = round_even(&rows.broadcast_div(&scale)?)?.broadcast_add(&zero)?.clamp(0., top)?;
    state.put("basis", q.reshape(basis.dims())?.to_dtype(DType::U8)?);
    state.put("basis_scales", scale);
    state.put("basis_zeros", zero);
    Ok(())
}

/// To the nearest integer, halves to the even one, as PyTorch rounds.
fn round_even(x: &Array) -> Result<Array> {
    let dims = x.dims().to_vec();
    let (dtype, device) = (x.dtype(), x.device().clone());
    let values: Vec<f64> = x.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    let rounded: Vec<f64> = values.into_iter().map(f64::round_ties_even).collect();
    Ok(Array::from_vec(rounded, dims, &Device::Cpu)?.to_dtype(dtype)?.to_device(&device)?)
}

fn dequantise(q: &Array, state: &State, group: usize) -> Result<Array> {
    let (Some(scales), Some(zeros)) = (state.get("basis_scales"), state.get("basis_zeros")) else {
        return Err(Error::Argument("optimizer state: basis_scales or basis_zeros is missing".into()));
    };
    let width = if group > 0 { group } else { q.dims()[1] };
    let rows = q.to_dtype(scales.dtype())?.reshape((q.elem_count() / width, width))?;
    Ok(rows.broadcast_sub(zeros)?.broadcast_mul(scales)?.reshape(q.dims())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Group, Optimizer};
    use crate::projection::{ProjType, Quantisation};
    use crate::testing::{replay, restores_exactly};

    #[test]
    fn q_galore_equals_its_simulation() {
        for case in ["q-galore-tall", "q-galore-wide-never-longer"] {
            replay(case, |_| Box::new(QGaLoreAdamW::new((0.9, 0.999), 1e-8).unwrap()));
        }
    }

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        let quantisation = Some(Quantisation { group_size: 8, ..DEFAULT_QUANTISATION });
        let projection = Projection { rank: 3, update_proj_gap: 2, scale: 0.5, proj_type: ProjType::Std, quantisation };
        let group = || Group { projection: Some(projection), ..Group::default() };
        restores_exactly(&[12, 8], group, || {
            Box::new(|g| Optimizer::new(g, 0.1, 0.01, QGaLoreAdamW::new((0.9, 0.999), 1e-8).unwrap()).unwrap())
        });
    }
}
