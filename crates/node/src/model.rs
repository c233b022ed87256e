//! `Model`, `SwiftModel` and `PeftModel` share this native half.

use crate::error::{guard, to_napi};
use crate::inputs::NativeInputs;
use crate::job::job;
use crate::optimizer::NativeParameter;
use crate::tensor::{device_name, dtype_name, parse_device, parse_dtype, NativeTensor};
use napi::bindgen_prelude::*;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::Env;
use napi_derive::napi;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use swift_tuners_nn::module::{all_parameters, named_parameters, walk, Item};
use swift_tuners_nn::quantized::Packing;
use swift_tuners_nn::{checkpoint, AdapterId, CancelFlag, Context, Error, Inputs, Output, Param, Quantization};
use swift_tuners_tuners::config::AdapterConfig;
use swift_tuners_tuners::formats::{FromPretrainedOptions, LoadReport, NameSelection, SaveOptions};
use swift_tuners_tuners::swift::{Combination, Format, Offload, PrepareOptions, RowIds, SignMethod, WeightedOptions};
use swift_tuners_tuners::{Flavor, TunedModel};

type Core<T> = swift_tuners_nn::Result<T>;

/// A model as all its handles see it.
pub struct Shared {
    /// Names this model in handles; never used again.
    token: String,
    /// Read by passes and getters, written by what changes the tree.
    pub tree: RwLock<TunedModel>,
    /// Read by passes, written by an optimizer's step: no pass sees half-updated weights.
    pub passes: RwLock<()>,
    training: AtomicBool,
    seed: AtomicU64,
    /// Passes in training mode so far; each draws its own random numbers.
    drawn: AtomicU64,
    checkpointing: AtomicBool,
}

/// One pass's settings, captured when JavaScript makes the call.
#[derive(Clone)]
pub struct Pass {
    training: bool,
    active: Arc<Vec<AdapterId>>,
    rows: Option<RowIds>,
    seed: u64,
    cancel: CancelFlag,
    checkpointing: bool,
    /// Kept for a backward pass.
    grad: bool,
}

impl Pass {
    pub fn context(&self) -> Context {
        Context {
            training: self.training,
            active: self.active.clone(),
            rows: self.rows.clone(),
            seed: self.seed,
            cancel: self.cancel.clone(),
            checkpointing: self.checkpointing && self.grad,
            grad: self.grad,
            ..Context::default()
        }
    }
}

impl Shared {
    pub fn forward(&self, pass: &Pass, inputs: &Inputs) -> Core<Output> {
        if pass.training && pass.rows.is_some() {
            return Err(Error::Invalid("adapterNames: call eval() first; rows of one batch cannot train apart".into()));
        }
        let tree = self.tree.read_recursive();
        let _passes = self.passes.read_recursive();
        tree.model.forward(&pass.context(), inputs)
    }

    pub fn pass(
        &self,
        thread: u64,
        active: Option<Vec<String>>,
        inputs: &NativeInputs,
        cancel: CancelFlag,
    ) -> Core<Pass> {
        let tree = self.tree.read_recursive();
        let (rows, active) = match (inputs.adapter_names(), active) {
            (Some(names), _) => {
                let (rows, active) = tree.row_ids(&names)?;
                (Some(rows), active)
            }
            (None, Some(names)) => (None, tree.ids(&names)?),
            (None, None) => (None, tree.active_ids(thread)),
        };
        let training = self.training.load(Ordering::Relaxed);
        let count = if training { self.drawn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let seed = swift_tuners_nn::context::mix(self.seed.load(Ordering::Relaxed), count);
        let checkpointing = self.checkpointing.load(Ordering::Relaxed);
        Ok(Pass { training, active, rows, seed, cancel, checkpointing, grad: true })
    }
}

#[napi]
pub struct NativeCancelFlag(CancelFlag);

#[napi]
impl NativeCancelFlag {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(CancelFlag::default())
    }

    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }

    pub fn flag(&self) -> CancelFlag {
        self.0.clone()
    }
}

pub fn flag(cancel: Option<&NativeCancelFlag>) -> CancelFlag {
    cancel.map(|c| c.flag()).unwrap_or_default()
}

