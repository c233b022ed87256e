//! What the tests over the fixtures share: models, inputs, passes and comparisons.
#![allow(dead_code)] // each test takes a part

use candle_core::{DType, Device};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use swift_tuners_nn::checkpoint::load_model;
use swift_tuners_nn::module::Ints;
use swift_tuners_nn::{AdapterId, Array, Context, Error, Inputs, Output, Result, Tensor};
use swift_tuners_tuners::TunedModel;

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../__test__/fixtures")
}

/// A model of `fixtures/models`, untuned.
pub fn base(name: &str, dtype: DType) -> Result<TunedModel> {
    let dir = fixtures().join("models").join(name);
    Ok(TunedModel::new(load_model(&dir, Some(dtype), &Device::Cpu, None, None)?.0, true))
}

/// A folder that goes when this does.
pub struct Temp(pub PathBuf);

impl Temp {
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("swift-tuners-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
        Ok(Self(dir))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn ints(array: &Array) -> Result<Ints> {
    Ints::new(array.dims().to_vec(), array.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?)
}

/// The active adapters, without a tape.
pub fn inference(model: &TunedModel) -> Context {
    Context { active: model.active_ids(0), grad: false, ..Context::default() }
}

/// One adapter for each row.
pub fn by_rows(model: &TunedModel, names: &[&str]) -> Result<Context> {
    let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
    let (rows, active) = model.row_ids(&names)?;
    Ok(Context { active, rows: Some(rows), grad: false, ..Context::default() })
}

pub fn only(ids: &[AdapterId]) -> Context {
    Context { active: Arc::new(ids.to_vec()), grad: false, ..Context::default() }
}

/// The output that a loss is taken of.
pub fn logits(model: &TunedModel, cx: &Context, inputs: &Inputs) -> Result<Array> {
    Ok(model.model.forward(cx, inputs)?.main()?.data().clone())
}

/// The model's own loss, or the mean square of the output where it has none.
pub fn loss_of(output: &Output) -> Result<Tensor> {
    match &output.loss {
        Some(loss) => Ok(loss.clone()),
        None => output.main()?.sqr()?.mean(None, false),
    }
}

pub fn values(array: &Array) -> Result<Vec<f64>> {
    Ok(array.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// The bits of every value: equal where two arrays are the same to the last digit.
pub fn bits(array: &Array) -> Result<Vec<u64>> {
    Ok(values(array)?.into_iter().map(f64::to_bits).collect())
}

/// The largest difference, infinite for other shapes and for NaN, and the largest expected magnitude if above 1.
pub fn gap(actual: &Array, expected: &Array) -> Result<(f64, f64)> {
    if actual.dims() != expected.dims() {
        return Ok((f64::INFINITY, 1.));
    }
    let (actual, expected) = (values(actual)?, values(expected)?);
    Ok(worst(actual.iter().zip(&expected)))
}

pub fn worst<'a>(pairs: impl Iterator<Item = (&'a f64, &'a f64)>) -> (f64, f64) {
    pairs.fold((0., 1.), |(worst, scale): (f64, f64), (a, e)| {
        let off = (a - e).abs();
        (if off.is_nan() { f64::INFINITY } else { worst.max(off) }, scale.max(e.abs()))
    })
}
