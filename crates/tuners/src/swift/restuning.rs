//! Res-Tuning: a bypass network beside the frozen model, fed by what its modules take in and give out.
//!
//! Jiang et al. 2023 (arXiv 2310.19859); Python's `swift.tuners.restuning`.

use crate::blocks::{over_channels, Bottleneck, Dense, Probe};
use crate::config::Dialect;
use crate::fields::{FieldType, OneOrMore, Required, Sizes};
use crate::init::Init;
use crate::method::{Attach, Attachment, Kind};
use crate::target::{attach_at, Place, SwiftPattern, SwiftRule};
use serde_json::{Map, Value as Json};
use std::sync::Arc;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{model_nodes, Args, Next, Own, Position, Tuner, Value};
use swift_tuners_nn::ops::{self, Activation, Conv2dShape};
use swift_tuners_nn::{Context, Error, Model, Param, Result, Tensor};

crate::words! {
    /// What of a module is taken.
    pub enum Hook { Input = "input", Output = "output" }
}

crate::config! {
    /// `ResTuningConfig`
    pub struct ResTuningConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        /// Channels of the stems: one for all, or one for each.
        dims: Required<Sizes>;
        /// Where the bypass starts; default the first stem's input.
        root_modules: Option<SwiftPattern> = None;
        root_modules_hook: Hook = Hook::Input;
        /// A regular expression, or exact paths in the order of the bypass.
        stem_modules: Required<SwiftRule>;
        stem_modules_hook: Hook = Hook::Output;
        target_modules: Required<SwiftPattern>;
        target_modules_hook: Hook = Hook::Input;
        target_hidden_pos: Option<Position> = Some(Position::Index(0));
        /// One for all blocks, or one for each.
        tuner_cfg: Option<BypassBlocks> = None;
        use_upsample: bool = false;
        upsample_out_channels: Option<OneOrMore<Option<usize>>> = None;
        zero_init_last: bool = false;
        use_bypass: bool = true;
    }
}

/// The kind of tuner.
pub struct ResTuning;

impl Kind for ResTuning {
    const NAME: &'static str = "RESTUNING";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "ResTuningConfig";
    const ABOUT: &'static str = "A bypass network beside the frozen model. Jiang et al. 2023 (arXiv 2310.19859).";
    type Config = ResTuningConfig;

    fn check(config: &ResTuningConfig) -> Result<()> {
        Blocks::new(config).map(|_| ())
    }

    fn attach(config: &ResTuningConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

// ── The description of the bypass ────────────────────────────────────────────────────────────────────────────────────

/// One tuner of a block, as its configuration says.
#[derive(Clone)]
enum Spec {
    Identity,
    Zero,
    Adapter(Json),
    GroupAdapter(Json),
    Upsample,
}

impl Spec {
    fn new(value: Option<&Json>, option: &str) -> Result<Self> {
        let empty = || Json::Object(Map::new());
        let by_name = |name: &str, options: Json| match name {
            "res_adapter" => Ok(Self::Adapter(options)),
            "res_group_adapter" => Ok(Self::GroupAdapter(options)),
            "upsample" => Ok(Self::Upsample),
            "identity" => Ok(Self::Identity),
            "zero" => Ok(Self::Zero),
            other => Err(Error::config(
                option,
                format!(
                    "expected res_adapter, res_group_adapter, upsample, identity or zero, found {:?}",
                    printable(other, 60)
                ),
            )),
        };
        match value {
            None | Some(Json::Null) => Ok(Self::Identity),
            Some(Json::String(name)) => by_name(name, empty()),
            Some(Json::Object(map)) => match map.iter().next() {
                None => Ok(Self::Identity),
                Some((name, options)) if map.len() == 1 => {
                    by_name(name, if options.is_object() { options.clone() } else { empty() })
                }
                Some(_) => Err(Error::config(option, "expected one kind of tuner")),
            },
            Some(v) => Err(Error::config(option, format!("found {}", printable(&v.to_string(), 80)))),
        }
    }
}

/// `tuner_cfg`: one for all blocks, or one for each.
struct Blocks<'a> {
    configs: Vec<Option<&'a Json>>,
    each: bool,
    use_upsample: bool,
}

impl<'a> Blocks<'a> {
    fn new(c: &'a ResTuningConfig) -> Result<Self> {
        let (configs, each) = match c.tuner_cfg.as_ref().map(|b| &b.0) {
            Some(Json::Array(list)) => (list.iter().map(Some).collect(), true),
            other => (vec![other], false),
        };
        let blocks = Self { configs, each, use_upsample: c.use_upsample };
        for i in 0..blocks.configs.len() {
            blocks.specs(i, usize::MAX)?;
        }
        Ok(blocks)
    }

