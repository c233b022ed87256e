//! Finite differences and comparison with a composed reference.

use crate::tensor::{Array, GradSlot, Tensor};
use crate::Result;
use candle_core::{DType, Device};
use std::sync::Arc;

/// Deterministic values in (-1, 1) that are neither zero nor symmetric.
pub fn values(shape: &[usize], seed: u64) -> Array {
    let n: usize = shape.iter().product();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let data: Vec<f64> = (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64 * 2. - 1.
        })
        .collect();
    Array::from_vec(data, shape, &Device::Cpu).unwrap()
}

pub fn leaf(x: &Array) -> (Tensor, Arc<GradSlot>) {
    let slot = Arc::new(GradSlot::default());
    (Tensor::leaf(x.clone(), Tensor::leaf_record(slot.clone())), slot)
}

/// A scalar whose gradient with respect to `y` differs at every place.
pub fn probe(y: &Tensor) -> Result<Tensor> {
    y.mul(&values(y.dims(), 77).to_dtype(y.dtype())?.into())?.sum(None, false)
}

/// Compares every gradient of `f` with central differences in f64.
pub fn check_gradients(inputs: &[Array], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let (leaves, slots): (Vec<_>, Vec<_>) = inputs.iter().map(leaf).unzip();
    probe(&f(&leaves).unwrap()).unwrap().backward().unwrap();
    let value = |inputs: &[Array]| -> f64 {
        let plain: Vec<Tensor> = inputs.iter().map(|x| x.clone().into()).collect();
        probe(&f(&plain).unwrap()).unwrap().to_scalar_f64().unwrap()
    };
    const H: f64 = 1e-5;
    for (i, input) in inputs.iter().enumerate() {
        let grad: Vec<f64> = slots[i].get().expect("no gradient").flatten_all().unwrap().to_vec1().unwrap();
        let base: Vec<f64> = input.flatten_all().unwrap().to_vec1().unwrap();
        for at in 0..base.len() {
            let moved = |by: f64| {
                let mut x = base.clone();
                x[at] += by;
                let mut all = inputs.to_vec();
                all[i] = Array::from_vec(x, input.dims(), &Device::Cpu).unwrap();
                value(&all)
            };
            let expected = (moved(H) - moved(-H)) / (2. * H);
            assert!(
                (grad[at] - expected).abs() <= 1e-6 * expected.abs().max(1.),
                "input {i}, element {at}: gradient {} but the difference quotient is {expected}",
                grad[at]
            );
        }
    }
}

pub fn assert_close(a: &Array, b: &Array, tolerance: f64) {
    assert_eq!(a.dims(), b.dims());
    let a: Vec<f64> = a.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let b: Vec<f64> = b.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        assert!((x - y).abs() <= tolerance * y.abs().max(1.), "element {i}: {x} for {y}");
    }
}