#[napi(object)]
pub struct NativeParameterInfo {
    pub name: String,
    pub shape: Vec<u32>,
    pub dtype: String,
    pub device: String,
    pub requires_grad: bool,
    pub numel: f64,
    pub quantization: Option<String>,
}

/// Tensors of a pass.
#[napi]
pub struct NativeOutput(Output);

#[napi]
impl NativeOutput {
    #[napi(getter)]
    pub fn logits(&self) -> Option<NativeTensor> {
        self.0.logits.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn last_hidden_state(&self) -> Option<NativeTensor> {
        self.0.last_hidden_state.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn sample(&self) -> Option<NativeTensor> {
        self.0.sample.clone().map(Into::into)
    }
    #[napi(getter)]
    pub fn loss(&self) -> Option<NativeTensor> {
        self.0.loss.clone().map(Into::into)
    }
}

#[napi(object)]
pub struct NativeLoadReport {
    pub adapter: String,
    pub file: String,
    pub loaded: Vec<String>,
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
}

impl From<&LoadReport> for NativeLoadReport {
    fn from(r: &LoadReport) -> Self {
        Self {
            adapter: r.adapter.clone(),
            file: r.file.clone(),
            loaded: r.loaded.clone(),
            missing: r.missing.clone(),
            unexpected: r.unexpected.clone(),
            warnings: r.warnings.clone(),
            notes: r.notes.clone(),
        }
    }
}

#[napi(object)]
pub struct NativeAdapter {
    pub name: String,
    /// JSON text of the configuration.
    pub config: String,
}

#[napi(object)]
pub struct NativeParamGroup {
    pub names: Vec<String>,
    pub lr: Option<f64>,
    pub weight_decay: f64,
}

#[napi(object)]
pub struct NativeGaLoreGroup {
    pub names: Vec<String>,
    pub projected: bool,
    pub weight_decay: f64,
}

#[napi(object)]
pub struct NativePrepareOptions {
    pub extra_state_keys: Vec<String>,
    pub inference_mode: bool,
    pub seed: f64,
}

#[napi(object)]
pub struct NativeFromPretrainedOptions {
    /// Pairs of saved and new name; absent: all.
    pub names: Option<Vec<Vec<String>>>,
    pub inference_mode: bool,
    pub strict: bool,
    pub seed: f64,
}

impl NativeFromPretrainedOptions {
    fn into_core(self) -> Core<FromPretrainedOptions> {
        let pair = |p: Vec<String>| {
            <[String; 2]>::try_from(p).map_err(|_| Error::Argument("adapterName: expected pairs of names".into()))
        };
        let names = match self.names {
            None => NameSelection::All,
            Some(pairs) => NameSelection::Named(
                pairs.into_iter().map(|p| pair(p).map(|[saved, new]| (saved, new))).collect::<Core<_>>()?,
            ),
        };
        let (inference_mode, strict, seed) = (self.inference_mode, self.strict, self.seed as u64);
        Ok(FromPretrainedOptions { names, inference_mode, strict, seed })
    }
}

#[napi(object)]
pub struct NativeWeightedOptions {
    pub adapters: Vec<String>,
    pub weights: Vec<f64>,
    pub adapter_name: String,
    pub combination_type: String,
    pub svd_rank: Option<u32>,
    pub svd_clamp: Option<f64>,
    pub density: Option<f64>,
    pub majority_sign_method: Option<String>,
    pub seed: f64,
}

/// File, tensors read, tensors in all.
type OnProgress = ThreadsafeFunction<FnArgs<(String, f64, f64)>, (), FnArgs<(String, f64, f64)>, Status, false>;

#[napi]
pub struct NativeModel {
    shared: Mutex<Option<Arc<Shared>>>,
    /// Tensors of the files that the architecture has no place for.
    surplus: Vec<String>,
}

fn new_handle(model: TunedModel, seed: u64) -> NativeModel {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let shared = Shared {
        token: format!("model-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
        tree: RwLock::new(model),
        passes: RwLock::new(()),
        training: AtomicBool::new(false),
        seed: AtomicU64::new(seed),
        drawn: AtomicU64::new(0),
        checkpointing: AtomicBool::new(false),
    };
    NativeModel { shared: Mutex::new(Some(Arc::new(shared))), surplus: Vec::new() }
}

/// Models that worker threads may attach to, by token.
static HANDLES: Mutex<Option<HashMap<String, Weak<Shared>>>> = Mutex::new(None);

#[napi(object)]
pub struct NativeQuantization {
    pub packing: String,
    pub skip_modules: Option<Vec<String>>,
}

/// Loads a model directory on a thread of its own.
#[napi(ts_return_type = "Promise<NativeModel>")]
#[allow(clippy::too_many_arguments)]
pub fn load_model<'env>(
    env: &'env Env,
    directory: String,
    dtype: Option<String>,
    device: String,
    quantization: Option<NativeQuantization>,
    unique_thread: bool,
    cancel: &NativeCancelFlag,
    on_progress: Option<OnProgress>,
) -> napi::Result<Object<'env>> {
    let cancel = cancel.flag();
    job(env, move || {
        let dtype = dtype.map(|d| parse_dtype(&d)).transpose()?;
        let device = parse_device(&device)?;
        let quantization = quantization
            .map(|q| Packing::parse(&q.packing).map(|packing| Quantization { packing, skip_modules: q.skip_modules }));
        let quantization = quantization.transpose()?;
        let directory = PathBuf::from(directory);
        let report = move |file: &std::path::Path, done: u64, all: u64| {
            if let Some(f) = &on_progress {
                let args: FnArgs<_> = (file.display().to_string(), done as f64, all as f64).into();
                f.call(args, ThreadsafeFunctionCallMode::NonBlocking);
            }
        };
        let checked = |file: &std::path::Path, done: u64, all: u64| report(file, done, all);
        cancel.check()?;
        let (model, surplus) =
            checkpoint::load_model(&directory, dtype, &device, Some(&checked), quantization.as_ref())?;
        cancel.check()?;
        Ok(NativeModel { surplus, ..new_handle(TunedModel::new(model, unique_thread), 0) })
    })
}

/// What [`merge_files`] did.
#[napi(object)]
pub struct NativeMergeReport {
    pub loads: Vec<NativeLoadReport>,
    pub surplus: Vec<String>,
}

#[napi(object)]
pub struct NativeMergeOptions {
    pub dtype: Option<String>,
    pub safe: bool,
    pub max_shard: f64,
}

/// Merges the LoRAs of a directory into a model directory, one tensor in memory at a time.
#[napi(ts_return_type = "Promise<NativeMergeReport>")]
pub fn merge_files<'env>(
    env: &'env Env,
    model: String,
    adapters: String,
    output: String,
    load: NativeFromPretrainedOptions,
    options: NativeMergeOptions,
    cancel: &NativeCancelFlag,
) -> napi::Result<Object<'env>> {
    let cancel = cancel.flag();
    job(env, move || {
        let dtype = options.dtype.map(|d| parse_dtype(&d)).transpose()?;
        let (model, adapters, output) = (PathBuf::from(model), PathBuf::from(adapters), PathBuf::from(output));
        if [&model, &adapters].iter().any(|input| same_folder(input, &output)) {
            return Err(Error::config("outputDir", format!("{} is one of the inputs", output.display())));
        }
        cancel.check()?;
        let (base, surplus) = checkpoint::open_model(&model, dtype)?;
        let mut tuned = TunedModel::new(base, true);
        let load = load.into_core()?;
        let names = match &load.names {
            NameSelection::All => None,
            NameSelection::Named(pairs) => Some(pairs.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()),
        };
        tuned.from_pretrained(0, &adapters, &load)?;
        let save =
            SaveOptions { names: None, peft_format: false, safe: options.safe, max_shard: options.max_shard as u64 };
        let companions = |to: &std::path::Path| checkpoint::copy_companions(&model, to);
        tuned.save_merged(0, names.as_deref(), &output, &save, &cancel, &companions)?;
        Ok(NativeMergeReport { loads: tuned.load_reports.iter().map(Into::into).collect(), surplus })
    })
}