    /// Lateral, vertical and auxiliary tuner of block `i` of `depth`.
    fn specs(&self, i: usize, depth: usize) -> Result<(Spec, Spec, Option<Spec>)> {
        let found = if self.each { self.configs.get(i) } else { self.configs.first() };
        let option = |part: &str| format!("tuner_cfg{part}");
        match found {
            None => Err(Error::config("tuner_cfg", format!("{} entries are fewer than the stems", self.configs.len()))),
            Some(Some(Json::Object(map))) => {
                let part = |name: &str| Spec::new(map.get(name), &option(&format!(".{name}")));
                let aux = match map.get("aux_cfg") {
                    None | Some(Json::Null) => None,
                    Some(Json::Object(m)) if m.is_empty() => None,
                    Some(_) => Some(part("aux_cfg")?),
                };
                Ok((part("lateral_cfg")?, part("vertical_cfg")?, aux))
            }
            Some(Some(value @ Json::String(_))) => {
                let spec = Spec::new(Some(value), &option(""))?;
                let aux = (self.use_upsample && i + 1 != depth).then_some(Spec::Upsample);
                Ok((spec.clone(), spec, aux))
            }
            Some(None) => Ok((Spec::Identity, Spec::Identity, None)),
            Some(Some(v)) => Err(Error::config("tuner_cfg", format!("found {}", printable(&v.to_string(), 80)))),
        }
    }
}

/// `tuner_cfg` as it is written.
#[derive(Clone, Debug)]
pub struct BypassBlocks(Json);

impl FieldType for BypassBlocks {
    const WANTED: &'static str = "a tuner, or one for each block";
    fn typescript() -> String {
        "ResTunerBlock | ResTunerBlock[]".into()
    }
    fn of(value: &Json) -> Option<Self> {
        matches!(value, Json::Array(_) | Json::Object(_) | Json::String(_)).then(|| Self(value.clone()))
    }
    fn json(&self) -> Json {
        self.0.clone()
    }
}

/// `upsample_out_channels` of block `i`; no convolution where it is null.
fn upsample_channels(c: &ResTuningConfig, i: usize) -> Option<usize> {
    match &c.upsample_out_channels {
        None => None,
        Some(OneOrMore::One(channels)) => *channels,
        Some(OneOrMore::More(list)) => list.get(i).copied().flatten(),
    }
}

// ── Attaching ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The stems: a pattern in the model's order, or exact paths in the list's.
fn stems(model: &Model, rule: &SwiftRule) -> Result<Vec<Place>> {
    const FIELD: &str = "stem_modules";
    match rule {
        SwiftRule::Pattern(_) => rule.places(model, FIELD),
        SwiftRule::Endings(paths) => {
            let nodes = model_nodes(&model.root);
            let find = |path: &String| {
                let found = nodes.iter().find(|(p, _)| p == path);
                let place = found.map(|(path, node)| Place { id: node.id(), path: path.clone() });
                place.ok_or_else(|| rule.nothing_found(model, FIELD))
            };
            if paths.is_empty() {
                return Err(rule.nothing_found(model, FIELD));
            }
            paths.iter().map(find).collect()
        }
    }
}

/// The place among a pass's taps where the bypass starts; stem i is at `i + 1`.
const START: usize = 0;

fn attach(c: &ResTuningConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    let stems = stems(a.model, &c.stem_modules.0)?;
    let targets = c.target_modules.0.places(a.model, "target_modules")?;
    // Without a root the bypass starts from what the first stem takes in.
    let (start, start_output) = match &c.root_modules {
        Some(rule) => {
            let first = rule.places(a.model, "root_modules")?.swap_remove(0);
            (first, c.root_modules_hook == Hook::Output)
        }
        None => (stems[0].clone(), false),
    };
    let blocks = Blocks::new(c)?;
    let mut built = Vec::new();
    for i in 0..stems.len() {
        let place = At { dim: c.dims.0.at("dims", i)?, index: i, zero: c.zero_init_last && i + 1 == stems.len() };
        let channels = upsample_channels(c, i);
        let (lateral, vertical, aux) = blocks.specs(i, stems.len())?;
        built.push(Block {
            lateral: ResTuner::new(&lateral, &place, channels, a.init)?,
            vertical: ResTuner::new(&vertical, &place, channels, a.init)?,
            aux: aux.map(|spec| ResTuner::new(&spec, &place, channels, a.init)).transpose()?,
        });
    }
    let mut params = Vec::new();
    for (i, block) in built.iter().enumerate() {
        let tuners =
            [("lateral", Some(&block.lateral)), ("vertical", Some(&block.vertical)), ("aux", block.aux.as_ref())];
        for (side, tuner) in tuners {
            let named = tuner.map(ResTuner::params).unwrap_or_default().into_iter();
            params.extend(named.map(|(n, p)| (format!("bypass_blocks.{i}.{side}_tuner.tuner.{n}"), p)));
        }
    }
    let bypass: Arc<Vec<Block>> = Arc::new(built);
    let own = |params| Own { adapter: id, before: "restuning_", name: name.to_owned(), params };
    a.model.root.tuners.push(Box::new(Holder { own: own(params) }));

    let stem_output = c.stem_modules_hook == Hook::Output;
    let mut probes = vec![(start, START, start_output)];
    probes.extend(stems.into_iter().enumerate().map(|(i, place)| (place, i + 1, stem_output)));
    for (place, at, output) in probes {
        attach_at(&mut a.model.root, &[place], |_, node| {
            node.tuners.push(Box::new(Probe { own: own(Vec::new()), at, output }));
            Ok(())
        })?;
    }
    let position = c.target_hidden_pos.clone().unwrap_or(Position::Index(0));
    let target_output = c.target_modules_hook == Hook::Output;
    attach_at(&mut a.model.root, &targets, |_, node| {
        let (bypass, position) = (bypass.clone(), position.clone());
        node.tuners.push(Box::new(Target { own: own(Vec::new()), bypass, position, output: target_output }));
        Ok(())
    })?;
    Ok(Attachment::new(a.config))
}

/// Has the parameters at the root, where Python keeps them, and does nothing.
#[derive(Clone)]
struct Holder {
    own: Own,
}

impl Tuner for Holder {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        next.run(cx, args)
    }

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}

