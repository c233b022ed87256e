//! GaLore and Q-GaLore: moments in a low-rank space that the gradient's singular vectors span.
//!
//! Zhao et al. 2024 (arXiv 2403.03507), Zhang et al. 2024 (arXiv 2407.08296); numbers as `swift.optimizers.galore` and
//! `q_galore_torch`.

use crate::adamw::check_adam;
use crate::adamw8bit;
use crate::optimizer::{Algorithm, Settings, State};
use candle_core::{DType, Device};
use swift_tuners_nn::linalg::svd;
use swift_tuners_nn::{Array, Error, Result};

/// Which singular vectors span the space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjType {
    /// The right ones of a tall matrix, the left ones of a wide one: the smaller low-rank gradient.
    Std,
    ReverseStd,
    Right,
    Left,
    Full,
}

impl ProjType {
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "std" => Self::Std,
            "reverse_std" => Self::ReverseStd,
            "right" => Self::Right,
            "left" => Self::Left,
            "full" => Self::Full,
            other => {
                return Err(Error::config(
                    "projType",
                    format!(
                        "expected std, reverse_std, right, left or full, found {:?}",
                        swift_tuners_nn::error::printable(other, 40)
                    ),
                ))
            }
        })
    }

    /// Whether left and right vectors are used for a matrix of this shape.
    fn sides(self, rows: usize, cols: usize) -> (bool, bool) {
        let tall = rows >= cols;
        match self {
            Self::Std => (!tall, tall),
            Self::ReverseStd => (tall, !tall),
            Self::Right => (false, true),
            Self::Left => (true, false),
            Self::Full => (true, true),
        }
    }
}

/// Q-GaLore's handling of the basis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantisation {
    pub bits: u32,
    /// Values that share a scale; 0: a row of the basis.
    pub group_size: usize,
    /// Refreshes get rarer while the basis turns no further than this cosine.
    pub cos_threshold: f64,
    pub gamma: f64,
    pub queue_size: usize,
}

/// A group's low-rank space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projection {
    pub rank: usize,
    /// Steps between new bases.
    pub update_proj_gap: u64,
    pub scale: f64,
    pub proj_type: ProjType,
    pub quantisation: Option<Quantisation>,
}

impl Projection {
    pub fn check(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::config("rank", "expected a positive integer"));
        }
        if self.update_proj_gap == 0 {
            return Err(Error::config("updateProjGap", "expected a positive integer"));
        }
        if !self.scale.is_finite() {
            return Err(Error::config("scale", "expected a number"));
        }
        if let Some(q) = &self.quantisation {
            if self.proj_type != ProjType::Std {
                return Err(Error::config("projType", "Q-GaLore knows std only"));
            }
            if !(1..=8).contains(&q.bits) || q.queue_size == 0 || q.gamma.is_nan() || q.gamma < 1. {
                return Err(Error::config("projBits, queueSize, gammaProj", "out of range"));
            }
        }
        Ok(())
    }

    /// The rank that a matrix of this shape can have.
    fn rank_of(&self, shape: &[usize]) -> usize {
        self.rank.min(shape[0]).min(shape[1])
    }

    /// The shape of a projected gradient.
    pub fn low_shape(&self, shape: &[usize]) -> Vec<usize> {
        let &[rows, cols] = shape else { return shape.to_vec() };
        let rank = self.rank_of(shape);
        let (left, right) = self.proj_type.sides(rows, cols);
        vec![if left { rank } else { rows }, if right { rank } else { cols }]
    }
}

/// The present basis: `left [rows, rank]`, `right [rank, cols]`.
pub struct Projector {
    left: Option<Array>,
    right: Option<Array>,
    scale: f64,
}

