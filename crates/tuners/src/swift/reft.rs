//! ReFT: interventions on the hidden states of chosen layers and positions.
//!
//! Wu et al. 2024 (arXiv 2404.03592); Python's `swift.tuners.reft` over `pyreft`.

use crate::blocks::Dense;
use crate::config::Dialect;
use crate::fields::{FieldType, OneOrMore};
use crate::init::Init;
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::target::KeyMapping;
use crate::target::{attach_at, Place};
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::{torch_bin, Tensors};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::models::Keys;
use swift_tuners_nn::module::Visitor;
use swift_tuners_nn::module::{model_nodes, Args, Next, Part, Position, Role, Tuner, Value};
use swift_tuners_nn::ops::{self, Activation, WeightLayout};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Param, Result, Tensor};

crate::words! {
    /// The formulas, with `R [dim, r]` orthonormal, `W`, `P` `[r, dim]`.
    pub enum Formula {
        /// `h + (act(h Wᵀ + b) − h R) Rᵀ`
        Loreft = "LoreftIntervention",
        /// `h + (act(h Wᵀ + b) − (h Pᵀ + p)) P`
        Noreft = "NoreftIntervention",
        /// `h + (c − h R) Rᵀ`
        Consreft = "ConsreftIntervention",
        /// `h + c Rᵀ`
        Lobireft = "LobireftIntervention",
        /// `h + act(h Wᵀ + b) Rᵀ`
        Direft = "DireftIntervention",
        /// `h + act(h Wᵀ + b) P`
        Nodireft = "NodireftIntervention",
    }
}

crate::config! {
    /// `ReftConfig`
    pub struct ReftConfig {
        standard: [];
        model_key_mapping: Option<KeyMapping> = None;
        /// SWIFT's name of the architecture; or give `layerKey`.
        model_type: Option<String> = None;
        /// The path of the list of layers.
        layer_key: Option<String> = None;
        /// Default all.
        layers: Option<OneOrMore<u64>> = None;
        r: usize = 4, in 1..;
        intervention_type: Formula = Formula::Loreft;
        /// `add_bias`, `act_fn`, `dropout`; as JSON text or as an object.
        args: InterventionArgs = InterventionArgs(Map::new());
    }
}

/// The kind of tuner.
pub struct Reft;

impl Kind for Reft {
    const NAME: &'static str = "reft";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "ReftConfig";
    const ABOUT: &'static str = "Interventions on hidden states. Wu et al. 2024 (arXiv 2404.03592).";
    const TRAITS: Traits = Traits { read_other: Some(read_pyreft), ..Traits::DEFAULT };
    type Config = ReftConfig;

    fn check(config: &ReftConfig) -> Result<()> {
        Options::new(config)?;
        list_path(config).map(|_| ())
    }