fn same_folder(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// A model with fresh weights.
#[napi(ts_return_type = "Promise<NativeModel>")]
pub fn new_model<'env>(
    env: &'env Env,
    config: String,
    dtype: String,
    device: String,
    unique_thread: bool,
    seed: f64,
) -> napi::Result<Object<'env>> {
    job(env, move || {
        let config = checkpoint::json::parse(config.as_bytes()).map_err(|e| Error::config("config", e))?;
        let model = checkpoint::new_model(config, parse_dtype(&dtype)?, &parse_device(&device)?, seed as u64)?;
        Ok(new_handle(TunedModel::new(model, unique_thread), seed as u64))
    })
}

/// Fills in a configuration's defaults and checks it. JSON in, JSON out.
#[napi]
pub fn complete_config(json: String) -> napi::Result<String> {
    guard(|| {
        let value = checkpoint::json::parse(json.as_bytes()).map_err(|e| Error::config("adapter config", e))?;
        Ok(AdapterConfig::from_json(&value)?.to_json().to_string())
    })
}

#[napi]
impl NativeModel {
    pub fn get(&self) -> Core<Arc<Shared>> {
        self.shared.lock().clone().ok_or(Error::Disposed("model"))
    }

    fn read<T>(&self, f: impl FnOnce(&TunedModel) -> Core<T>) -> napi::Result<T> {
        guard(|| f(&self.get()?.tree.read_recursive()))
    }

