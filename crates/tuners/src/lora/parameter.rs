//! LoRA on parameters that modules read by themselves (`target_parameters`), such as the stacked matrices of experts.
//!
//! PEFT's `ParamWrapper`: one for each parameter, the later ones around the earlier.

use super::variant::Asked;
use super::{Lora, PeftLoraConfig, Start};
use crate::layer::Layer;
use crate::method::Attach;
use crate::target::{attach_at, has_suffix, nothing_found, Place};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::Arc;
use swift_tuners_nn::module::{
    model_nodes, Args, Module, Next, Node, NodeList, Part, Rate, Tuner, Value, Visitor, VisitorMut,
};
use swift_tuners_nn::{AdapterId, Array, Context, Error, LowRank, Param, Result, Update};

const FIELD: &str = "target_parameters";

impl PeftLoraConfig {
    fn parameters(&self) -> &[String] {
        self.target_parameters.as_deref().unwrap_or_default()
    }

    /// Whether it names parameters, and so may name no layers.
    pub fn has_parameters(&self) -> bool {
        !self.parameters().is_empty()
    }
}

pub fn check(c: &PeftLoraConfig) -> Result<()> {
    if !c.has_parameters() {
        return Ok(());
    }
    let lora = &c.lora;
    let start = lora.init_lora_weights;
    let refused = [
        ("lora_dropout", lora.lora_dropout.0 != 0.),
        ("lora_bias", lora.lora_bias),
        ("init_lora_weights", !matches!(start, Start::Default | Start::Random | Start::Gaussian)),
        ("a variant of LoRA", Asked::of(lora, Some(c))? != Asked::Plain),
    ];
    match refused.iter().find(|(_, on)| *on) {
        Some((field, _)) => Err(Error::config(FIELD, format!("does not go with {field}, which acts on layers"))),
        None => Ok(()),
    }
}

/// The adapters of one parameter of the module they sit on.
#[derive(Clone)]
struct OnParameter {
    name: String,
    ids: Vec<AdapterId>,
    adapters: Vec<(String, LowRank)>,
}

/// Adapts every parameter that the configuration means. Draws as Python does, in the order of modules and their parameters.
pub fn attach(c: &PeftLoraConfig, a: &mut Attach<'_>) -> Result<()> {
    if !c.has_parameters() {
        return Ok(());
    }
    same_as_others(c, a)?;
    let wanted = |path: &str| c.parameters().iter().any(|entry| has_suffix(path, entry));
    let mut named: Vec<(Place, String, Vec<usize>)> = Vec::new();
    for (path, node) in model_nodes(&a.model.root) {
        for (name, param) in direct(node) {
            if wanted(&format!("{path}.{name}")) {
                named.push((Place { id: node.id(), path: path.clone() }, name, param.shape()));
            }
        }
    }
    let mut found: Vec<(Place, String, Option<LowRank>)> = Vec::new();
    for (place, name, shape) in named {
        if place.path.is_empty() {
            return Err(Error::config(FIELD, "a parameter of the whole model cannot be adapted"));
        }
        let adapter = first(c, &format!("{}.{name}", place.path), shape, a)?;
        found.push((place, name, Some(adapter)));
    }
    if found.is_empty() {
        if has_layers(a) {
            return Ok(());
        }
        let shown = Json::from(c.parameters().to_vec());
        return Err(nothing_found(a.model, FIELD, &shown, c.parameters()));
    }
    let (id, name) = (a.id, a.name);
    let places: Vec<Place> = found.iter().map(|(place, ..)| place.clone()).collect();
    attach_at(&mut a.model.root, &places, |i, node| {
        let (Place { path, .. }, parameter, adapter) = &mut found[i];
        if node.tuners.iter().any(|t| t.merges() && t.parameter().is_none()) {
            return Err(Error::config(FIELD, format!("{path} is adapted as a layer, too")));
        }
        if node.has_merged() {
            return Err(Error::Invalid(format!("{path}: unmerge before another adapter is added")));
        }
        let adapter = adapter.take().ok_or_else(|| Error::Invalid(format!("{path} stands twice")))?;
        let mut here = node.tuners.iter_mut().filter_map(|t| t.as_any_mut().downcast_mut::<OnParameter>());
        match here.find(|t| t.name == *parameter) {
            Some(tuner) => tuner.push(id, name, adapter),
            None => {
                let mut tuner = OnParameter { name: parameter.clone(), ids: Vec::new(), adapters: Vec::new() };
                tuner.push(id, name, adapter);
                node.tuners.push(Box::new(tuner));
            }
        }
        Ok(())
    })
}

/// Whether this adapter has layers, so that it is something without parameters, too.
fn has_layers(a: &Attach<'_>) -> bool {
    let nodes = model_nodes(&a.model.root);
    nodes.iter().any(|(_, n)| n.tuner::<Layer<Lora>>().is_some_and(|l| l.adapter(a.id).is_some()))
}

