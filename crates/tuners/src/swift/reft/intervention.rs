//! The tensors of interventions, and what they do to a layer's output.

use super::options::Options;
use super::rotation::{Rotation, BASE, ORIGINAL};
use super::Formula;
use crate::blocks::Dense;
use crate::init::Init;
use swift_tuners_nn::module::{Args, Next, Part, Position, Role, Tuner, Value, Visitor};
use swift_tuners_nn::ops::{self, Activation, WeightLayout};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Param, Result, Tensor};

/// The input that says where interventions act: `[batch, interventions, positions]`.
const LOCATIONS: &str = "intervention_locations";

/// The tensors of one intervention.
#[derive(Clone)]
pub struct Parts {
    rotation: Option<Rotation>,
    /// A linear layer, or a constant `[r]`.
    source: Source,
    projection: Option<Dense>,
}

#[derive(Clone)]
enum Source {
    Linear(Dense),
    Constant(Param),
}

impl Parts {
    pub fn new(o: &Options, width: usize, init: &mut Init) -> Result<Self> {
        // Python rounds the linear layers to bfloat16, so that a f32 model fails; here they are as wide as the model, or f32.
        let projects = o.kind.projects();
        let rotation = if projects { None } else { Some(Rotation::new(width, o.r, init)?) };
        let projection = if projects { Some(init.dense(width, o.r, o.add_bias)?) } else { None };
        let source = if o.kind.constant() {
            Source::Constant(init.uniform(&[o.r], 0., 1.)?)
        } else {
            Source::Linear(init.dense(width, o.r, true)?)
        };
        Ok(Self { rotation, source, projection })
    }

    /// In pyreft's order.
    fn tensors(&self) -> Vec<(String, &Param, Role)> {
        let mut out = Vec::new();
        if let Source::Constant(c) = &self.source {
            out.push(("learned_source".to_owned(), c, Role::Trained));
        }
        if let Some(r) = &self.rotation {
            out.push((ORIGINAL.to_owned(), &r.original, Role::Trained));
            out.push((BASE.to_owned(), &r.base, Role::Buffer { saved: true }));
        }
        if let Some(p) = &self.projection {
            out.extend(of_dense("proj_layer", p));
        }
        if let Source::Linear(d) = &self.source {
            out.extend(of_dense("learned_source", d));
        }
        out
    }
}

fn of_dense<'a>(name: &str, d: &'a Dense) -> impl Iterator<Item = (String, &'a Param, Role)> {
    let weight = (format!("{name}.weight"), &d.weight, Role::Trained);
    let bias = d.bias.as_ref().map(|b| (format!("{name}.bias"), b, Role::Trained));
    std::iter::once(weight).chain(bias)
}

/// Has the parameters at the root, where Python keeps them.
#[derive(Clone)]
pub struct Interventions {
    pub id: AdapterId,
    /// Key and tensors, by layer.
    pub parts: Vec<(String, Parts)>,
}

impl Tuner for Interventions {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        if let Some(locations) = cx.input(LOCATIONS) {
            let fits = matches!(locations.shape[..], [_, interventions, _] if interventions == self.parts.len());
            if !fits {
                return Err(Error::Shape {
                    path: "interventionLocations ([batch, interventions, positions])".into(),
                    expected: vec![locations.shape.first().copied().unwrap_or(1), self.parts.len(), 1],
                    actual: locations.shape.clone(),
                });
            }
        }
        next.run(cx, args)
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        v.scope("interventions");
        for (key, parts) in &self.parts {
            v.scope(&format!("interventions.{key}"));
            let at = |leaf: &str| format!("interventions.{key}.{leaf}");
            if let Source::Constant(c) = &parts.source {
                v.param(&at("learned_source"), c);
            }
            if let Some(r) = &parts.rotation {
                v.param(&at(ORIGINAL), &r.original);
            }
            let source = if let Source::Linear(d) = &parts.source { Some(d) } else { None };
            for (name, dense) in [("proj_layer", parts.projection.as_ref()), ("learned_source", source)] {
                if let Some(d) = dense {
                    v.param(&at(&format!("{name}.weight")), &d.weight);
                    if let Some(b) = &d.bias {
                        v.param(&at(&format!("{name}.bias")), b);
                    }
                }
            }
        }
    }

    fn adapters(&self) -> &[AdapterId] {
        std::slice::from_ref(&self.id)
    }

    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        let mut out = Vec::new();
        for (key, parts) in self.parts.iter().filter(|_| adapter == self.id) {
            for (name, param, role) in parts.tensors() {
                out.push(Part::plain(format!("interventions.{key}.{name}"), param).role(role));
            }
        }
        out
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        adapter == self.id
    }
}