    /// Work that changes the tree, on a thread of its own.
    fn edit<'env, T>(
        &self,
        env: &'env Env,
        f: impl FnOnce(&mut TunedModel) -> Core<T> + Send + 'static,
    ) -> napi::Result<Object<'env>>
    where
        T: ToNapiValue + Send + 'static,
    {
        let shared = guard(|| self.get())?;
        job(env, move || {
            // Waits for running passes, so that none sees a half-changed tree.
            let mut tree = shared.tree.write();
            f(&mut tree)
        })
    }

    #[napi]
    pub fn dispose(&self) {
        *self.shared.lock() = None;
    }

    #[napi]
    pub fn share(&self) -> napi::Result<String> {
        guard(|| {
            let shared = self.get()?;
            let mut handles = HANDLES.lock();
            let handles = handles.get_or_insert_default();
            handles.retain(|_, other| other.strong_count() > 0);
            handles.insert(shared.token.clone(), Arc::downgrade(&shared));
            Ok(shared.token.clone())
        })
    }

    #[napi(factory)]
    pub fn from_handle(token: String) -> napi::Result<Self> {
        guard(|| {
            let mut handles = HANDLES.lock();
            let handles = handles.get_or_insert_default();
            let shared = handles.get(&token).and_then(Weak::upgrade);
            let shared = shared.ok_or_else(|| Error::Invalid("this handle's model is gone".into()))?;
            Ok(Self { shared: Mutex::new(Some(shared)), surplus: Vec::new() })
        })
    }

    /// Another handle on the same model.
    #[napi]
    pub fn alias(&self) -> napi::Result<NativeModel> {
        guard(|| Ok(Self { shared: Mutex::new(Some(self.get()?)), surplus: Vec::new() }))
    }

    /// Tensors of the loaded files that the architecture has no place for.
    #[napi(getter)]
    pub fn surplus(&self) -> Vec<String> {
        self.surplus.clone()
    }

    #[napi(getter)]
    pub fn flavor(&self) -> napi::Result<&'static str> {
        self.read(|m| {
            Ok(match m.flavor {
                Flavor::Base => "base",
                Flavor::Swift => "swift",
                Flavor::Peft => "peft",
            })
        })
    }

    #[napi(getter)]
    pub fn config(&self) -> napi::Result<String> {
        self.read(|m| Ok(m.model.config.to_string()))
    }

    #[napi(getter)]
    pub fn device(&self) -> napi::Result<String> {
        self.read(|m| Ok(device_name(&m.model.device)))
    }

    #[napi(getter)]
    pub fn training(&self) -> napi::Result<bool> {
        guard(|| Ok(self.get()?.training.load(Ordering::Relaxed)))
    }

    #[napi]
    pub fn train(&self, mode: bool) -> napi::Result<()> {
        guard(|| {
            self.get()?.training.store(mode, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Whether blocks run again for the backward pass, in training, so that their inner results need no memory.
    #[napi]
    pub fn set_checkpointing(&self, on: bool) -> napi::Result<()> {
        guard(|| {
            self.get()?.checkpointing.store(on, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Seed and position of the random numbers that training passes draw.
    #[napi]
    pub fn set_seed(&self, seed: f64, drawn: f64) -> napi::Result<()> {
        guard(|| {
            let shared = self.get()?;
            shared.seed.store(seed as u64, Ordering::Relaxed);
            shared.drawn.store(drawn as u64, Ordering::Relaxed);
            Ok(())
        })
    }

    #[napi(getter)]
    pub fn drawn(&self) -> napi::Result<f64> {
        guard(|| Ok(self.get()?.drawn.load(Ordering::Relaxed) as f64))
    }

    #[napi(ts_return_type = "Promise<NativeOutput>")]
    pub fn forward<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        thread: f64,
        active: Option<Vec<String>>,
        grad: bool,
        cancel: Option<&NativeCancelFlag>,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let pass = Pass { grad, ..guard(|| shared.pass(thread as u64, active, inputs, flag(cancel)))? };
        let inputs = inputs.get();
        job(env, move || Ok(NativeOutput(shared.forward(&pass, &inputs)?)))
    }

    #[napi]
    pub fn forward_sync(
        &self,
        inputs: &NativeInputs,
        thread: f64,
        active: Option<Vec<String>>,
        grad: bool,
    ) -> napi::Result<NativeOutput> {
        guard(|| {
            let shared = self.get()?;
            let pass = Pass { grad, ..shared.pass(thread as u64, active, inputs, CancelFlag::default())? };
            Ok(NativeOutput(shared.forward(&pass, &inputs.get())?))
        })
    }

    /// Forward and backward in one job; the loss, multiplied by `scale` for the gradients only, comes back.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn forward_backward<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        scale: f64,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let pass = guard(|| shared.pass(thread as u64, None, inputs, cancel.flag()))?;
        let inputs = Inputs { loss_only: true, ..inputs.get() };
        job(env, move || {
            let output = shared.forward(&pass, &inputs)?;
            let loss =
                output.loss.ok_or_else(|| Error::Argument("training needs labels or a target in each batch".into()))?;
            let value = loss.to_scalar_f64()?;
            pass.cancel.check()?;
            loss.affine(scale, 0.)?.backward()?;
            Ok(value)
        })
    }

    /// The loss without gradients.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn evaluate_loss<'env>(
        &self,
        env: &'env Env,
        inputs: &NativeInputs,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let pass = guard(|| {
            let mut pass = shared.pass(thread as u64, None, inputs, cancel.flag())?;
            pass.training = false;
            Ok(pass)
        })?;
        let inputs = Inputs { loss_only: true, ..inputs.get() };
        job(env, move || {
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.read_recursive();
            let cx = Context { grad: false, ..pass.context() };
            let loss = tree.model.forward(&cx, &inputs)?.loss;
            loss.ok_or_else(|| Error::Argument("evaluation needs labels or a target in each batch".into()))?
                .to_scalar_f64()
        })
    }

    #[napi]
    pub fn named_modules(&self) -> napi::Result<Vec<String>> {
        self.read(|m| {
            let mut names = Vec::new();
            walk(&m.model.root, &mut |path, item| {
                if let Item::Module(_) = item {
                    names.push(path.to_owned());
                }
            });
            Ok(names)
        })
    }

    #[napi]
    pub fn named_parameters(&self) -> napi::Result<Vec<NativeParameterInfo>> {
        self.read(|m| {
            let info = |(name, p): (String, &Param)| NativeParameterInfo {
                name,
                shape: p.shape().iter().map(|&d| d as u32).collect(),
                dtype: dtype_name(p.dtype()).into(),
                device: if p.is_offloaded() { "meta".into() } else { device_name(&p.device()) },
                requires_grad: p.requires_grad(),
                numel: p.numel() as f64,
                quantization: p.packing().map(|q| q.name().into()),
            };
            Ok(named_parameters(&m.model.root).into_iter().map(info).collect())
        })
    }

    /// The parameters that require gradients, by reference and called as here behind `prefix`.
    #[napi]
    pub fn trainable(&self, prefix: String) -> napi::Result<Vec<NativeParameter>> {
        let shared = guard(|| self.get())?;
        self.read(|m| {
            let trainable = named_parameters(&m.model.root).into_iter().filter(|(_, p)| p.requires_grad());
            let one = |(name, p): (String, &Param)| NativeParameter::of(format!("{prefix}{name}"), p, &shared);
            Ok(trainable.map(one).collect())
        })
    }

    /// Copies of the values of the named parameters; of all, tied ones under each of their names, when none are named.
    #[napi]
    pub fn state_dict(&self, names: Option<Vec<String>>) -> napi::Result<NativeStateDict> {
        self.read(|m| Ok(NativeStateDict::of(m.state_dict(names.as_deref())?)))
    }

    #[napi]
    pub fn parameter(&self, name: String) -> napi::Result<NativeTensor> {
        self.read(|m| Ok(m.value(&m.parameter(&name)?)?.copy()?.into()))
    }

    #[napi]
    pub fn gradient(&self, name: String) -> napi::Result<Option<NativeTensor>> {
        self.read(|m| Ok(m.parameter(&name)?.grad().map(Into::into)))
    }

    #[napi]
    pub fn set_requires_grad(&self, name: String, on: bool) -> napi::Result<()> {
        self.read(|m| {
            let param = m.parameter(&name)?;
            match param.packing() {
                Some(packing) if on => {
                    Err(Error::Invalid(format!("{name} is packed ({}) and cannot be trained", packing.name())))
                }
                _ => {
                    param.set_requires_grad(on);
                    Ok(())
                }
            }
        })
    }

    #[napi]
    pub fn zero_grad(&self) -> napi::Result<()> {
        self.read(|m| {
            all_parameters(&m.model.root).into_iter().for_each(|(_, p)| p.set_grad(None));
            Ok(())
        })
    }

    /// Copies values in by name, all or none; returns the names that no parameter has.
    #[napi]
    pub fn load_state_dict(&self, state: &NativeStateDict, strict: bool) -> napi::Result<Vec<String>> {
        guard(|| {
            let shared = self.get()?;
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.write();
            tree.load_state_dict(state.entries(), strict)
        })
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn save_base<'env>(
        &self,
        env: &'env Env,
        directory: String,
        safe: bool,
        max_shard: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let cancel = cancel.flag();
        job(env, move || {
            cancel.check()?;
            checkpoint::save_model(
                &shared.tree.read_recursive().model,
                &PathBuf::from(directory),
                safe,
                max_shard as u64,
            )
        })
    }

    /// Writes the base with the active (or named) LoRAs merged; the model stays as it is.
    #[napi(ts_return_type = "Promise<void>")]
    #[allow(clippy::too_many_arguments)]
    pub fn save_merged<'env>(
        &self,
        env: &'env Env,
        directory: String,
        names: Option<Vec<String>>,
        safe: bool,
        max_shard: f64,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let cancel = cancel.flag();
        job(env, move || {
            let tree = shared.tree.read_recursive();
            let _passes = shared.passes.read_recursive();
            let options = SaveOptions { names: None, peft_format: false, safe, max_shard: max_shard as u64 };
            let directory = PathBuf::from(directory);
            tree.save_merged(thread as u64, names.as_deref(), &directory, &options, &cancel, &|_| Ok(()))
        })
    }

    // ── adapters ────────────────────────────────────────────────────────────────────────────────────────────────────

    #[napi(ts_return_type = "Promise<string[]>")]
    pub fn prepare<'env>(
        &self,
        env: &'env Env,
        names: Vec<String>,
        configs: Vec<String>,
        options: NativePrepareOptions,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let cancel = cancel.flag();
        self.edit(env, move |m| {
            cancel.check()?;
            let configs = names
                .into_iter()
                .zip(configs)
                .map(|(name, json)| {
                    let value =
                        checkpoint::json::parse(json.as_bytes()).map_err(|e| Error::config("adapter config", e))?;
                    Ok((name, value))
                })
                .collect::<Core<Vec<_>>>()?;
            let options = PrepareOptions {
                extra_state_keys: options.extra_state_keys,
                inference_mode: options.inference_mode,
                seed: options.seed as u64,
            };
            m.prepare(thread as u64, &configs, &options)
        })
    }

    #[allow(clippy::wrong_self_convention)] // SWIFT's name
    #[napi(ts_return_type = "Promise<void>")]
    pub fn from_pretrained<'env>(
        &self,
        env: &'env Env,
        directory: String,
        options: NativeFromPretrainedOptions,
        thread: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let cancel = cancel.flag();
        self.edit(env, move |m| {
            cancel.check()?;
            let options = options.into_core()?;
            m.from_pretrained(thread as u64, &PathBuf::from(directory), &options)
        })
    }

    #[napi(ts_return_type = "Promise<string[]>")]
    #[allow(clippy::too_many_arguments)]
    pub fn save_pretrained<'env>(
        &self,
        env: &'env Env,
        directory: String,
        names: Option<Vec<String>>,
        peft_format: bool,
        safe: bool,
        max_shard: f64,
        cancel: &NativeCancelFlag,
    ) -> napi::Result<Object<'env>> {
        let shared = guard(|| self.get())?;
        let cancel = cancel.flag();
        job(env, move || {
            cancel.check()?;
            let tree = shared.tree.read_recursive();
            let options = SaveOptions { names, peft_format, safe, max_shard: max_shard as u64 };
            tree.save_pretrained(&PathBuf::from(directory), &options)
        })
    }

    #[napi]
    pub fn adapters(&self) -> napi::Result<Vec<NativeAdapter>> {
        self.read(|m| {
            let one = |(name, a): (&String, &swift_tuners_tuners::swift::Adapter)| NativeAdapter {
                name: name.clone(),
                config: a.config.to_json().to_string(),
            };
            Ok(m.adapters().iter().map(one).collect())
        })
    }

    #[napi]
    pub fn adapter_keys(&self, name: String, peft_format: bool) -> napi::Result<Vec<String>> {
        let format = if peft_format { Format::Peft } else { Format::Swift };
        self.read(|m| Ok(m.tensors(&name, format)?.into_iter().map(|(k, _)| k).collect()))
    }

    #[napi]
    pub fn active_adapters(&self, thread: f64) -> napi::Result<Vec<String>> {
        self.read(|m| Ok(m.active_names(thread as u64)))
    }

    #[napi]
    pub fn load_reports(&self) -> napi::Result<Vec<NativeLoadReport>> {
        self.read(|m| Ok(m.load_reports.iter().map(Into::into).collect()))
    }

    /// Returns the names that do not exist.
    #[napi]
    pub fn set_active(&self, names: Vec<String>, offload: Option<String>, thread: f64) -> napi::Result<Vec<String>> {
        self.read(|m| {
            let offload = offload.map(|o| Offload::parse(&o)).transpose()?;
            let unknown = m.set_active(thread as u64, &names, offload)?;
            offload.inspect(|_| crate::release_free_memory());
            Ok(unknown)
        })
    }

    #[napi]
    pub fn activate(&self, name: String, thread: f64) -> napi::Result<()> {
        self.read(|m| m.activate(thread as u64, &name))
    }

    #[napi]
    pub fn deactivate(&self, name: String, offload: Option<String>, thread: f64) -> napi::Result<()> {
        self.read(|m| {
            let offload = offload.map(|o| Offload::parse(&o)).transpose()?;
            m.deactivate(thread as u64, &name, offload)?;
            offload.inspect(|_| crate::release_free_memory());
            Ok(())
        })
    }

    #[napi]
    pub fn set_adapter(&self, names: Vec<String>, thread: f64) -> napi::Result<()> {
        self.read(|m| m.set_adapter(thread as u64, &names))
    }

    #[napi]
    pub fn delete_adapter(&self, name: String) -> napi::Result<()> {
        guard(|| {
            let shared = self.get()?;
            let Some(mut tree) = shared.tree.try_write() else {
                return Err(Error::Invalid("deleteAdapter: the model is in use; wait for running calls first".into()));
            };
            tree.delete(&name)
        })
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn merge<'env>(&self, env: &'env Env, names: Option<Vec<String>>, thread: f64) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| m.merge(thread as u64, names.as_deref()))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn unmerge<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.edit(env, |m| m.unmerge())
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn merge_and_unload<'env>(
        &self,
        env: &'env Env,
        names: Option<Vec<String>>,
        thread: f64,
    ) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| m.merge_and_unload(thread as u64, names.as_deref()))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn merge_and_unload_peft<'env>(
        &self,
        env: &'env Env,
        names: Option<Vec<String>>,
        safe: bool,
        thread: f64,
    ) -> napi::Result<Object<'env>> {
        self.edit(env, move |m| m.merge_and_unload_peft(thread as u64, names.as_deref(), safe))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn add_weighted_adapter<'env>(
        &self,
        env: &'env Env,
        options: NativeWeightedOptions,
        thread: f64,
    ) -> napi::Result<Object<'env>> {
        let o = options;
        let options = guard(|| {
            Ok(WeightedOptions {
                adapters: o.adapters,
                weights: o.weights,
                name: o.adapter_name,
                combination: Combination::parse(&o.combination_type)?,
                svd_rank: o.svd_rank.map(|r| r as usize),
                svd_clamp: o.svd_clamp,
                density: o.density,
                sign: o.majority_sign_method.map_or(Ok(SignMethod::Total), |s| SignMethod::parse(&s))?,
                seed: o.seed as u64,
            })
        })?;
        self.edit(env, move |m| m.add_weighted_adapter(thread as u64, &options))
    }

    #[napi]
    pub fn param_groups(&self, lr: f64, weight_decay: f64) -> napi::Result<Vec<NativeParamGroup>> {
        self.read(|m| {
            let one = |g: swift_tuners_tuners::swift::ParamGroup| NativeParamGroup {
                names: g.names,
                lr: g.lr,
                weight_decay: g.weight_decay,
            };
            Ok(m.param_groups(lr, weight_decay)?.into_iter().map(one).collect())
        })
    }

    #[napi]
    pub fn galore_groups(
        &self,
        targets: Vec<String>,
        weight_decay: f64,
        each: bool,
    ) -> napi::Result<Vec<NativeGaLoreGroup>> {
        self.read(|m| {
            let one = |g: swift_tuners_tuners::swift::GaLoreGroup| NativeGaLoreGroup {
                names: g.names,
                projected: g.projected,
                weight_decay: g.weight_decay,
            };
            Ok(m.galore_groups(&targets, weight_decay, each).into_iter().map(one).collect())
        })
    }

    #[napi]
    pub fn report(&self) -> napi::Result<String> {
        self.read(|m| Ok(m.report()))
    }
}

/// Tensors by name, filled one by one.
#[napi]
pub struct NativeStateDict(Vec<(String, swift_tuners_nn::Array)>);

#[napi]
impl NativeStateDict {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    #[napi]
    pub fn set(&mut self, name: String, value: &NativeTensor) -> napi::Result<()> {
        self.0.push((name, value.get().map_err(to_napi)?.into_data()));
        Ok(())
    }

    #[napi]
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(n, _)| n.clone()).collect()
    }

    /// In the order of the names.
    #[napi]
    pub fn tensors(&self) -> Vec<NativeTensor> {
        self.0.iter().map(|(_, a)| a.clone().into()).collect()
    }

    pub fn entries(&self) -> &[(String, swift_tuners_nn::Array)] {
        &self.0
    }

    pub fn of(entries: Vec<(String, swift_tuners_nn::Array)>) -> Self {
        Self(entries)
    }
}
