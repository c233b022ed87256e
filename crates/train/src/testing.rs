//! Steps that tests of several algorithms take.

use crate::algorithm::{Algorithm, Settings, State};
use crate::optimizer::{Group, Optimizer};
use crate::projection::{ProjType, Projection, Quantisation};
use crate::projector::{LEFT, RIGHT};
use candle_core::{DType, Device};
use std::path::Path;
use swift_tuners_nn::checkpoint::{json, safetensors, Tensors};
use swift_tuners_nn::{Array, Param, Result};

pub fn param(values: &[f32]) -> Param {
    Param::new(Array::new(values, &Device::Cpu).unwrap(), true)
}

pub fn optimizer(p: &Param, lr: f64, weight_decay: f64, algorithm: impl Algorithm + 'static) -> Optimizer {
    let group = Group { params: vec![("p".into(), p.clone())], ..Group::default() };
    Optimizer::new(vec![group], lr, weight_decay, algorithm).unwrap()
}

pub const GRADS: [[f32; 3]; 3] = [[0.1, -0.2, 0.3], [0.4, 0.1, -0.5], [-0.3, 0.2, 0.6]];

/// Steps with [`GRADS`] on p = [1, -2, 0.5].
pub fn three_steps(lr: f64, weight_decay: f64, algorithm: impl Algorithm + 'static) -> Vec<f32> {
    let p = param(&[1., -2., 0.5]);
    let mut o = optimizer(&p, lr, weight_decay, algorithm);
    for g in GRADS {
        p.set_grad(Some(Array::new(&g, &Device::Cpu).unwrap()));
        o.step(1.).unwrap();
    }
    p.array().unwrap().to_vec1().unwrap()
}

pub fn assert_close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    for (i, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.), "element {i}: {a} for {b}");
    }
}

/// A state that was saved and restored goes on bit for bit.
pub fn restores_exactly(
    shape: &[usize],
    group: impl Fn() -> Group,
    algorithm: impl Fn() -> Box<dyn Fn(Vec<Group>) -> Optimizer>,
) {
    let count: usize = shape.iter().product();
    let values = |seed: usize| -> Array {
        let v: Vec<f32> = (0..count).map(|i| (((i * 7919 + seed * 104_729) % 1013) as f32 / 506.5) - 1.).collect();
        Array::from_vec(v, shape, &Device::Cpu).unwrap()
    };
    let (p, q) = (Param::new(values(1), true), Param::new(values(1), true));
    let with = |p: &Param| algorithm()(vec![Group { params: vec![("p".into(), p.clone())], ..group() }]);
    let (mut a, mut b) = (with(&p), with(&q));
    for seed in 2..5 {
        p.set_grad(Some(values(seed)));
        a.step(1.).unwrap();
    }
    q.replace(p.array().unwrap());
    b.load_state_dict(&a.state_dict().unwrap().into_iter().collect()).unwrap();
    for seed in 5..9 {
        p.set_grad(Some(values(seed)));
        q.set_grad(Some(values(seed)));
        a.step(0.5).unwrap();
        b.step(0.5).unwrap();
    }
    let flat = |p: &Param| p.array().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(flat(&p), flat(&q));
}

pub fn fixture(case: &str) -> (serde_json::Value, Tensors, Tensors) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../__test__/fixtures/optimizer").join(case);
    let read = |name: &str| safetensors::read(&dir.join(name)).unwrap();
    (json::read(&dir.join("case.json")).unwrap(), read("inputs.safetensors"), read("expected.safetensors"))
}

pub fn flat(x: &Array) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

pub fn projection(group: &serde_json::Value) -> Projection {
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
    let projected = Group { params: vec![("w".into(), weight.clone())], projection: Some(options), ..Group::default() };
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
