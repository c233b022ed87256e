//! The LoRAs that X-LoRA mixes, and what a layer makes of them.

use super::mixed::Selection;
use super::SCALINGS;
use crate::fields::Patterns;
use crate::layer::add_wide;
use crate::method::Attach;
use crate::registry::{self, Unknown};
use crate::site::{Input, Site};
use crate::target;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use swift_tuners_nn::checkpoint::{json, safetensors};
use swift_tuners_nn::module::{named_nodes, Args, Next, Part, Role, Tuner, Value, Visitor};
use swift_tuners_nn::ops::{self, WeightLayout};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Param, Result};

/// One expert at one layer: `s B A x`.
#[derive(Clone)]
pub struct Expert {
    /// `[r, in]`
    a: Param,
    /// `[out, r]`
    b: Param,
    scaling: f64,
    dropout: f64,
}

/// Reads an expert from a folder that a LoRA was saved to: what it adds to which layer.
pub fn load(a: &mut Attach<'_>, dir: &Path, option: &str, trained: bool) -> Result<Vec<(String, Expert)>> {
    let at = |e: Error| Error::config(option, e.to_string());
    let mut config = registry::parse(&json::read(&dir.join("adapter_config.json"))?, Unknown::Keep).map_err(at)?;
    if config.kind != "LORA" || config.flag("use_dora")? {
        let what = if config.kind == "LORA" { "DoRA" } else { config.kind.as_str() };
        return Err(Error::config(option, format!("{what}: experts are plain LoRAs")));
    }
    if config.get("target_modules").is_none() {
        config.set("target_modules", a.model.keys.lora_targets.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
    }
    let tensors = safetensors::read(&dir.join("adapter_model.safetensors"))?;
    let targets = target::resolve(a.model, &config, &[])?;
    let number = |name: &str| config.get(name).and_then(Json::as_f64).unwrap_or(8.);
    let alphas: Patterns<f64> = pattern(config.get("alpha_pattern"))?;
    let (rslora, dropout) =
        (config.flag("use_rslora")?, config.get("lora_dropout").and_then(Json::as_f64).unwrap_or(0.));
    let mut out = Vec::new();
    let sites: Vec<Site> = named_nodes(&a.model.root)
        .into_iter()
        .filter(|(path, _)| targets.contains(path))
        .map(|(path, node)| Site::of(node, &path))
        .collect::<Result<_>>()?;
    for site in sites {
        site.require(|_| site.is_linear(), "linear layer")?;
        let tensor = |matrix: &str| {
            let key = format!("base_model.model.{}.{matrix}.weight", site.path);
            let found = tensors.get(&key).or_else(|| tensors.get(&key.replacen("base_model.model.", "", 1)));
            found.ok_or_else(|| Error::config(option, format!("{} has no {key}", dir.display())))
        };
        let (down, up) = (tensor("lora_A")?, tensor("lora_B")?);
        let r = down.dims().first().copied().unwrap_or(0);
        for (what, array, wanted) in [("lora_A", down, [r, site.inputs]), ("lora_B", up, [site.outputs, r])] {
            if array.dims() != wanted {
                let why = format!("{}.{what}: expected shape {wanted:?}, found {:?}", site.path, array.dims());
                return Err(Error::config(option, why));
            }
        }
        // Python's constructor draws first values, which the file replaces.
        a.init.discard_uniforms(2 * r * site.inputs + r * site.outputs)?;
        let alpha =
            target::pattern_value(&alphas.0, "alpha_pattern", &site.path)?.unwrap_or_else(|| number("lora_alpha"));
        let scaling = if rslora { alpha / (r as f64).sqrt() } else { alpha / r as f64 };
        let param = |array: &Array| -> Result<Param> {
            Ok(Param::new(array.to_dtype(a.init.dtype)?.to_device(&a.init.device)?, trained))
        };
        out.push((site.path.clone(), Expert { a: param(down)?, b: param(up)?, scaling, dropout }));
    }
    Ok(out)
}

fn pattern(value: Option<&Json>) -> Result<Patterns<f64>> {
    use crate::fields::FieldType;
    Patterns::read("alpha_pattern", value.unwrap_or(&Json::Object(Default::default())))
}

/// A folder as given, or relative to the folder of the checkpoint that names it, or to the one around that.
pub fn resolve(folder: &str, checkpoint: Option<&Path>, option: &str) -> Result<PathBuf> {
    let around = checkpoint.and_then(Path::parent);
    let mut candidates = vec![PathBuf::from(folder)];
    candidates.extend([checkpoint, around].into_iter().flatten().map(|dir| dir.join(folder)));
    let found = candidates.into_iter().find(|dir| dir.join("adapter_config.json").exists());
    let found = found.ok_or_else(|| Error::config(option, format!("{folder:?} is no folder of an adapter")))?;
    found.canonicalize().map_err(|e| Error::io(&found, e))
}

/// The experts of one layer.
#[derive(Clone)]
pub struct Experts {
    id: [AdapterId; 1],
    /// Among the layers that have experts.
    number: usize,
    experts: Arc<Vec<Option<Expert>>>,
    site: Arc<Site>,
    selection: Selection,
}

impl Experts {
    pub fn new(id: AdapterId, number: usize, experts: Vec<Option<Expert>>, site: Site, selection: Selection) -> Self {
        Self { id: [id], number, experts: Arc::new(experts), site: Arc::new(site), selection }
    }

    fn each(&self) -> impl Iterator<Item = (usize, &Expert)> {
        self.experts.iter().enumerate().filter_map(|(i, expert)| Some((i, expert.as_ref()?)))
    }
}

impl Tuner for Experts {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let Some(Value::Tensor(scalings)) = cx.tap(self.id[0], SCALINGS) else { return next.run(cx, args) };
        let input = Input::of(&args)?;
        let x = input.tensor()?.clone();
        let mut y = next.run(cx, args)?.into_tensor()?;
        let dtype = y.dtype();
        if x.rank() != 3 {
            return Err(Error::Argument(format!(
                "{}: expected [batch, seq, in], found {:?}",
                self.site.path,
                x.dims()
            )));
        }
        let scalings = self.selection.of_layer(&scalings, self.number)?; // [batch, seq, experts]
        for (i, expert) in self.each() {
            let (a, b) = (expert.a.value(cx.grad)?, expert.b.value(cx.grad)?);
            let x = cx.dropout(&x, expert.dropout)?.to_dtype(a.dtype())?;
            let inner = ops::linear(&x, &a, None, WeightLayout::OutIn)?;
            let factor = scalings.narrow(-1, i, 1)?.to_dtype(inner.dtype())?;
            let inner = inner.mul(&factor)?.affine(expert.scaling * self.selection.weight, 0.)?;
            y = add_wide(&y, &ops::linear(&inner, &b, None, WeightLayout::OutIn)?)?;
        }
        Ok(y.to_dtype(dtype)?.into())
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.id
    }

    /// Their checkpoints are their own.
    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        if self.id[0] != adapter {
            return Vec::new();
        }
        let role = |p: &Param| if p.requires_grad() { Role::Source } else { Role::Buffer { saved: false } };
        let one = |name: String, p| Part::plain(name, p).role(role(p));
        let mut parts = Vec::new();
        for (i, expert) in self.each() {
            parts.push(one(format!("lora_A.{i}.weight"), &expert.a));
            parts.push(one(format!("lora_B.{i}.weight"), &expert.b));
        }
        parts
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        v.scope("lora_A");
        self.each().for_each(|(i, e)| v.param(&format!("lora_A.{i}.weight"), &e.a));
        v.scope("lora_B");
        self.each().for_each(|(i, e)| v.param(&format!("lora_B.{i}.weight"), &e.b));
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        self.id[0] == adapter
    }

    fn base_name(&self) -> Option<&'static str> {
        Some("base_layer")
    }
}
