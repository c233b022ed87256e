//! AdamW with decoupled weight decay and a state that can be saved.
//!
//! Loshchilov and Hutter 2017 (arXiv 1711.05101); numbers as `torch.optim.AdamW`. Moments are kept in f32 (f64 for f64
//! parameters), also for half-precision parameters.

use candle_core::{DType, Device};
use rayon::prelude::*;
use std::collections::HashMap;
use swift_tuners_nn::ops::compute_dtype;
use swift_tuners_nn::{Array, Error, Param, Result};

#[derive(Clone, Copy, Debug)]
pub struct AdamWOptions {
    pub lr: f64,
    pub betas: (f64, f64),
    pub eps: f64,
    pub weight_decay: f64,
}

/// Parameters with settings of their own; what is absent is the optimizer's.
pub struct Group {
    pub params: Vec<(String, Param)>,
    pub lr: Option<f64>,
    pub weight_decay: Option<f64>,
}

struct State {
    step: u64,
    m: Array,
    v: Array,
}

pub struct AdamW {
    pub groups: Vec<Group>,
    pub options: AdamWOptions,
    /// By parameter name, so that a saved state finds its parameter again.
    state: HashMap<String, State>,
}

impl AdamW {
    /// Fails with [`Error::Config`] when a setting is out of range or a parameter occurs twice.
    pub fn new(groups: Vec<Group>, options: AdamWOptions) -> Result<Self> {
        range("lr", options.lr >= 0. && options.lr.is_finite(), options.lr)?;
        range("eps", options.eps >= 0. && options.eps.is_finite(), options.eps)?;
        range("betas", (0. ..1.).contains(&options.betas.0), options.betas.0)?;
        range("betas", (0. ..1.).contains(&options.betas.1), options.betas.1)?;
        range("weightDecay", options.weight_decay >= 0. && options.weight_decay.is_finite(), options.weight_decay)?;
        let mut seen = std::collections::HashSet::new();
        for group in &groups {
            check_settings(group.lr, group.weight_decay)?;
            for (name, param) in &group.params {
                if !seen.insert(param.id()) {
                    return Err(Error::config("params", format!("{name} is in more than one group")));
                }
            }
        }
        Ok(Self { groups, options, state: HashMap::new() })
    }

    /// New learning rates and decays, one pair per group. All are checked before any is set.
    pub fn configure(&mut self, settings: &[(Option<f64>, Option<f64>)]) -> Result<()> {
        settings.iter().try_for_each(|&(lr, decay)| check_settings(lr, decay))?;
        for (group, &(lr, decay)) in self.groups.iter_mut().zip(settings) {
            (group.lr, group.weight_decay) = (lr, decay);
        }
        Ok(())
    }