/// Puts what the bypass gives into the place of the target's input or output.
#[derive(Clone)]
struct Target {
    own: Own,
    bypass: Arc<Vec<Block>>,
    position: Position,
    output: bool,
}

impl Target {
    fn run_bypass(&self, cx: &Context) -> Result<Tensor> {
        let tap = |at: usize| match cx.tap(self.own.adapter, at) {
            Some(Value::Tensor(t)) => Ok(t),
            _ => Err(Error::Invalid(format!(
                "Res-Tuning adapter {}: the target runs before {}",
                self.own.name,
                if at == START { "the root module".to_owned() } else { format!("stem {}", at - 1) }
            ))),
        };
        let mut x = tap(START)?;
        for (i, block) in self.bypass.iter().enumerate() {
            let stem = tap(i + 1)?;
            let next = if i + 1 < self.bypass.len() { Some(tap(i + 2)?) } else { None };
            x = block.apply(cx, &stem, &x, next.as_ref())?;
        }
        Ok(x)
    }
}

impl Tuner for Target {
    fn around(&self, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        if !self.output {
            let bypassed = self.run_bypass(cx)?;
            match args.get_mut(&self.position)? {
                Value::Tensor(x) => *x = bypassed.to_dtype(x.dtype())?,
                other => *other = bypassed.into(),
            }
            return next.run(cx, args);
        }
        let mut value = next.run(cx, args)?;
        let bypassed = self.run_bypass(cx)?;
        let x = value.element_mut(&Some(self.position.clone()))?;
        *x = bypassed.to_dtype(x.dtype())?;
        Ok(value)
    }

    fn visit<'a>(&'a self, _: &mut dyn swift_tuners_nn::module::Visitor<'a>) {}

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}

// ── The bypass ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// `aux(lateral(stem) + vertical(x))`
struct Block {
    lateral: ResTuner,
    vertical: ResTuner,
    aux: Option<ResTuner>,
}

impl Block {
    fn apply(&self, cx: &Context, stem: &Tensor, x: &Tensor, next: Option<&Tensor>) -> Result<Tensor> {
        let sides = (self.lateral.apply(cx, stem, None)?, self.vertical.apply(cx, x, None)?);
        let sum = match sides {
            (Some(a), Some(b)) => a.add(&b)?,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Err(Error::Invalid("Res-Tuning: both sides of a block are zero".into())),
        };
        match &self.aux {
            Some(aux) => aux.apply(cx, &sum, next)?.ok_or_else(|| Error::config("aux_cfg", "zero leaves nothing")),
            None => Ok(sum),
        }
    }
}

