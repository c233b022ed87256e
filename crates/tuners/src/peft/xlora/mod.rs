//! X-LoRA: LoRA experts, which a classifier of hidden states weighs for each token and layer.
//!
//! Buehler and Buehler 2024 (arXiv 2402.07148); PEFT's `peft.tuners.xlora`.

mod classifier;
mod expert;
mod mixed;

use crate::blocks::Probe;
use crate::config::Dialect;
use crate::fields::{Probability, Required};
use crate::method::{Attach, Attachment, Kind};
use crate::site::Site;
use crate::target::{attach_at, Place};
use classifier::{Classifier, Gate};
use expert::{Expert, Experts};
use indexmap::IndexMap;
use mixed::{Mixed, Selection};
use serde_json::{Map, Value as Json};
use swift_tuners_nn::models::TaskType;
use swift_tuners_nn::module::{named_nodes, Own};
use swift_tuners_nn::{Error, Model, Result};

/// Where a pass keeps the last hidden states, and the scalings that are made of them.
const HIDDEN: usize = 0;
const SCALINGS: usize = 1;

crate::config! {
    /// `XLoraConfig`
    pub struct XLoraConfig {
        standard: [peft];
        /// The model's; by default as it is.
        hidden_size: Option<usize> = None;
        /// Folders of the LoRA experts, by their names: they are loaded with the adapter, and paths may be relative to its folder.
        adapters: Required<Json>;
        /// Scalings of a token sum to one.
        enable_softmax: bool = true;
        /// The same over the chosen experts alone, with `topKLora`.
        enable_softmax_topk: bool = false;
        /// Scalings of each layer's own.
        layerwise_scalings: bool = false;
        /// Linear layers of the classifier.
        xlora_depth: usize = 1, in 1..;
        /// Its inner width.
        xlora_size: usize = 2048, in 1..;
        xlora_dropout_p: Probability = Probability(0.2);
        /// Trains the experts, too.
        use_trainable_adapters: bool = false;
        softmax_temperature: f64 = 1., in f64::MIN_POSITIVE..;
        /// Only the experts with the largest scalings count.
        top_k_lora: Option<usize> = None;
        /// What every expert counts in the pass that the classifier looks at.
        scaling_pass_value: f64 = 0.;
        /// Multiplies what the experts add.
        global_scaling_weight: f64 = 1.;
    }
}

/// The kind of tuner.
pub struct XLora;

impl Kind for XLora {
    const NAME: &'static str = "XLORA";
    const DIALECT: Dialect = Dialect::Peft;
    const CLASS: &'static str = "XLoraConfig";
    const ABOUT: &'static str =
        "LoRA experts, which a classifier of hidden states weighs for each token and layer. Buehler and Buehler 2024 (arXiv 2402.07148).";
    type Config = XLoraConfig;

    fn check(c: &XLoraConfig) -> Result<()> {
        let experts = folders(c)?.len();
        if experts == 0 {
            return Err(Error::config("adapters", "there must be one expert at least"));
        }
        if c.top_k_lora.is_some_and(|k| k == 0 || k > experts) {
            return Err(Error::config("top_k_lora", format!("expected 1 to the number of experts, {experts}")));
        }
        Ok(())
    }

    fn attach(c: &XLoraConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        let mut attachment = Attachment::new(a.config);
        if let Some(other) = a.others.first() {
            let why = format!("XLORA loads its experts itself and goes with no other adapter ({})", other.kind);
            return Err(Error::config("peft_type", why));
        }
        if matches!(
            a.model.keys.task,
            TaskType::ImageClassification | TaskType::Seq2Seq | TaskType::Diffusion | TaskType::Custom
        ) {
            return Err(Error::config(
                "peft_type",
                format!("XLORA: {} gives no hidden states", a.model.keys.architecture),
            ));
        }
        let width = a.model.attention_size()?.hidden;
        if c.hidden_size.is_some_and(|given| given != width) {
            return Err(Error::config("hidden_size", format!("{} has {width}", a.model.keys.architecture)));
        }
        attachment.config.set("hidden_size", width);
        let folders = folders(c)?;
        let count = folders.len();
        // What each layer gets of each expert, in the order of the model.
        let mut layers: IndexMap<String, Vec<Option<Expert>>> = IndexMap::new();
        let mut found: Vec<(usize, String, Expert)> = Vec::new();
        let mut resolved = Map::new();
        for (i, (name, folder)) in folders.iter().enumerate() {
            let option = format!("adapters.{name}");
            let dir = expert::resolve(folder, a.folder, &option)?;
            resolved.insert(name.clone(), dir.display().to_string().into());
            let loaded = expert::load(a, &dir, &option, c.use_trainable_adapters)?;
            found.extend(loaded.into_iter().map(|(path, expert)| (i, path, expert)));
        }
        // So that they are found from wherever it is saved.
        attachment.config.set("adapters", resolved);
        let mut places: Vec<Place> = Vec::new();
        let mut sites: Vec<Site> = Vec::new();
        for (path, node) in named_nodes(&a.model.root) {
            if found.iter().any(|(_, at, _)| *at == path) {
                places.push(Place { id: node.id(), path: path.clone() });
                sites.push(Site::of(node, &path)?);
                layers.insert(path, (0..count).map(|_| None).collect());
            }
        }
        for (i, path, expert) in found {
            if let Some(at) = layers.get_mut(&path) {
                at[i] = Some(expert);
            }
        }
        let gate = Gate { count, layers: places.len(), width, layerwise: c.layerwise_scalings };
        let classifier = Classifier::new(c, gate, a.init)?;
        let selection = Selection::of(c);
        let id = a.id;
        let mut rest = layers.into_values().zip(sites);
        attach_at(&mut a.model.root, &places, |number, node| {
            if let Some((experts, site)) = rest.next() {
                node.tuners.push(Box::new(Experts::new(id, number, experts, site, selection)));
            }
            Ok(())
        })?;
        if let Some(body) = body(a.model)? {
            attach_at(&mut a.model.root, &[body], |_, node| {
                let own = Own { adapter: id, before: "", name: String::new(), params: Vec::new() };
                node.tuners.push(Box::new(Probe { own, at: HIDDEN, output: true }));
                Ok(())
            })?;
        }
        a.model.root.tuners.push(Box::new(Mixed::new(id, classifier, c.scaling_pass_value)));
        Ok(attachment)
    }
}

fn folders(c: &XLoraConfig) -> Result<Vec<(String, String)>> {
    let Json::Object(given) = &c.adapters.0 else {
        return Err(Error::config("adapters", "expected an object of folders by names"));
    };
    given
        .iter()
        .map(|(name, folder)| match folder.as_str() {
            Some(folder) => Ok((name.clone(), folder.to_owned())),
            None => Err(Error::config(format!("adapters.{name}"), "expected a folder")),
        })
        .collect()
}

/// The module below the root whose output is the last hidden states; nothing where that is the root itself.
fn body(model: &Model) -> Result<Option<Place>> {
    let name = match (model.keys.task, model.keys.blocks.split_once('.')) {
        (TaskType::Encoder, _) | (_, None) => return Ok(None),
        (_, Some((first, _))) => first,
    };
    let node = named_nodes(&model.root).into_iter().find(|(path, _)| path == name);
    let (path, node) = node.ok_or_else(|| Error::Invalid(format!("this model has no {name}")))?;
    Ok(Some(Place { id: node.id(), path }))
}
