//! AdamW whose moments take a byte each, in blocks with a scale of their own.
//!
//! Dettmers et al. 2021 (arXiv 2110.02861); `bitsandbytes.optim.AdamW8bit`. Tensors under 4096 elements keep f32 moments.

use crate::adamw::check_adam;
use crate::algorithm::{Algorithm, Settings, State};
use candle_core::{DType, Device};
use rayon::prelude::*;
use std::sync::OnceLock;
use swift_tuners_nn::{Array, Result};

/// Elements that share a scale.
const BLOCK: usize = 256;
/// Smaller tensors are not worth quantising.
const SMALLEST: usize = 4096;

/// The 256 values of a byte, ascending: finer near zero, in every decade down to 1e-7.
///
/// `bitsandbytes.functional.create_dynamic_map` for 8 bits, of which up to 7 are the exponent.
fn dynamic_map(signed: bool) -> &'static [f32; 256] {
    static MAPS: OnceLock<[[f32; 256]; 2]> = OnceLock::new();
    let maps = MAPS.get_or_init(|| {
        [false, true].map(|signed| {
            let mut values = vec![0f64, 1.];
            for decade in 0..7 {
                let parts = if signed { 1usize << decade } else { 2usize << decade };
                for part in 0..parts {
                    let edge = |i: usize| 0.1 + 0.9 * i as f64 / parts as f64;
                    let middle = 10f64.powi(decade - 6) * (edge(part) + edge(part + 1)) / 2.;
                    values.push(middle);
                    if signed {
                        values.push(-middle);
                    }
                }
            }
            values.sort_by(f64::total_cmp);
            std::array::from_fn(|i| values[i] as f32)
        })
    });
    &maps[usize::from(signed)]
}

/// The byte whose value is nearest; never one of the other sign.
fn nearest(map: &[f32; 256], x: f32) -> u8 {
    let above = map.partition_point(|&v| v < x).min(255);
    let mut best = above;
    if above > 0 && (x - map[above - 1]) <= (map[above] - x) {
        best = above - 1;
    }
    if map[best] < 0. && x > 0. {
        best += 1;
    } else if map[best] > 0. && x < 0. {
        best -= 1;
    }
    best as u8
}

/// A quantised tensor: bytes and one scale per block.
pub(crate) struct Quantised {
    pub bytes: Vec<u8>,
    pub scales: Vec<f32>,
}

impl Quantised {
    pub fn zeros(len: usize, signed: bool) -> Self {
        let zero = nearest(dynamic_map(signed), 0.);
        Self { bytes: vec![zero; len], scales: vec![0.; len.div_ceil(BLOCK)] }
    }
}

/// Steps both moments in place and returns `m / (sqrt(v) + eps)` with the moments as they are before they are rounded.
pub(crate) fn step_moments(
    g: &[f32],
    m: &mut Quantised,
    v: &mut Quantised,
    (b1, b2): (f32, f32),
    eps: f32,
) -> Vec<f32> {
    let (signed, unsigned) = (dynamic_map(true), dynamic_map(false));
    let mut out = vec![0f32; g.len()];
    out.par_chunks_mut(BLOCK)
        .zip(g.par_chunks(BLOCK))
        .zip(m.bytes.par_chunks_mut(BLOCK).zip(m.scales.par_iter_mut()))
        .zip(v.bytes.par_chunks_mut(BLOCK).zip(v.scales.par_iter_mut()))
        .for_each(|(((out, g), (mb, ms)), (vb, vs))| {
            let (mut m, mut v) = ([0f32; BLOCK], [0f32; BLOCK]);
            let (mut m_max, mut v_max) = (0f32, 0f32);
            for (i, &g) in g.iter().enumerate() {
                m[i] = b1 * signed[mb[i] as usize] * *ms + (1. - b1) * g;
                v[i] = b2 * unsigned[vb[i] as usize] * *vs + (1. - b2) * g * g;
                out[i] = m[i] / (v[i].sqrt() + eps);
                m_max = m_max.max(m[i].abs());
                v_max = v_max.max(v[i]);
            }
            let share = |x: f32, max: f32| if max > 0. { x / max } else { 0. };
            for i in 0..g.len() {
                mb[i] = nearest(signed, share(m[i], m_max));
                vb[i] = nearest(unsigned, share(v[i], v_max));
            }
            (*ms, *vs) = (m_max, v_max);
        });
    out
}

/// Whether a tensor's moments are kept in bytes.
pub(crate) fn is_quantised(shape: &[usize]) -> bool {
    shape.iter().product::<usize>() >= SMALLEST
}

pub(crate) const KEYS: [&str; 6] = ["exp_avg", "exp_avg_sq", "state1", "absmax1", "state2", "absmax2"];

/// The shape of a saved moment of a tensor of `shape`.
pub(crate) fn moment_shape(key: &str, shape: &[usize]) -> Vec<usize> {
    let count: usize = shape.iter().product();
    match key {
        "absmax1" | "absmax2" => vec![count.div_ceil(BLOCK)],
        _ => shape.to_vec(),
    }
}