/// Where a tuner stands.
struct At {
    dim: usize,
    index: usize,
    /// The second linear layer starts at zero.
    zero: bool,
}

/// Parameters by their names inside of a tuner.
type Named = Vec<(String, Param)>;

enum ResTuner {
    Identity,
    Zero,
    Adapter {
        net: Bottleneck,
        scaling: Scaling,
    },
    /// Channels in heads that share one network, the head's index running fastest.
    GroupAdapter {
        net: Bottleneck,
        heads: usize,
        scaling: Scaling,
    },
    Upsample {
        conv: Option<(Param, Param)>,
        channels: usize,
    },
}

impl ResTuner {
    fn new(spec: &Spec, at: &At, upsampled: Option<usize>, init: &mut Init) -> Result<Self> {
        let size = |options: &Json, name: &str, default: usize| match options.get(name) {
            None | Some(Json::Null) => Ok(default),
            Some(v) => match v.as_u64() {
                Some(n) if (1..=1 << 20).contains(&n) => Ok(n as usize),
                _ => {
                    Err(Error::config(format!("tuner_cfg.{name}"), format!("found {}", printable(&v.to_string(), 60))))
                }
            },
        };
        Ok(match spec {
            Spec::Identity => Self::Identity,
            Spec::Zero => Self::Zero,
            Spec::Adapter(options) => {
                let length = match options.get("adapter_length") {
                    Some(Json::Array(list)) => {
                        let one = list.get(at.index).and_then(|v| v.as_u64()).filter(|n| (1..=1 << 20).contains(n));
                        one.ok_or_else(|| Error::config("tuner_cfg.adapter_length", "expected a size per block"))?
                            as usize
                    }
                    _ => size(options, "adapter_length", 32)?,
                };
                let down = init.xavier_dense(at.dim, length)?;
                let up = if at.zero { init.zero_dense(length, at.dim)? } else { init.xavier_dense(length, at.dim)? };
                let net = Bottleneck { down, up, act: Activation::Gelu };
                Self::Adapter { net, scaling: Scaling::new(options, at.dim, init)? }
            }
            Spec::GroupAdapter(options) => {
                let (heads, factor) = (size(options, "head", 4)?, size(options, "scale_factor", 2)?);
                let dim = size(options, "dim", at.dim)?;
                if dim % heads != 0 {
                    return Err(Error::config("tuner_cfg.head", format!("{heads} heads do not divide {dim} channels")));
                }
                let inner = dim / heads;
                let kaiming = |init: &mut Init, inp: usize, out: usize| -> Result<Dense> {
                    let weight = init.kaiming(&[out, inp])?;
                    Ok(Dense { weight, bias: Some(init.normal(&[out], 1.)?) })
                };
                let down = kaiming(init, inner, inner * factor)?;
                let up = if at.zero {
                    init.zero_dense(inner * factor, inner)?
                } else {
                    kaiming(init, inner * factor, inner)?
                };
                let net = Bottleneck { down, up, act: Activation::Gelu };
                Self::GroupAdapter { net, heads, scaling: Scaling::new(options, at.dim, init)? }
            }
            Spec::Upsample => {
                let conv = match upsampled {
                    Some(out) => Some((init.constant(&[out, at.dim, 3, 3], 0.)?, init.constant(&[out], 0.)?)),
                    None => None,
                };
                Self::Upsample { conv, channels: at.dim }
            }
        })
    }

    fn params(&self) -> Named {
        match self {
            Self::Identity | Self::Zero => Vec::new(),
            Self::Adapter { net, scaling } | Self::GroupAdapter { net, scaling, .. } => {
                let (direct, inside) = scaling.params();
                // Parameters come before modules in Python.
                direct.into_iter().chain(net.params(["ln1", "ln2"])).chain(inside).collect()
            }
            Self::Upsample { conv, .. } => {
                let named = |(w, b): &(Param, Param)| {
                    vec![("conv.weight".to_owned(), w.clone()), ("conv.bias".to_owned(), b.clone())]
                };
                conv.as_ref().map(named).unwrap_or_default()
            }
        }
    }

