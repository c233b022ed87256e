//! Poly: LoRAs as skills, which a router mixes for each task.
//!
//! Ponti et al. 2022 (arXiv 2202.13914), Caccia et al. 2022 (arXiv 2211.03831); PEFT's `peft.tuners.poly`.

use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::method::Traits;
use crate::site::{Call, Input, Site};
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::{Array, Error, Param, Result, Tensor};

crate::words! {
    /// The one variant that PEFT has.
    pub enum PolyType { Poly = "poly" }
}

crate::config! {
    /// `PolyConfig`
    pub struct PolyConfig {
        standard: [peft, target_modules, exclude_modules, modules_to_save];
        /// Rank of a skill.
        r: usize = 8, in 1..;
        poly_type: PolyType = PolyType::Poly;
        n_tasks: usize = 1, in 1..;
        n_skills: usize = 4, in 1..;
        /// Parts of the features that are routed by themselves.
        n_splits: usize = 1, in 1..;
        /// False starts with random matrices throughout, so that the adapter acts at once.
        init_weights: bool = true;
    }
}

/// `y + x A B / r`, A and B the skills' weighted by `σ(logits[task])`, which sum to one.
#[derive(Clone)]
pub struct Poly {
    /// `[tasks, splits · skills]`
    logits: Param,
    /// `[splits, skills, in / splits, r]`
    a: Param,
    /// `[splits, skills, r, out / splits]`
    b: Param,
}

impl LayerKind for Poly {
    const NAME: &'static str = "POLY";
    const CLASS: &'static str = "PolyConfig";
    const ABOUT: &'static str =
        "LoRAs as skills, which a router mixes for each task; passes take `taskIds`. Ponti et al. 2022 (arXiv 2202.13914).";
    const TRAITS: Traits = Traits::DEFAULT;
    type Config = PolyConfig;
    type Adapter = Self;

    fn new(c: &PolyConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        site.require(|k| *k == WeightKind::Linear { transposed: false }, "torch.nn.Linear")?;
        let (splits, skills, r) = (c.n_splits, c.n_skills, c.r);
        if !site.inputs.is_multiple_of(splits) || !site.outputs.is_multiple_of(splits) {
            let why = format!(
                "{splits} do not divide the {} inputs and {} outputs of {}",
                site.inputs, site.outputs, site.path
            );
            return Err(Error::config("n_splits", why));
        }
        let (inputs, outputs) = (site.inputs / splits, site.outputs / splits);
        let a = drawn(init, [splits, skills, inputs, r])?;
        let b = match c.init_weights {
            true => init.constant(&[splits, skills, r, outputs], 0.)?,
            false => drawn(init, [splits, skills, r, outputs])?,
        };
        let logits = init.uniform(&[c.n_tasks, splits * skills], -1e-3, 1e-3)?;
        Ok(Self { logits, a, b })
    }
}

/// `[splits, skills, rows, columns]`, drawn skill by skill as the transposes of linear layers' weights.
fn drawn(init: &mut Init, shape: [usize; 4]) -> Result<Param> {
    let [splits, skills, rows, columns] = shape;
    init.param(&shape, move |g| {
        let mut matrices = Vec::with_capacity(splits * skills);
        for _ in 0..splits * skills {
            matrices.push(g.kaiming_uniform(&[columns, rows], 5f64.sqrt())?.t()?.contiguous()?);
        }
        let stacked = Array::stack(&matrices, 0)?.reshape((skills, splits, rows, columns))?;
        Ok(stacked.transpose(0, 1)?.contiguous()?)
    })
}

impl Poly {
    /// How much of each skill each row gets: `[batch, splits, skills]`.
    fn weights(&self, call: &Call<'_>, batch: usize) -> Result<Tensor> {
        let Some(tasks) = call.cx.input("task_ids") else {
            return Err(Error::Argument("taskIds: missing; Poly needs the task of each row".into()));
        };
        let shape = self.a.shape();
        let (splits, skills, known) = (shape[0], shape[1], self.logits.shape()[0] as i64);
        if let Some(task) = tasks.data.iter().find(|&&t| t < 0 || t >= known) {
            return Err(Error::Argument(format!("taskIds: {task} is none of the {known} tasks")));
        }
        if tasks.data.len() != batch {
            return Err(Error::Argument(format!("taskIds: {} for a batch of {batch}", tasks.data.len())));
        }
        let ids: Vec<u32> = tasks.data.iter().map(|&t| t as u32).collect();
        let index = Array::from_vec(ids, batch, &call.site.device)?;
        let mut logits = call.value(&self.logits)?.index_select(&index, 0)?.reshape((batch, splits, skills))?;
        if call.training() {
            // A relaxed Bernoulli variable at temperature 1.
            let mut rng = Rng::new(call.cx.next_seed());
            let noise: Vec<f32> = (0..batch * splits * skills)
                .map(|_| {
                    let u = rng.uniform().clamp(f64::from(f32::EPSILON), 1. - f64::from(f32::EPSILON));
                    (u.ln() - (1. - u).ln()) as f32
                })
                .collect();
            let noise = Array::from_vec(noise, (batch, splits, skills), &call.site.device)?;
            logits = logits.add(&noise.to_dtype(logits.dtype())?.into())?;
        }
        let chances = logits.sigmoid()?;
        chances.div(&chances.sum(Some(&[-1]), true)?.affine(1., 1e-12)?)
    }

    /// The skills of `of [splits, skills, rows, columns]` mixed for each row: `[batch, splits, rows, columns]`.
    fn mixed(weights: &Tensor, of: &Tensor) -> Result<Tensor> {
        let (batch, splits, skills) = (weights.dim(0), weights.dim(1), weights.dim(2));
        let (rows, columns) = (of.dim(2), of.dim(3));
        let weights = weights.transpose(0, 1)?.contiguous()?; // [splits, batch, skills]
        let mixed = weights.matmul(&of.reshape((splits, skills, rows * columns))?)?;
        mixed.transpose(0, 1)?.contiguous()?.reshape((batch, splits, rows, columns))
    }
}

impl LayerAdapter for Poly {
    const GROUPS: &'static [&'static str] = &["poly_router", "poly_lora_A", "poly_lora_B"];

    const MERGES: bool = false;

    fn parts(&self) -> Vec<Part<'_>> {
        vec![
            Part::leaf("poly_router", ".module_logits", &self.logits),
            Part::trained("poly_lora_A", &self.a),
            Part::trained("poly_lora_B", &self.b),
        ]
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        let (x, a, b) = (x.tensor()?, call.value(&self.a)?, call.value(&self.b)?);
        let &[batch, _, inputs] = x.dims() else {
            return Err(Error::Argument(format!("Poly: expected [batch, seq, in], found {:?}", x.dims())));
        };
        let weights = self.weights(call, batch)?;
        let (r, outputs) = (a.dim(3), b.dim(0) * b.dim(3));
        let down = Self::mixed(&weights, &a)?.reshape((batch, inputs, r))?;
        let up = Self::mixed(&weights, &b)?.transpose(1, 2)?.contiguous()?.reshape((batch, r, outputs))?;
        x.to_dtype(a.dtype())?.matmul(&down)?.matmul(&up)?.affine(1. / r as f64, 0.).map(Some)
    }
}