/// How wrappers nest says which parameter a file's tensors belong to: it must be the same for all adapters.
fn same_as_others(c: &PeftLoraConfig, a: &Attach<'_>) -> Result<()> {
    let own: BTreeSet<&str> = c.parameters().iter().map(String::as_str).collect();
    for other in &a.others {
        let theirs = other.texts(FIELD)?.unwrap_or_default();
        if !theirs.is_empty() && theirs.iter().map(String::as_str).collect::<BTreeSet<_>>() != own {
            return Err(Error::config(
                FIELD,
                format!("all adapters of a model must name the same; another has {theirs:?}"),
            ));
        }
    }
    Ok(())
}

fn first(c: &PeftLoraConfig, path: &str, shape: Vec<usize>, a: &mut Attach<'_>) -> Result<LowRank> {
    let (matrices, out, inp) = match shape[..] {
        [n, out, inp] => (n, out, inp),
        [out, inp] => (1, out, inp),
        _ => {
            let why = format!("{path} has {} dimensions; it must be a matrix or a stack of matrices", shape.len());
            return Err(Error::config(FIELD, why));
        }
    };
    let (r, scaling) = c.lora.rank_and_scaling(path)?;
    let (shape_a, shape_b) = ([r * matrices, inp], [out, r * matrices]);
    let init = &mut *a.init;
    let (a, b) = match c.lora.init_lora_weights {
        Start::Random => (
            init.param(&shape_a, move |g| Ok(g.layer(&shape_a, false)?.0))?,
            init.param(&shape_b, move |g| Ok(g.layer(&shape_b, false)?.0))?,
        ),
        start => {
            init.discard(|g| Ok((g.layer(&shape_a, false)?, g.layer(&shape_b, false)?)))?;
            let a = init.param(&shape_a, move |g| match start {
                Start::Gaussian => g.normal(&shape_a, 0., 1. / r as f64),
                _ => g.kaiming_uniform(&shape_a, 5f64.sqrt()),
            })?;
            (a, init.constant(&shape_b, 0.)?)
        }
    };
    Ok(LowRank { a, b, scaling, shape })
}

/// The parameters of a module itself, not of those inside of it.
fn direct(node: &Node) -> Vec<(String, Param)> {
    struct Direct(Vec<(String, Param)>);
    impl<'a> Visitor<'a> for Direct {
        fn param(&mut self, name: &str, param: &'a Param) {
            self.0.push((name.to_owned(), param.clone()));
        }
        fn node(&mut self, _: &str, _: &'a Node) {}
        fn list(&mut self, _: &str, _: &'a NodeList) {}
    }
    let mut direct = Direct(Vec::new());
    node.module().visit(&mut direct);
    direct.0
}

impl OnParameter {
    fn push(&mut self, id: AdapterId, name: &str, adapter: LowRank) {
        self.ids.push(id);
        self.adapters.push((name.to_owned(), adapter));
    }

    fn adapter(&self, id: AdapterId) -> Option<&LowRank> {
        self.ids.binary_search(&id).ok().map(|at| &self.adapters[at].1)
    }
}

/// The module over another value of one of its parameters.
struct Updating<'a> {
    name: &'a str,
    by: Vec<Arc<dyn Update>>,
}

impl VisitorMut for Updating<'_> {
    fn param(&mut self, name: &str, param: &mut Param) {
        if name == self.name {
            *param = param.updated(std::mem::take(&mut self.by));
        }
    }
    fn node(&mut self, _: &str, _: &mut Node) {}
    fn list(&mut self, _: &str, _: &mut NodeList) {}
}

impl Tuner for OnParameter {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let by = cx.active.iter().filter_map(|&id| self.adapter(id)).map(|l| Arc::new(l.clone()) as _).collect();
        let mut module: Box<dyn Module> = next.module().boxed_clone();
        module.visit_mut(&mut Updating { name: &self.name, by });
        next.to(&*module).run(cx, args)
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        let groups = [("lora_A", (|l| &l.a) as fn(&LowRank) -> &Param), ("lora_B", |l| &l.b)];
        for (group, param) in groups {
            v.scope(group);
            for (name, adapter) in &self.adapters {
                v.param(&format!("{group}.{name}.weight"), param(adapter));
            }
        }
    }

    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        self.adapter(adapter).map_or_else(Vec::new, |l| {
            vec![Part::leaf("lora_A", ".weight", &l.a), Part::leaf("lora_B", ".weight", &l.b).rate(Rate::Up)]
        })
    }

    fn rename(&mut self, adapter: AdapterId, name: &str) {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.adapters[at].0 = name.to_owned();
        }
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.adapters.remove(at);
        }
        self.ids.is_empty()
    }

    fn base_name(&self) -> Option<&'static str> {
        Some("base_layer")
    }

    fn merges(&self) -> bool {
        true
    }

    fn parameter(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn merged_parameter(&self, adapter: AdapterId, value: Array) -> Result<Array> {
        self.adapter(adapter).map_or(Ok(value.clone()), |update| update.added(&value))
    }
}