/// Edits a layer's output, everywhere or at the positions that the pass names.
#[derive(Clone)]
pub struct Intervention {
    pub id: AdapterId,
    pub name: String,
    pub index: usize,
    pub parts: Parts,
    pub kind: Formula,
    pub act: Activation,
    pub dropout: f64,
}

impl Intervention {
    fn edit(&self, cx: &Context, h: &Tensor) -> Result<Tensor> {
        let source = match &self.parts.source {
            Source::Linear(dense) => self.act.forward(&dense.apply(cx, h)?)?,
            Source::Constant(c) => c.value(cx.grad)?,
        };
        let delta = match (&self.parts.rotation, &self.parts.projection) {
            (Some(rotation), _) => {
                let r = rotation.matrix(cx)?; // [dim, r]
                let low = match self.kind {
                    Formula::Loreft | Formula::Consreft => {
                        source.sub(&ops::linear(h, &r, None, WeightLayout::InOut)?)?
                    }
                    _ => source,
                };
                ops::linear(&low, &r, None, WeightLayout::OutIn)?
            }
            (None, Some(p)) => {
                let low = if self.kind == Formula::Noreft { source.sub(&p.apply(cx, h)?)? } else { source };
                ops::linear(&low, &p.weight.value(cx.grad)?, None, WeightLayout::InOut)?
            }
            (None, None) => return Err(Error::Invalid("ReFT: an intervention without weights".into())),
        };
        cx.dropout(&h.add(&delta)?, self.dropout)
    }

    /// 1 at the positions that change, `[batch, seq, 1]`.
    fn chosen(&self, cx: &Context, h: &Tensor) -> Result<Option<Tensor>> {
        let Some(locations) = cx.input(LOCATIONS) else {
            return Ok(None);
        };
        let (batch, seq) = (h.dim(0), h.dim(1));
        let [rows, interventions, positions] = locations.shape[..] else {
            return Err(Error::Argument("interventionLocations: expected three dimensions".into()));
        };
        if rows != batch {
            return Err(Error::Shape {
                path: format!("interventionLocations for {}", self.name),
                expected: vec![batch, interventions, positions],
                actual: locations.shape.clone(),
            });
        }
        let mut mask = vec![0f32; batch * seq];
        for row in 0..batch {
            let start = (row * interventions + self.index) * positions;
            for &at in &locations.data[start..start + positions] {
                if at < 0 || at >= seq as i64 {
                    return Err(Error::Argument(format!(
                        "interventionLocations: position {at} is not in a sequence of {seq}"
                    )));
                }
                mask[row * seq + at as usize] = 1.;
            }
        }
        let mask = Array::from_vec(mask, (batch, seq, 1), &candle_core::Device::Cpu)?;
        Ok(Some(mask.to_dtype(h.dtype())?.to_device(h.device())?.into()))
    }
}

impl Tuner for Intervention {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        // Positions are those of the prompt; what is decoded afterwards is left alone when they were named.
        let decoding = cx.input(LOCATIONS).is_some() && cx.decoding;
        let mut value = next.run(cx, args)?;
        if decoding {
            return Ok(value);
        }
        let out = value.element_mut(&Some(Position::Index(0)))?;
        let dtype = self.parts.tensors().first().map_or(out.dtype(), |(_, p, _)| p.dtype());
        let h = out.to_dtype(dtype)?;
        let edited = self.edit(cx, &h)?;
        let edited = match self.chosen(cx, &h)? {
            Some(mask) => edited.mul(&mask)?.add(&h.mul(&mask.affine(-1., 1.)?)?)?,
            None => edited,
        };
        *out = edited.to_dtype(out.dtype())?;
        Ok(value)
    }

    fn visit<'a>(&'a self, _: &mut dyn Visitor<'a>) {}

    fn borrowed(&self) -> Vec<&Param> {
        self.parts.tensors().into_iter().map(|(_, param, _)| param).collect()
    }

    fn adapters(&self) -> &[AdapterId] {
        std::slice::from_ref(&self.id)
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        adapter == self.id
    }
}
