//! Decoding, one step per call.

use crate::cancel::{flag, NativeCancelFlag};
use crate::error::guard;
use crate::inputs::NativeInputs;
use crate::job::job;
use crate::model::NativeModel;
use crate::shared::{Pass, Shared};
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::Arc;
use swift_tuners_nn::generate::{Generation, Options};

#[napi(object)]
pub struct NativeGenerateOptions {
    pub max_new_tokens: u32,
    pub temperature: f64,
    pub top_k: Option<u32>,
    pub top_p: Option<f64>,
    pub seed: f64,
    pub eos_token_ids: Vec<f64>,
    pub pad_token_id: f64,
}

#[napi]
pub struct NativeGeneration {
    inner: Arc<Mutex<Generation>>,
    shared: Arc<Shared>,
    pass: Pass,
}

#[napi]
impl NativeGeneration {
    #[napi(constructor)]
    pub fn new(
        model: &NativeModel,
        inputs: &NativeInputs,
        options: NativeGenerateOptions,
        thread: f64,
        active: Option<Vec<String>>,
        cancel: Option<&NativeCancelFlag>,
    ) -> napi::Result<Self> {
        guard(|| {
            let shared = model.get()?;
            let pass = shared.pass(thread as u64, active, inputs, flag(cancel))?;
            let options = Options {
                max_new_tokens: options.max_new_tokens as usize,
                temperature: options.temperature,
                top_k: options.top_k.map(|k| k as usize),
                top_p: options.top_p,
                seed: options.seed as u64,
                eos: options.eos_token_ids.iter().map(|&t| t as i64).collect(),
                pad: options.pad_token_id as i64,
            };
            let generation = Generation::new(&shared.tree.read_recursive().model, inputs.get(), options)?;
            Ok(Self { inner: Arc::new(Mutex::new(generation)), shared, pass })
        })
    }

    /// The next token id of each row, or null at the end.
    #[napi(ts_return_type = "Promise<number[] | null>")]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (inner, shared, pass) = (self.inner.clone(), self.shared.clone(), self.pass.clone());
        job(env, move || {
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.read_recursive();
            let tokens = inner.lock().step(&tree.model, &pass.context())?;
            Ok(tokens.map(|t| t.into_iter().map(|id| id as f64).collect::<Vec<f64>>()))
        })
    }
}
