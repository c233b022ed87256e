//! SCEdit: tunes what skip connections carry.
//!
//! Jiang et al. 2023 (arXiv 2312.11392); Python's `swift.tuners.scetuning`.

use crate::blocks::{over_channels, Bottleneck, Dense, Probe};
use crate::config::Dialect;
use crate::fields::{Required, Sizes};
use crate::method::{Attach, Attachment, Kind};
use crate::target::{attach_at, Place, SwiftRule};
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{model_nodes, Args, Next, Own, Position, Tuner, Value};
use swift_tuners_nn::ops::Activation;
use swift_tuners_nn::{Context, Error, Model, Result, Tensor};

crate::words! {
    /// What is tuned: a module's output, or the skip connection in its input.
    pub enum Mode { Encoder = "encoder", Decoder = "decoder", Identity = "identity" }
}

crate::words! {
    pub enum Operation { Adapter = "SCEAdapter" }
}

crate::config! {
    /// `SCETuningConfig`
    pub struct SceTuningConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        dims: Required<Sizes>;
        /// A regular expression, or exact paths; a list of modules means its last one.
        target_modules: Required<SwiftRule>;
        hint_modules: Option<SwiftRule> = None;
        /// 'decoder': the skip connection in the module's input; otherwise the module's output.
        tuner_mode: Mode = Mode::Decoder;
        tuner_op: Operation = Operation::Adapter;
        /// Inner width as a share of `dims`.
        down_ratio: f64 = 1.0, in 0. ..=1024.;
    }
}

/// The kind of tuner.
pub struct SceTuning;

impl Kind for SceTuning {
    const NAME: &'static str = "SCETuning";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "SCETuningConfig";
    const ABOUT: &'static str = "Tunes skip connections. Jiang et al. 2023 (arXiv 2312.11392).";
    type Config = SceTuningConfig;