/// `m / (sqrt(v) + eps)` after both moments have taken `g` in, in bytes where the tensor is large.
pub(crate) fn direction(g: &Array, state: &mut State, betas: (f64, f64), eps: f64) -> Result<Array> {
    if !is_quantised(g.dims()) {
        let (b1, b2) = betas;
        let m = ((state.moment("exp_avg", g)? * b1)? + (g * (1. - b1))?)?;
        let v = ((state.moment("exp_avg_sq", g)? * b2)? + (g.sqr()? * (1. - b2))?)?;
        let out = (&m / (v.sqrt()? + eps)?)?;
        state.put("exp_avg", m);
        state.put("exp_avg_sq", v);
        return Ok(out);
    }
    let cpu = &Device::Cpu;
    let load = |bytes: &str, scales: &str, signed: bool| -> Result<Quantised> {
        match (state.get(bytes), state.get(scales)) {
            (Some(b), Some(s)) => Ok(Quantised {
                bytes: b.to_device(cpu)?.flatten_all()?.to_dtype(DType::U8)?.to_vec1()?,
                scales: s.to_device(cpu)?.to_dtype(DType::F32)?.to_vec1()?,
            }),
            _ => Ok(Quantised::zeros(g.elem_count(), signed)),
        }
    };
    let (mut m, mut v) = (load("state1", "absmax1", true)?, load("state2", "absmax2", false)?);
    let flat: Vec<f32> = g.to_device(cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let out = step_moments(&flat, &mut m, &mut v, (betas.0 as f32, betas.1 as f32), eps as f32);
    for (bytes, scales, q) in [("state1", "absmax1", m), ("state2", "absmax2", v)] {
        let blocks = q.scales.len();
        state.put(bytes, Array::from_vec(q.bytes, g.dims(), cpu)?);
        state.put(scales, Array::from_vec(q.scales, blocks, cpu)?);
    }
    Ok(Array::from_vec(out, g.dims(), cpu)?.to_dtype(g.dtype())?.to_device(g.device())?)
}

#[derive(Clone, Copy, Debug)]
pub struct AdamW8bit {
    betas: (f64, f64),
    eps: f64,
}

impl AdamW8bit {
    pub fn new(betas: (f64, f64), eps: f64) -> Result<Self> {
        check_adam(betas, eps)?;
        Ok(Self { betas, eps })
    }
}

impl Algorithm for AdamW8bit {
    fn keys(&self) -> &'static [&'static str] {
        &KEYS
    }

    fn shape(&self, key: &str, param: &[usize], _: &Settings<'_>) -> Option<Vec<usize>> {
        Some(moment_shape(key, param))
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        let step = state.step as f64;
        let (c1, c2) = (1. - self.betas.0.powf(step), (1. - self.betas.1.powf(step)).sqrt());
        let direction = direction(g, state, self.betas, c2 * self.eps)?;
        let moved = (p - (direction * (settings.lr * c2 / c1))?)?;
        Ok((moved * (1. - settings.lr * settings.weight_decay))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Group, Optimizer};
    use crate::testing::restores_exactly;
    use swift_tuners_nn::init::Rng;
    use swift_tuners_nn::Param;

    #[test]
    fn the_maps_hold_every_decade_and_rounding_keeps_signs() {
        for signed in [true, false] {
            let map = dynamic_map(signed);
            assert!(map.windows(2).all(|w| w[0] < w[1]));
            assert_eq!(map[255], 1.);
            assert!(map.contains(&0.));
            assert!(map.iter().any(|&v| v > 0. && v < 1e-6));
        }
        assert!((dynamic_map(true)[0] + 0.992_968_75).abs() < 1e-6, "{}", dynamic_map(true)[0]);
        for x in [1e-9f32, -1e-9, 0.3, -0.7, 1., -1.] {
            let got = dynamic_map(true)[nearest(dynamic_map(true), x) as usize];
            assert!(got == 0. || got.signum() == x.signum());
        }
    }

    #[test]
    fn large_tensors_follow_adamw_within_the_rounding_of_a_byte() {
        let shape = [64, 80];
        let draw = |rng: &mut Rng| rng.normal_array(&shape, 1., DType::F32, &Device::Cpu).unwrap();
        let mut rng = Rng::new(3);
        let start = draw(&mut rng);
        let (p, q) = (Param::new(start.clone(), true), Param::new(start.clone(), true));
        let group = |p: &Param| vec![Group { params: vec![("p".into(), p.clone())], ..Group::default() }];
        let mut exact = Optimizer::new(group(&p), 1e-2, 0., crate::AdamW::new((0.9, 0.999), 1e-8).unwrap()).unwrap();
        let mut bytes = Optimizer::new(group(&q), 1e-2, 0., AdamW8bit::new((0.9, 0.999), 1e-8).unwrap()).unwrap();
        let drift = draw(&mut rng);
        for _ in 0..10 {
            let g = (&drift + (draw(&mut rng) * 0.1).unwrap()).unwrap();
            p.set_grad(Some(g.clone()));
            q.set_grad(Some(g));
            exact.step(1.).unwrap();
            bytes.step(1.).unwrap();
        }
        let norm = |x: &Array| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        let moved = norm(&(p.array().unwrap() - &start).unwrap());
        let apart = norm(&(p.array().unwrap() - q.array().unwrap()).unwrap());
        assert!(apart < 0.05 * moved, "{apart} of {moved}");
        let size: usize =
            bytes.state_dict().unwrap().iter().map(|(_, t)| t.elem_count() * t.dtype().size_in_bytes()).sum();
        assert!(size < 64 * 80 * 2 + 400, "{size} bytes for two moments of {} elements", 64 * 80);
    }

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        for shape in [vec![70, 60], vec![5, 3]] {
            restores_exactly(&shape, Group::default, || {
                Box::new(|g| Optimizer::new(g, 0.1, 0.01, AdamW8bit::new((0.9, 0.999), 1e-8).unwrap()).unwrap())
            });
        }
    }
}