    /// `None` for nothing at all. `next`: the next stem, whose size is upsampled to.
    fn apply(&self, cx: &Context, x: &Tensor, next: Option<&Tensor>) -> Result<Option<Tensor>> {
        Ok(Some(match self {
            Self::Zero => return Ok(None),
            Self::Identity => x.clone(),
            Self::Adapter { net, scaling } => {
                let wide = x.to_dtype(net.dtype())?;
                let y = over_channels(&wide, |x| scaling.apply(cx, &net.apply(cx, x)?))?;
                wide.add(&y)?.to_dtype(x.dtype())?
            }
            Self::GroupAdapter { net, heads, scaling } => {
                if x.rank() != 4 {
                    return Err(Error::Shape {
                        path: "res_group_adapter (images only)".into(),
                        expected: vec![0; 4],
                        actual: x.dims().to_vec(),
                    });
                }
                let wide = x.to_dtype(net.dtype())?;
                let y = over_channels(&wide, |x| {
                    let (batch, positions, channels) = (x.dim(0), x.dim(1), x.dim(2));
                    let split = x.reshape((batch, positions, channels / heads, *heads))?.transpose(2, 3)?;
                    let y = net.apply(cx, &split.contiguous()?)?; // [batch, positions, heads, channels / heads]
                    let joined = y.transpose(2, 3)?.contiguous()?.reshape((batch, positions, channels))?;
                    scaling.apply(cx, &joined)
                })?;
                wide.add(&y)?.to_dtype(x.dtype())?
            }
            Self::Upsample { conv, channels } => {
                if x.rank() != 4 || x.dim(1) != *channels {
                    return Err(Error::Shape {
                        path: "upsample of Res-Tuning".into(),
                        expected: vec![x.dims().first().copied().unwrap_or(1), *channels, 0, 0],
                        actual: x.dims().to_vec(),
                    });
                }
                let (rows, cols) = match next {
                    Some(next) if next.rank() == 4 => (next.dim(2), next.dim(3)),
                    _ => (2 * x.dim(2), 2 * x.dim(3)),
                };
                let y = ops::upsample_nearest(x, rows, cols)?;
                match conv {
                    Some((weight, bias)) => {
                        let shape = Conv2dShape { padding: 1, ..Default::default() };
                        let w = weight.value(cx.grad)?;
                        let y = y.to_dtype(w.dtype())?;
                        ops::conv2d(&y, &w, Some(&bias.value(cx.grad)?), shape)?.to_dtype(x.dtype())?
                    }
                    None => y,
                }
            }
        }))
    }
}

/// `adapter_weight`: what the branch is multiplied with before it joins the residual.
enum Scaling {
    None,
    Constant(f64),
    /// One number, or one per channel.
    Scale(Param),
    /// The mean over positions of the sigmoid of a linear layer.
    Gate(Dense),
}

impl Scaling {
    fn new(options: &Json, dim: usize, init: &mut Init) -> Result<Self> {
        let kind = match options.get("adapter_weight") {
            None | Some(Json::Null) => return Ok(Self::None),
            Some(Json::String(kind)) => kind,
            Some(v) => {
                return Err(Error::config(
                    "tuner_cfg.adapter_weight",
                    format!("found {}", printable(&v.to_string(), 60)),
                ))
            }
        };
        Ok(match kind.as_str() {
            "gate" => Self::Gate(init.dense(dim, 1, true)?),
            "scale" => Self::Scale(init.constant(&[1], 1.)?),
            "scale_channel" => Self::Scale(init.constant(&[dim], 1.)?),
            scalar if scalar.starts_with("scalar") => {
                let number = scalar.rsplit('_').next().and_then(|n| n.parse::<f64>().ok()).filter(|n| n.is_finite());
                Self::Constant(number.ok_or_else(|| {
                    Error::config("tuner_cfg.adapter_weight", format!("{:?} ends in no number", printable(scalar, 60)))
                })?)
            }
            _ => Self::None,
        })
    }

    /// Parameters of its own, and those of its module.
    fn params(&self) -> (Named, Named) {
        match self {
            Self::None | Self::Constant(_) => (Vec::new(), Vec::new()),
            Self::Scale(p) => (vec![("scaling".to_owned(), p.clone())], Vec::new()),
            Self::Gate(dense) => (Vec::new(), dense.params("scaling")),
        }
    }

    /// `y [batch, positions, channels]`
    fn apply(&self, cx: &Context, y: &Tensor) -> Result<Tensor> {
        match self {
            Self::None => Ok(y.clone()),
            Self::Constant(c) => y.affine(*c, 0.),
            Self::Scale(p) => y.mul(&p.value(cx.grad)?),
            Self::Gate(dense) => y.mul(&dense.apply(cx, y)?.sigmoid()?.mean(Some(&[1]), true)?),
        }
    }
}
