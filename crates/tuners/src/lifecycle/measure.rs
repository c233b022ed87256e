//! What data tells of layers before adapters are made for them: passes of the plain model that are watched.

use super::TunedModel;
use crate::config::TunerConfig;
use crate::measured::add;
use crate::target::{self, attach_at, Place};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use swift_tuners_nn::module::{named_nodes, own_parameters, Args, Next, Rows, Tuner, Value, Visitor, Weights};
use swift_tuners_nn::{AdapterId, Array, CancelFlag, Context, Error, Inputs, Param, Result};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The gradient of the loss for the layer's weight, in training mode.
    Gradient,
    /// The products of what goes in with itself: `xᵀ x` of each row of a batch, divided by its largest value's magnitude first.
    Covariance,
}

impl Measure {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "gradient" => Ok(Self::Gradient),
            "covariance" => Ok(Self::Covariance),
            other => Err(Error::Argument(format!("nothing is measured that is called {other:?}"))),
        }
    }
}

/// Notes what goes into layers.
#[derive(Clone)]
struct Watch {
    id: [AdapterId; 1],
    place: usize,
    seen: Arc<Mutex<Vec<(usize, Array)>>>,
}

impl Tuner for Watch {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let x = args.tensor(0, "input")?.data().clone();
        self.seen.lock().push((self.place, x));
        next.run(cx, args)
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.id
    }

    fn rows(&self, _: &Context) -> Result<Rows> {
        Ok(Rows::Together)
    }

    fn visit<'a>(&'a self, _: &mut dyn Visitor<'a>) {}

    fn detach(&mut self, adapter: AdapterId) -> bool {
        self.id[0] == adapter
    }
}

impl TunedModel {
    /// The linear layers that a configuration means, by path; PEFT's table says which where it names none.
    pub(crate) fn linear_targets(&self, config: &TunerConfig) -> Result<Vec<String>> {
        let mut config = config.clone();
        if config.get("target_modules").is_none() {
            let defaults: Vec<String> = self.model.keys.lora_targets.iter().map(|&t| t.to_owned()).collect();
            config.set("target_modules", defaults);
        }
        let copied = config.texts("modules_to_save")?.unwrap_or_default();
        let mut paths = target::resolve(&self.model, &config, &copied)?;
        let nodes: HashMap<String, _> = named_nodes(&self.model.root).into_iter().collect();
        paths.retain(|p| matches!(nodes.get(p).and_then(|n| n.module().weights()), Some(Weights::Linear { .. })));
        if paths.is_empty() {
            return Err(Error::config(
                "target_modules",
                "none of the layers is linear, so that nothing can be measured",
            ));
        }
        Ok(paths)
    }

    /// Runs the model without adapters, in evaluation mode, and gives what goes into these layers, in the order of the pass.
    pub(crate) fn observe(
        &mut self,
        paths: &[String],
        inputs: &Inputs,
        cancel: &CancelFlag,
    ) -> Result<Vec<(String, Array)>> {
        let id = AdapterId(self.next_id);
        self.next_id += 1;
        let seen: Arc<Mutex<Vec<(usize, Array)>>> = Arc::default();
        let nodes: HashMap<String, _> =
            named_nodes(&self.model.root).into_iter().map(|(path, node)| (path, node.id())).collect();
        let place = |path: &String| nodes.get(path).map(|&id| Place { id, path: path.clone() });
        let places: Vec<Place> = paths.iter().filter_map(place).collect();
        let attached = attach_at(&mut self.model.root, &places, |place, node| {
            node.tuners.push(Box::new(Watch { id: [id], place, seen: seen.clone() }));
            Ok(())
        });
        let cx = Context { active: Arc::new(vec![id]), grad: false, cancel: cancel.clone(), ..Context::default() };
        let result = attached.and_then(|()| self.model.forward(&cx, inputs));
        self.remove_from_tree(&[id]);
        result?;
        let seen = std::mem::take(&mut *seen.lock());
        Ok(seen.into_iter().map(|(at, x)| (places[at].path.clone(), x)).collect())
    }

    /// Adds what one batch tells of the layers that the configuration means. The next [`TunedModel::prepare`] uses it up.
    pub fn measure(
        &mut self,
        measure: Measure,
        config: &TunerConfig,
        inputs: &Inputs,
        cancel: &CancelFlag,
    ) -> Result<()> {
        let paths = self.linear_targets(config)?;
        match measure {
            Measure::Gradient => self.measure_gradients(&paths, inputs, cancel),
            Measure::Covariance => {
                for (path, x) in self.observe(&paths, inputs, cancel)? {
                    let width = x.dims().last().copied().unwrap_or(1);
                    let batch = if x.rank() > 2 { x.dims()[0] } else { 1 };
                    let rows = x.elem_count() / (width * batch).max(1);
                    let x = x.to_dtype(candle_core::DType::F32)?.reshape((batch, rows, width))?;
                    for i in 0..batch {
                        let row = x.get(i)?;
                        let most = row.flatten_all()?.max(0)?.abs()?.to_scalar::<f32>()?;
                        let row = (row / f64::from(most))?;
                        let product = row.t()?.contiguous()?.matmul(&row)?;
                        if !swift_tuners_nn::ops::all_finite(&product)? {
                            return Err(Error::Invalid(format!("{path}: what goes in holds NaN or infinite values")));
                        }
                        add(&mut self.measured.entry(path.clone()).or_default().covariance, product)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn measure_gradients(&mut self, paths: &[String], inputs: &Inputs, cancel: &CancelFlag) -> Result<()> {
        let nodes: HashMap<String, _> = named_nodes(&self.model.root).into_iter().collect();
        let mut targets = Vec::new();
        for path in paths {
            let Some(weights) = nodes.get(path).and_then(|n| n.module().weights()) else { continue };
            let weight = weights.weight().clone();
            if weight.packing().is_some() {
                return Err(Error::config("target_modules", format!("{path} is packed and has no gradient")));
            }
            targets.push((path.clone(), weights.kind(), weight));
        }
        let all: Vec<(Param, bool)> =
            own_parameters(&self.model.root).into_iter().map(|(_, p)| (p.clone(), p.requires_grad())).collect();
        all.iter().for_each(|(p, _)| p.set_requires_grad(false));
        targets.iter().for_each(|(_, _, p)| p.set_requires_grad(true));
        let cx = Context { training: true, cancel: cancel.clone(), ..Context::default() };
        let run = || -> Result<Vec<(String, Array)>> {
            let loss = self.model.forward(&cx, inputs)?.loss;
            loss.ok_or_else(|| Error::Argument("gradients need labels or a target in each batch".into()))?
                .backward()?;
            let grad = |(path, kind, p): &(String, swift_tuners_nn::module::WeightKind, Param)| {
                p.grad().map(|g| Ok((path.clone(), kind.matrix(&g)?)))
            };
            targets.iter().filter_map(grad).collect()
        };
        let found = run();
        for (p, on) in all {
            p.set_grad(None);
            p.set_requires_grad(on);
        }
        for (path, gradient) in found? {
            add(&mut self.measured.entry(path).or_default().gradient, gradient)?;
        }
        Ok(())
    }
}