    /// All parameters, for clipping and for clearing gradients.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.groups.iter().flat_map(|g| g.params.iter().map(|(_, p)| p))
    }

    /// Updates every parameter that has a gradient; those without are skipped, also by weight decay. `lr_scale` is a
    /// schedule's factor on every group's learning rate.
    pub fn step(&mut self, lr_scale: f64) -> Result<()> {
        let Self { groups, options, state } = self;
        for group in groups.iter() {
            let lr = group.lr.unwrap_or(options.lr) * lr_scale;
            let decay = group.weight_decay.unwrap_or(options.weight_decay);
            for (name, param) in &group.params {
                let Some(grad) = param.grad() else { continue };
                let value = param.array()?;
                let wide = compute_dtype(value.dtype());
                let grad = grad.to_dtype(wide)?;
                let zeros = || grad.zeros_like();
                let s = match state.get_mut(name) {
                    Some(s) => s,
                    None => state.entry(name.clone()).or_insert(State { step: 0, m: zeros()?, v: zeros()? }),
                };
                s.step += 1;
                let k = Coefficients::new(options, lr, decay, s.step);
                let updated = update(&value.to_dtype(wide)?, &grad, s, &k)?;
                param.replace(updated.to_dtype(value.dtype())?);
            }
        }
        Ok(())
    }

    /// `{name}.exp_avg`, `{name}.exp_avg_sq` and `{name}.step`.
    pub fn state_dict(&self) -> Result<Vec<(String, Array)>> {
        let mut names: Vec<&String> = self.state.keys().collect();
        names.sort();
        let mut out = Vec::with_capacity(3 * names.len());
        for name in names {
            let s = &self.state[name];
            out.push((format!("{name}.exp_avg"), s.m.clone()));
            out.push((format!("{name}.exp_avg_sq"), s.v.clone()));
            out.push((format!("{name}.step"), Array::new(s.step as i64, &Device::Cpu)?));
        }
        Ok(out)
    }

    /// Restores what [`AdamW::state_dict`] gave. All is checked before anything is changed.
    pub fn load_state_dict(&mut self, tensors: &HashMap<String, Array>) -> Result<()> {
        let params: HashMap<&String, &Param> =
            self.groups.iter().flat_map(|g| g.params.iter().map(|(n, p)| (n, p))).collect();
        let mut state = HashMap::new();
        for key in tensors.keys() {
            let name = [".exp_avg_sq", ".exp_avg", ".step"].iter().find_map(|s| key.strip_suffix(s));
            let name = name.ok_or_else(|| Error::Argument(format!("optimizer state: {key} is no moment or step")))?;
            if state.contains_key(name) {
                continue;
            }
            let param = params
                .get(&name.to_owned())
                .ok_or_else(|| Error::Argument(format!("optimizer state: no parameter is called {name}")))?;
            let moment = |suffix: &str| -> Result<Array> {
                let t = tensors
                    .get(&format!("{name}.{suffix}"))
                    .ok_or_else(|| Error::Argument(format!("optimizer state: {name}.{suffix} is missing")))?;
                if t.dims() != param.shape() {
                    return Err(Error::Shape {
                        path: format!("{name}.{suffix}"),
                        expected: param.shape(),
                        actual: t.dims().to_vec(),
                    });
                }
                Ok(t.to_dtype(compute_dtype(param.dtype()))?.to_device(&param.device())?)
            };
            let step = tensors
                .get(&format!("{name}.step"))
                .and_then(|t| t.reshape(()).ok()?.to_dtype(DType::I64).ok()?.to_scalar::<i64>().ok())
                .filter(|&s| s >= 0)
                .ok_or_else(|| Error::Argument(format!("optimizer state: {name}.step is missing or no number")))?;
            let s = State { step: step as u64, m: moment("exp_avg")?, v: moment("exp_avg_sq")? };
            state.insert(name.to_owned(), s);
        }
        self.state = state;
        Ok(())
    }
}

fn range(name: &str, ok: bool, value: f64) -> Result<()> {
    if ok {
        Ok(())
    } else {
        Err(Error::config(name, format!("{value} is out of range")))
    }
}

fn check_settings(lr: Option<f64>, weight_decay: Option<f64>) -> Result<()> {
    for (name, value) in [("lr", lr), ("weightDecay", weight_decay)] {
        if let Some(v) = value {
            range(name, v >= 0. && v.is_finite(), v)?;
        }
    }
    Ok(())
}

struct Coefficients {
    keep: f64,
    step_size: f64,
    b1: f64,
    b2: f64,
    root_correction: f64,
    eps: f64,
}

impl Coefficients {
    fn new(o: &AdamWOptions, lr: f64, decay: f64, step: u64) -> Self {
        let (b1, b2) = o.betas;
        Self {
            keep: 1. - lr * decay,
            step_size: lr / (1. - b1.powf(step as f64)),
            b1,
            b2,
            root_correction: (1. - b2.powf(step as f64)).sqrt(),
            eps: o.eps,
        }
    }
}

fn update(p: &Array, g: &Array, s: &mut State, k: &Coefficients) -> Result<Array> {
    if p.device().is_cpu() && p.dtype() == DType::F32 {
        return fused(p, g, s, k);
    }
    s.m = ((&s.m * k.b1)? + (g * (1. - k.b1))?)?;
    s.v = ((&s.v * k.b2)? + (g.sqr()? * (1. - k.b2))?)?;
    let denominator = ((s.v.sqrt()? / k.root_correction)? + k.eps)?;
    Ok(((p * k.keep)? - ((&s.m / denominator)? * k.step_size)?)?)
}