    fn attach(config: &ReftConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

impl Formula {
    fn projects(self) -> bool {
        matches!(self, Self::Noreft | Self::Nodireft)
    }

    fn constant(self) -> bool {
        matches!(self, Self::Consreft | Self::Lobireft)
    }
}

/// What `args` holds.
struct Options {
    kind: Formula,
    r: usize,
    add_bias: bool,
    act: Activation,
    dropout: f64,
}

impl Options {
    fn new(c: &ReftConfig) -> Result<Self> {
        let (kind, args) = (c.intervention_type, &c.args.0);
        let add_bias = match args.get("add_bias") {
            Some(Json::Bool(b)) => *b,
            None | Some(Json::Null) if !kind.projects() => false,
            None | Some(Json::Null) => {
                let name = printable(&kind.json().to_string(), 60);
                return Err(Error::config("args.add_bias", format!("missing: {name} needs true or false")));
            }
            Some(v) => return Err(Error::config("args.add_bias", format!("found {}", printable(&v.to_string(), 40)))),
        };
        let act = match args.get("act_fn") {
            None | Some(Json::Null) => Activation::Identity,
            Some(Json::String(name)) => Activation::parse(name, "args.act_fn")?,
            Some(v) => return Err(Error::config("args.act_fn", format!("found {}", printable(&v.to_string(), 40)))),
        };
        let dropout = match args.get("dropout") {
            None | Some(Json::Null) => 0.,
            Some(v) => v.as_f64().filter(|p| (0. ..1.).contains(p)).ok_or_else(|| {
                Error::config(
                    "args.dropout",
                    format!("expected a probability, found {}", printable(&v.to_string(), 40)),
                )
            })?,
        };
        Ok(Self { kind, r: c.r, add_bias, act, dropout })
    }
}

/// `args`: JSON text when it is given, an object once it was saved.
#[derive(Clone, Debug)]
pub struct InterventionArgs(Map<String, Json>);

impl FieldType for InterventionArgs {
    const WANTED: &'static str = "an object, or one as JSON text";
    fn typescript() -> String {
        "string | { add_bias?: boolean; act_fn?: string; dropout?: number }".into()
    }
    fn of(value: &Json) -> Option<Self> {
        match value {
            Json::Null => Some(Self(Map::new())),
            Json::Object(map) => Some(Self(map.clone())),
            Json::String(text) => match serde_json::from_str(text) {
                Ok(Json::Object(map)) => Some(Self(map)),
                _ => None,
            },
            _ => None,
        }
    }
    fn json(&self) -> Json {
        Json::Object(self.0.clone())
    }
}

/// The list of layers that interventions go to.
fn list_path(c: &ReftConfig) -> Result<String> {
    if let Some(key) = &c.layer_key {
        return Ok(key.clone());
    }
    if let Some(key) = c.model_key_mapping.as_ref().and_then(|m| m.get("module_list")) {
        return Ok(key.to_owned());
    }
    let name = c.model_type.as_deref().unwrap_or("");
    match Keys::swift_architecture(name) {
        Some((blocks, _, _)) => Ok(blocks.to_owned()),
        None => Err(Error::config(
            "model_type",
            format!("{:?} is no architecture that SWIFT knows (llama, phi3, …); give layer_key", printable(name, 60)),
        )),
    }
}

fn attach(c: &ReftConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    if a.model.root.tuners.iter().any(|t| t.as_any().is::<Interventions>()) {
        return Err(Error::Invalid("ReFT: the model has interventions of another adapter already".into()));
    }
    let options = Options::new(c)?;
    let list = list_path(c)?;
    let layers = match &c.layers {
        None => Vec::new(),
        Some(OneOrMore::One(layer)) => vec![*layer],
        Some(OneOrMore::More(layers)) => layers.clone(),
    };
    let width = ["hidden_size", "n_embd", "d_model"].iter().find_map(|k| a.model.config.get(*k)?.as_u64());
    let Some(width) = width.map(|w| w as usize) else {
        return Err(Error::Invalid("ReFT: config.json has no hidden_size".into()));
    };
    if options.r >= width {
        return Err(Error::config("r", format!("{} must be below the hidden size {width}", options.r)));
    }
    let mut places = Vec::new();
    for (path, node) in model_nodes(&a.model.root) {
        let index = path.strip_prefix(&list).and_then(|p| p.strip_prefix('.')).and_then(|n| n.parse::<u64>().ok());
        if let Some(index) = index.filter(|i| layers.is_empty() || layers.contains(i)) {
            places.push((index, Place { id: node.id(), path }));
        }
    }
    if places.is_empty() {
        return Err(Error::Target { pattern: format!("layers of {:?}", printable(&list, 80)), nearest: Vec::new() });
    }
    let mut parts = Vec::new();
    for (index, _) in &places {
        let component = list.replace('.', "_");
        parts.push((
            format!("comp_{component}[{index}]_output_unit_pos_nunit_1#0"),
            Parts::new(&options, width, a.init)?,
        ));
    }
    let holder = Interventions { id, parts: parts.clone() };
    a.model.root.tuners.push(Box::new(holder));
    let places: Vec<Place> = places.into_iter().map(|(_, p)| p).collect();
    attach_at(&mut a.model.root, &places, |i, node| {
        node.tuners.push(Box::new(Intervention {
            id,
            name: name.to_owned(),
            index: i,
            parts: parts[i].1.clone(),
            kind: options.kind,
            act: options.act,
            dropout: options.dropout,
        }));
        Ok(())
    })?;
    let mut config = a.config.clone();
    config.fields.insert("args".into(), c.args.json());
    Ok(Attachment::new(&config))
}

/// The tensors of one intervention.
#[derive(Clone)]
struct Parts {
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
    fn new(o: &Options, width: usize, init: &mut Init) -> Result<Self> {
        Ok(Self {
            rotation: if o.kind.projects() { None } else { Some(Rotation::new(width, o.r, init)?) },
            source: if o.kind.constant() {
                Source::Constant(init.uniform(&[o.r], 0., 1.)?)
            } else {
                Source::Linear(init.dense(width, o.r, true)?)
            },
            projection: if o.kind.projects() { Some(init.dense(width, o.r, o.add_bias)?) } else { None },
        })
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

const ORIGINAL: &str = "rotate_layer.parametrizations.weight.original";
const BASE: &str = "rotate_layer.parametrizations.weight.0.base";

/// `R = base · H₁ … H_r I · signs`: a product of Householder reflections whose vectors are the columns of `original` below its
/// diagonal, the signs its diagonal. `torch.nn.utils.parametrizations.orthogonal` of a tall matrix.
#[derive(Clone)]
struct Rotation {
    /// `[dim, r]`
    original: Param,
    /// `[dim, dim]`, constant.
    base: Param,
}

impl Rotation {
    fn new(width: usize, r: usize, init: &mut Init) -> Result<Self> {
        let start = init.normal(&[width, r], 1.)?.array()?;
        let (original, base) = from_columns(&start)?;
        let param = |x: &Array, trained: bool| -> Result<Param> {
            Ok(Param::new(x.to_dtype(init.dtype)?.to_device(&init.device)?, trained))
        };
        Ok(Self { original: param(&original, true)?, base: param(&base, false)? })
    }

    fn matrix(&self, cx: &Context) -> Result<Tensor> {
        let original = self.original.value(cx.grad)?;
        let (n, r) = (original.dim(0), original.dim(1));
        let (dtype, device) = (original.dtype(), original.device().clone());
        let fill = |f: &dyn Fn(usize, usize) -> bool| -> Result<Tensor> {
            let values: Vec<f32> =
                (0..n).flat_map(|i| (0..r).map(move |j| (i, j))).map(|(i, j)| f32::from(u8::from(f(i, j)))).collect();
            Ok(Array::from_vec(values, (n, r), &candle_core::Device::Cpu)?.to_dtype(dtype)?.to_device(&device)?.into())
        };
        let unit = fill(&|i, j| i == j)?;
        let vectors = original.mul(&fill(&|i, j| i > j)?)?;
        let tau = vectors.sqr()?.sum(Some(&[0]), true)?.affine(1., 1.)?; // [1, r], 2 / τ
        let vectors = vectors.add(&unit)?;
        let mut q = unit.clone();
        for j in (0..r).rev() {
            let v = vectors.narrow(1, j, 1)?.contiguous()?; // [n, 1]
            let reflected = v.matmul(&v.transpose(0, 1)?.contiguous()?.matmul(&q)?)?.affine(2., 0.)?;
            q = q.sub(&reflected.div(&tau.narrow(1, j, 1)?)?)?;
        }
        // The signs are constants for the gradient.
        // Python truncates them to integers, so that weight decay turns a column off: -0.99 becomes 0. Here the sign counts.
        let signs = original.data().mul(unit.data())?.sum_keepdim(0)?.sign()?;
        let q = q.mul(&signs.into())?;
        Tensor::from(self.base.array()?).matmul(&q)
    }
}

/// Householder parameters that give orthonormal columns in the span of `columns [dim, r]` (the columns themselves when they
/// are orthonormal): no reflection, and a base that completes them.
fn from_columns(columns: &Array) -> Result<(Array, Array)> {
    let (n, r) = columns.dims2()?;
    let values: Vec<Vec<f32>> =
        columns.to_dtype(candle_core::DType::F32)?.to_device(&candle_core::Device::Cpu)?.to_vec2()?;
    // Gram and Schmidt, twice over, first over the columns and then over the axes until the basis is complete.
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(n);
    let candidates = (0..r).map(|j| values.iter().map(|row| f64::from(row[j])).collect::<Vec<f64>>());
    let axes = (0..n).map(|i| (0..n).map(|k| f64::from(u8::from(i == k))).collect::<Vec<f64>>());
    for mut v in candidates.chain(axes) {
        if basis.len() == n {
            break;
        }
        let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let before = length(&v);
        for _ in 0..2 {
            for b in &basis {
                let dot: f64 = b.iter().zip(&v).map(|(x, y)| x * y).sum();
                v.iter_mut().zip(b).for_each(|(x, y)| *x -= dot * y);
            }
        }
        let after = length(&v);
        if after > 1e-6 * before.max(1e-30) {
            v.iter_mut().for_each(|x| *x /= after);
            basis.push(v);
        } else if basis.len() < r {
            return Err(Error::Invalid("ReFT: the rotation's columns are linearly dependent".into()));
        }
    }
    let base: Vec<f32> = (0..n).flat_map(|i| basis.iter().map(move |b| b[i] as f32)).collect();
    let cpu = &candle_core::Device::Cpu;
    let mut original = vec![0f32; n * r];
    (0..r).for_each(|j| original[j * r + j] = -1.);
    Ok((Array::from_vec(original, (n, r), cpu)?, Array::from_vec(base, (n, n), cpu)?))
}

/// Has the parameters at the root, where Python keeps them.
#[derive(Clone)]
struct Interventions {
    id: AdapterId,
    /// Key and tensors, by layer.
    parts: Vec<(String, Parts)>,
}

impl Tuner for Interventions {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        if let Some(locations) = &cx.locations {
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
struct Intervention {
    id: AdapterId,
    name: String,
    index: usize,
    parts: Parts,
    kind: Formula,
    act: Activation,
    dropout: f64,
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
        let Some(locations) = &cx.locations else {
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
        let decoding = cx.locations.is_some() && cx.decoding;
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

    fn adapters(&self) -> &[AdapterId] {
        std::slice::from_ref(&self.id)
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        adapter == self.id
    }
}

/// pyreft's files: a pickle of tensors per intervention, `intkey_<key>.bin`.
fn read_pyreft(folder: &Path) -> Result<Option<(PathBuf, Tensors)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        if let Some(name) = entry.file_name().to_str() {
            if let Some(key) = name.strip_prefix("intkey_").and_then(|n| n.strip_suffix(".bin")) {
                files.push((key.to_owned(), entry.path()));
            }
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    files.sort();
    let mut out = Tensors::new();
    for (key, path) in &files {
        let at = |leaf: &str| format!("interventions.{key}.{leaf}");
        for (name, tensor) in torch_bin::read(path)? {
            match name.as_str() {
                // Sizes that pyvene keeps beside the weights.
                "embed_dim" | "interchange_dim" => {}
                // LoReFT's state is its linear layer and the rotation that is in effect.
                "weight" | "bias" => drop(out.insert(at(&format!("learned_source.{name}")), tensor)),
                "rotate_layer" => {
                    if tensor.rank() != 2 || tensor.dims()[1] >= tensor.dims()[0] {
                        return Err(Error::Mismatch {
                            path: path.clone(),
                            message: format!("tensor rotate_layer: shape {:?} is no tall matrix", tensor.dims()),
                        });
                    }
                    let (original, base) = from_columns(&tensor).map_err(|e| Error::Mismatch {
                        path: path.clone(),
                        message: format!("tensor rotate_layer: {e}"),
                    })?;
                    out.insert(at(ORIGINAL), original);
                    out.insert(at(BASE), base);
                }
                _ => drop(out.insert(at(&name), tensor)),
            }
        }
    }
    Ok(Some((files.swap_remove(0).1, out)))
}
