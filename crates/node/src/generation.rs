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
use swift_tuners_nn::generate::{Finish, Generation, Options, Overflow, Penalties, Sampling, Step, TokenLogprob};
use swift_tuners_nn::Error;

#[napi(object)]
pub struct NativeGenerateOptions {
    pub max_new_tokens: Option<f64>,
    pub context_overflow: String,
    pub temperature: f64,
    pub top_k: Option<f64>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub repetition_penalty: f64,
    pub presence_penalty: f64,
    pub frequency_penalty: f64,
    pub logprobs: Option<u32>,
    pub seed: f64,
    pub eos_token_ids: Vec<f64>,
    pub pad_token_id: f64,
}

impl NativeGenerateOptions {
    fn options(self) -> swift_tuners_nn::Result<Options> {
        let overflow = Overflow::parse(&self.context_overflow)
            .ok_or_else(|| Error::config("contextOverflow", "expected error, stop or truncate"))?;
        Ok(Options {
            max_new_tokens: self.max_new_tokens.map(|n| n as usize),
            overflow,
            sampling: Sampling {
                temperature: self.temperature,
                top_k: self.top_k.map(|k| k as usize),
                top_p: self.top_p,
                min_p: self.min_p,
            },
            penalties: Penalties {
                repetition: self.repetition_penalty,
                presence: self.presence_penalty,
                frequency: self.frequency_penalty,
            },
            seed: self.seed as u64,
            eos: self.eos_token_ids.iter().map(|&t| t as i64).collect(),
            pad: self.pad_token_id as i64,
            logprobs: self.logprobs.map(|n| n as usize),
        })
    }
}

/// A token and how likely it was.
#[napi(object)]
pub struct NativeTokenLogprob {
    pub token_id: f64,
    pub logprob: f64,
}

#[napi(object)]
pub struct NativeStep {
    pub token_ids: Vec<f64>,
    /// eos, stopped, length, or null.
    pub finished: Vec<Option<String>>,
    /// The chosen token of each row and then the most likely ones; empty of rows that had ended and where nobody asked.
    pub logprobs: Vec<Vec<NativeTokenLogprob>>,
}

impl From<Step> for NativeStep {
    fn from(step: Step) -> Self {
        let reason = |finish| match finish {
            Finish::Eos => "eos".to_owned(),
            Finish::Stopped => "stopped".to_owned(),
            Finish::Length => "length".to_owned(),
        };
        let told = |TokenLogprob { token, logprob, top }: TokenLogprob| {
            let all = std::iter::once((token, logprob)).chain(top);
            all.map(|(token, logprob)| NativeTokenLogprob { token_id: token as f64, logprob }).collect()
        };
        Self {
            token_ids: step.tokens.into_iter().map(|id| id as f64).collect(),
            finished: step.finished.into_iter().map(|finish| finish.map(reason)).collect(),
            logprobs: step.logprobs.into_iter().map(|row| row.map(told).unwrap_or_default()).collect(),
        }
    }
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
            let pass = shared.quiet_pass(thread as u64, active, inputs, flag(cancel))?;
            let tree = shared.tree.read_recursive();
            let generation = Generation::new(&tree.model, &pass.context(), inputs.get(), options.options()?)?;
            drop(tree);
            Ok(Self { inner: Arc::new(Mutex::new(generation)), shared, pass })
        })
    }

    /// The next token of each row, or null at the end.
    #[napi(ts_return_type = "Promise<NativeStep | null>")]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (inner, shared, pass) = (self.inner.clone(), self.shared.clone(), self.pass.clone());
        job(env, move || {
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.read_recursive();
            tree.check_present(&pass.active)?;
            let step = inner.lock().step(&tree.model, &pass.context());
            Ok(step.map_err(|e| tree.explain(e))?.map(NativeStep::from))
        })
    }

    /// Ends rows, by their numbers; between two steps.
    #[napi]
    pub fn finish(&self, rows: Vec<u32>) {
        self.inner.lock().finish(&rows.iter().map(|&row| row as usize).collect::<Vec<_>>());
    }
}