/// Where the bases are kept: what is left of the gradient, and what is right of it.
const LEFT: &str = "ortho0";
const RIGHT: &str = "ortho1";

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
fn singular_vectors(g: &Array, rank: usize) -> Result<(Array, Array)> {
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

/// GaLore's AdamW: moments in the low-rank space, weight decay behind the update. Groups without a rank are not projected.
pub struct GaLoreAdamW {
    betas: (f64, f64),
    eps: f64,
    correct_bias: bool,
}

impl GaLoreAdamW {
    pub fn new(betas: (f64, f64), eps: f64, correct_bias: bool) -> Result<Self> {
        check_adam(betas, eps)?;
        Ok(Self { betas, eps, correct_bias })
    }
}

impl Algorithm for GaLoreAdamW {
    fn keys(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq", LEFT, RIGHT]
    }

    fn projects(&self) -> bool {
        true
    }

    fn shape(&self, key: &str, param: &[usize], settings: &Settings<'_>) -> Option<Vec<usize>> {
        let basis = Projector::saved_shape(settings.projection, key, param);
        Some(basis.unwrap_or_else(|| settings.projection.map_or(param.to_vec(), |p| p.low_shape(param))))
    }

    fn update(&self, settings: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
        let projector = settings.projection.map(|options| Projector::at_step(options, g, state)).transpose()?;
        let low = match &projector {
            Some(projector) => projector.project(g)?,
            None => g.clone(),
        };
        let (b1, b2) = self.betas;
        let m = ((state.moment("exp_avg", &low)? * b1)? + (&low * (1. - b1))?)?;
        let v = ((state.moment("exp_avg_sq", &low)? * b2)? + (low.sqr()? * (1. - b2))?)?;
        let direction = (&m / (v.sqrt()? + self.eps)?)?;
        let direction = match &projector {
            Some(projector) => projector.back(&direction)?,
            None => direction,
        };
        state.put("exp_avg", m);
        state.put("exp_avg_sq", v);
        let step = state.step as f64;
        let correction = if self.correct_bias { (1. - b2.powf(step)).sqrt() / (1. - b1.powf(step)) } else { 1. };
        let moved = (p - (direction * (settings.lr * correction))?)?;
        Ok((moved * (1. - settings.lr * settings.weight_decay))?)
    }
}

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

/// `q_galore_torch`'s defaults.
pub const DEFAULT_QUANTISATION: Quantisation =
    Quantisation { bits: 4, group_size: 256, cos_threshold: 0.4, gamma: 2., queue_size: 5 };

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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::optimizer::testing::{assert_close, restores_exactly};
    use crate::optimizer::{Group, Optimizer};
    use std::path::Path;
    use swift_tuners_nn::checkpoint::{json, safetensors, Tensors};
    use swift_tuners_nn::Param;

    fn fixture(case: &str) -> (serde_json::Value, Tensors, Tensors) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../__test__/fixtures/optimizer").join(case);
        let read = |name: &str| safetensors::read(&dir.join(name)).unwrap();
        (json::read(&dir.join("case.json")).unwrap(), read("inputs.safetensors"), read("expected.safetensors"))
    }

    fn flat(x: &Array) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn projection(group: &serde_json::Value) -> Projection {
        let number = |name: &str| group[name].as_f64().unwrap();
        let quantisation = group.get("quant").map(|_| Quantisation {
            bits: number("quant_n_bit") as u32,
            group_size: number("quant_group_size") as usize,
            cos_threshold: number("cos_threshold"),
            gamma: number("gamma_proj"),
            queue_size: number("queue_size") as usize,
        });
        Projection {
            rank: number("rank") as usize,
            update_proj_gap: number("update_proj_gap") as u64,
            scale: number("scale"),
            proj_type: ProjType::parse(group["proj_type"].as_str().unwrap()).unwrap(),
            quantisation,
        }
    }

    struct Boxed(Box<dyn Algorithm>);
    impl Algorithm for Boxed {
        fn keys(&self) -> &'static [&'static str] {
            self.0.keys()
        }
        fn projects(&self) -> bool {
            self.0.projects()
        }
        fn update(&self, s: &Settings<'_>, p: &Array, g: &Array, state: &mut State) -> Result<Array> {
            self.0.update(s, p, g, state)
        }
        fn shape(&self, key: &str, param: &[usize], s: &Settings<'_>) -> Option<Vec<usize>> {
            self.0.shape(key, param, s)
        }
    }

    /// Steps through a case of Python's numbers; after every step weights and projections must be its.
    ///
    /// Which way a singular vector points is not decided by the mathematics: before a new basis is made, Python's stands in for
    /// the old one, so that the new one is turned like Python's.
    pub fn replay(case: &str, algorithm: impl Fn(&serde_json::Value) -> Box<dyn Algorithm>) {
        let (info, inputs, expected) = fixture(case);
        let options = projection(&info["group"]);
        let (weight, plain) =
            (Param::new(inputs["weight.0"].clone(), true), inputs.get("plain.0").map(|p| Param::new(p.clone(), true)));
        let arguments = &info["arguments"];
        let projected =
            Group { params: vec![("w".into(), weight.clone())], projection: Some(options), ..Group::default() };
        let rest = Group { params: plain.iter().map(|p| ("p".into(), p.clone())).collect(), ..Group::default() };
        let (lr, decay) = (arguments["lr"].as_f64().unwrap(), arguments["weight_decay"].as_f64().unwrap());
        let mut o = Optimizer::new(vec![projected, rest], lr, decay, Boxed(algorithm(arguments))).unwrap();
        let tolerance = info["tolerance"].as_f64().unwrap() as f32;
        for step in 1..=info["steps"].as_u64().unwrap() {
            weight.set_grad(Some(inputs[&format!("weight_grad.{step}")].clone()));
            if let Some(p) = &plain {
                p.set_grad(Some(inputs[&format!("plain_grad.{step}")].clone()));
            }
            let shape = weight.shape();
            let (left, right) = options.proj_type.sides(shape[0], shape[1]);
            let ortho = |j: usize| expected.get(&format!("ortho{j}.{step}")).cloned();
            let state = o.state_of("w");
            if let (true, Some(u)) = (left, ortho(0)) {
                state.put(LEFT, u);
            }
            if let (true, Some(vt)) = (right, ortho(usize::from(left))) {
                state.put(RIGHT, vt);
            }
            if let Some(basis) = expected.get(&format!("basis.{step}")) {
                state.tensors.insert("given", basis.clone());
            }
            // What stands in for the old basis must not pass for a present one.
            o.step(1.).unwrap();
            let close = |name: &str, got: &Array| {
                let want = expected.get(&format!("{name}.{step}"));
                assert_close(&flat(got), &flat(want.unwrap_or_else(|| panic!("{case}: no {name}.{step}"))), tolerance)
            };
            close("weight", &weight.array().unwrap());
            if let Some(p) = &plain {
                close("plain", &p.array().unwrap());
            }
            if let Some(q) = expected.get(&format!("q.{step}")) {
                let got = o.state_of("w").get("basis").unwrap().to_dtype(DType::F32).unwrap();
                assert_eq!(flat(&got), flat(q), "{case}: quantised basis of step {step}");
            }
        }
        if let Some(schedule) = info.get("schedule").and_then(|s| s.as_array()) {
            let last = schedule.last().unwrap()["update_proj_gap"].as_i64().unwrap();
            let got: Vec<i64> = o.state_of("w").get("gap").unwrap().to_vec1().unwrap();
            assert_eq!(got, [last], "{case}: the gap after the last refresh");
        }
    }

    #[test]
    fn galore_adamw_equals_swift_for_every_projection() {
        for kind in ["std", "reverse_std", "right", "left", "full"] {
            for side in ["tall", "wide"] {
                replay(&format!("galore-adamw-{kind}-{side}"), |_| {
                    Box::new(GaLoreAdamW::new((0.9, 0.999), 1e-6, true).unwrap())
                });
            }
        }
        for case in ["galore-adamw-square-no-correction", "galore-adamw-refresh"] {
            replay(case, |arguments| {
                let correct = arguments.get("correct_bias").is_none_or(|b| b.as_bool().unwrap());
                Box::new(GaLoreAdamW::new((0.9, 0.999), 1e-6, correct).unwrap())
            });
        }
    }

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

    #[test]
    fn q_galore_equals_its_simulation() {
        for case in ["q-galore-tall", "q-galore-wide-never-longer"] {
            replay(case, |_| Box::new(QGaLoreAdamW::new((0.9, 0.999), 1e-8).unwrap()));
        }
    }

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        let group = |quantisation| {
            move || Group {
                projection: Some(Projection {
                    rank: 3,
                    update_proj_gap: 2,
                    scale: 0.5,
                    proj_type: ProjType::Std,
                    quantisation,
                }),
                ..Group::default()
            }
        };
        restores_exactly(&[12, 8], group(None), || {
            Box::new(|g| Optimizer::new(g, 0.1, 0.01, GaLoreAdamW::new((0.9, 0.999), 1e-6, true).unwrap()).unwrap())
        });
        let quantised = Some(Quantisation { group_size: 8, ..DEFAULT_QUANTISATION });
        restores_exactly(&[12, 8], group(quantised), || {
            Box::new(|g| Optimizer::new(g, 0.1, 0.01, QGaLoreAdamW::new((0.9, 0.999), 1e-8).unwrap()).unwrap())
        });
    }
}