/// One pass over parameter, gradient and moments.
fn fused(p: &Array, g: &Array, s: &mut State, k: &Coefficients) -> Result<Array> {
    let flat = |x: &Array| -> Result<Vec<f32>> { Ok(x.flatten_all()?.to_vec1()?) };
    let (mut p_out, g, mut m, mut v) = (flat(p)?, flat(g)?, flat(&s.m)?, flat(&s.v)?);
    let (b1, b2) = (k.b1 as f32, k.b2 as f32);
    let (c1, c2) = ((1. - k.b1) as f32, (1. - k.b2) as f32);
    let (keep, step_size, root, eps) = (k.keep as f32, k.step_size as f32, k.root_correction as f32, k.eps as f32);
    const CHUNK: usize = 1 << 14;
    p_out
        .par_chunks_mut(CHUNK)
        .zip(m.par_chunks_mut(CHUNK))
        .zip(v.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)))
        .for_each(|((p, m), (v, g))| {
            for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * g * g;
                *p = keep * *p - step_size * *m / (v.sqrt() / root + eps);
            }
        });
    s.m = Array::from_vec(m, p.dims(), &Device::Cpu)?;
    s.v = Array::from_vec(v, p.dims(), &Device::Cpu)?;
    Ok(Array::from_vec(p_out, p.dims(), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(values: &[f32]) -> Param {
        Param::new(Array::new(values, &Device::Cpu).unwrap(), true)
    }

    const OPTIONS: AdamWOptions = AdamWOptions { lr: 0.1, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 };

    fn optimizer(p: &Param) -> AdamW {
        let group = Group { params: vec![("p".into(), p.clone())], lr: None, weight_decay: None };
        AdamW::new(vec![group], OPTIONS).unwrap()
    }

    /// Three steps of `torch.optim.AdamW` (torch 2.15) on p = [1, -2, 0.5] with the gradients below.
    #[test]
    fn three_steps_equal_torch() {
        let p = param(&[1., -2., 0.5]);
        let mut o = optimizer(&p);
        for g in [[0.1f32, -0.2, 0.3], [0.4, 0.1, -0.5], [-0.3, 0.2, 0.6]] {
            p.set_grad(Some(Array::new(&g, &Device::Cpu).unwrap()));
            o.step(1.).unwrap();
        }
        let got: Vec<f32> = p.array().unwrap().to_vec1().unwrap();
        let expected = TORCH;
        for (a, b) in got.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{got:?} for {expected:?}");
        }
    }

    #[test]
    fn a_restored_state_goes_on_bit_for_bit() {
        let (p, q) = (param(&[1., -2., 0.5]), param(&[1., -2., 0.5]));
        let (mut a, mut b) = (optimizer(&p), optimizer(&q));
        let grad = |x: f32| Some(Array::new(&[x, -x, 0.5 * x], &Device::Cpu).unwrap());
        for x in [0.3, -0.7] {
            p.set_grad(grad(x));
            a.step(1.).unwrap();
        }
        q.replace(p.array().unwrap());
        b.load_state_dict(&a.state_dict().unwrap().into_iter().collect()).unwrap();
        p.set_grad(grad(0.2));
        q.set_grad(grad(0.2));
        a.step(0.5).unwrap();
        b.step(0.5).unwrap();
        assert_eq!(p.array().unwrap().to_vec1::<f32>().unwrap(), q.array().unwrap().to_vec1::<f32>().unwrap());
    }

    #[test]
    fn a_state_of_other_shapes_is_refused_and_changes_nothing() {
        let p = param(&[1., 2., 3.]);
        let mut o = optimizer(&p);
        let wrong = Array::new(&[1f32], &Device::Cpu).unwrap();
        let state = [
            ("p.exp_avg".to_owned(), wrong.clone()),
            ("p.exp_avg_sq".to_owned(), wrong),
            ("p.step".to_owned(), Array::new(1i64, &Device::Cpu).unwrap()),
        ];
        assert_eq!(o.load_state_dict(&state.into()).unwrap_err().code(), "ERR_SHAPE");
        assert!(o.state_dict().unwrap().is_empty());
    }

    const TORCH: [f32; 3] = [0.7911829, -1.8948686, 0.3980123];
}