    fn attach(config: &SceTuningConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

/// The places of a field: a pattern in the model's order, or exact paths in the list's; a `ModuleList` means its last module.
fn places(model: &Model, rule: &SwiftRule, field: &str) -> Result<Vec<Place>> {
    let nodes = model_nodes(&model.root);
    let last_of = |list: &str| {
        let inside = |path: &str| path.strip_prefix(list)?.strip_prefix('.')?.parse::<usize>().ok();
        nodes.iter().filter(|(path, _)| inside(path).is_some()).max_by_key(|(path, _)| inside(path))
    };
    let place = |(path, node): &(String, &swift_tuners_nn::module::Node)| Place { id: node.id(), path: path.clone() };
    if let SwiftRule::Pattern(pattern) = rule {
        let mut out = Vec::new();
        let mut lists: Vec<&str> = Vec::new();
        for found in &nodes {
            // A list stands before its modules in Python's order.
            if let Some((list, _)) = found.0.rsplit_once('.').filter(|(_, last)| last.parse::<usize>().is_ok()) {
                let is_list = nodes.iter().all(|(path, _)| path != list);
                if is_list && !lists.contains(&list) {
                    lists.push(list);
                    if pattern.matches(list)? {
                        out.extend(last_of(list).map(place));
                    }
                }
            }
            if pattern.matches(&found.0)? {
                out.push(place(found));
            }
        }
        return if out.is_empty() { Err(rule.nothing_found(model, field)) } else { Ok(out) };
    }
    let SwiftRule::Endings(listed) = rule else { return Err(rule.nothing_found(model, field)) };
    let find = |path: &String| {
        let found = nodes.iter().find(|(p, _)| p == path).or_else(|| last_of(path)).map(place);
        found.ok_or_else(|| match rule.nothing_found(model, field) {
            Error::Target { nearest, .. } => Error::target(format!("{field} {:?}", printable(path, 120)), nearest),
            other => other,
        })
    };
    if listed.is_empty() {
        return Err(rule.nothing_found(model, field));
    }
    listed.iter().map(find).collect()
}

fn attach(c: &SceTuningConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    let targets = places(a.model, &c.target_modules.0, "target_modules")?;
    let hints = c.hint_modules.as_ref().map_or(Ok(Vec::new()), |rule| places(a.model, rule, "hint_modules"))?;
    if !hints.is_empty() && hints.len() != targets.len() {
        return Err(Error::config(
            "hint_modules",
            format!("{} modules for {} targets; there must be one each", hints.len(), targets.len()),
        ));
    }
    c.dims.0.check_count("dims", targets.len())?;
    let (ratio, decoder) = (c.down_ratio, c.tuner_mode == Mode::Decoder);
    let mut nets = Vec::new();
    for i in 0..targets.len() {
        let dim = c.dims.0.at("dims", i)?;
        let length = (dim as f64 * ratio) as usize;
        if length == 0 {
            return Err(Error::config("down_ratio", format!("{ratio} of {dim} channels leaves none")));
        }
        // Both constructors draw; of the first layer the bias stays, and its weight is drawn anew behind them.
        let bound = 1. / (dim as f64).sqrt();
        a.init.discard_dense(dim, length, false)?;
        let bias = Some(a.init.uniform(&[length], -bound, bound)?);
        a.init.discard_dense(length, dim, true)?;
        let down = Dense { weight: a.init.kaiming(&[length, dim])?, bias };
        nets.push(Bottleneck { down, up: a.init.zero_dense(length, dim)?, act: Activation::Gelu });
    }
    attach_at(&mut a.model.root, &hints, |at, node| {
        let own = Own { adapter: id, before: "scetuner_", name: name.to_owned(), params: Vec::new() };
        node.tuners.push(Box::new(Probe { own, at, output: true }));
        Ok(())
    })?;
    attach_at(&mut a.model.root, &targets, |i, node| {
        let params = nets[i].params(["tuner_op.ln1", "tuner_op.ln2"]);
        let own = Own { adapter: id, before: "scetuner_", name: name.to_owned(), params };
        let hint = hints.get(i).map(|place| (i, place.path.clone()));
        node.tuners.push(Box::new(SceTuner { own, net: nets[i].clone(), dim: c.dims.0.at("dims", i)?, decoder, hint }));
        Ok(())
    })?;
    Ok(Attachment::new(a.config))
}

/// `x + gelu((x + hint) W1ᵀ + b1) W2ᵀ + b2` over channels: on the target's output, or (decoder) on the last `dim` channels
/// of its input, which are the skip connection. The hint is the paper's control signal (CSC-Tuner); Python's code raises on
/// one.
#[derive(Clone)]
struct SceTuner {
    own: Own,
    net: Bottleneck,
    dim: usize,
    decoder: bool,
    /// The place among the pass's taps, and the module's path.
    hint: Option<(usize, String)>,
}

impl SceTuner {
    fn tune(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let wide = x.to_dtype(self.net.dtype())?;
        let hinted = match self.hint(cx, x)? {
            Some(hint) => wide.add(&hint.to_dtype(self.net.dtype())?)?,
            None => wide.clone(),
        };
        wide.add(&over_channels(&hinted, |x| self.net.apply(cx, x))?)?.to_dtype(x.dtype())
    }

    fn hint(&self, cx: &Context, x: &Tensor) -> Result<Option<Tensor>> {
        let Some((at, path)) = &self.hint else { return Ok(None) };
        match cx.tap(self.own.adapter, *at) {
            Some(Value::Tensor(hint)) if hint.dims() == x.dims() => Ok(Some(hint)),
            Some(Value::Tensor(hint)) => Err(Error::Shape {
                path: format!("hint {path} of the SCETuning adapter {}", self.own.name),
                expected: x.dims().to_vec(),
                actual: hint.dims().to_vec(),
            }),
            _ => Err(Error::Invalid(format!(
                "SCETuning adapter {}: a target runs before its hint {path}",
                self.own.name
            ))),
        }
    }
}

impl Tuner for SceTuner {
    fn around(&self, cx: &Context, mut args: Args, next: Next<'_>) -> Result<Value> {
        if !self.decoder {
            let mut value = next.run(cx, args)?;
            // Of a tuple Python keeps the first element only.
            let x = value.element_mut(&Some(Position::Index(0)))?;
            *x = self.tune(cx, x)?;
            return Ok(value);
        }
        match args.get_mut(&Position::Index(0))? {
            Value::Tensor(x) if x.rank() > 1 && x.dim(1) > self.dim => {
                let kept = x.dim(1) - self.dim;
                let (hidden, skip) = (x.narrow(1, 0, kept)?, x.narrow(1, kept, self.dim)?);
                *x = Tensor::cat(&[&hidden, &self.tune(cx, &skip.contiguous()?)?], 1)?;
            }
            other => {
                let actual = if let Value::Tensor(x) = other { x.dims().to_vec() } else { Vec::new() };
                return Err(Error::Shape {
                    path: format!("input of the SCETuning adapter {} (more than dims channels)", self.own.name),
                    expected: vec![self.dim + 1],
                    actual,
                });
            }
        }
        next.run(cx, args)
    }

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }
}
