//! LLaMA-Pro: new blocks between the old ones, which start as identities.
//!
//! Wu et al. 2024 (arXiv 2401.02415); Python's `swift.tuners.llamapro`. The one tuner that changes the tree.

use crate::config::Dialect;
use crate::fields::Required;
use crate::method::{Attach, Attachment, Kind, Traits};
use crate::target::KeyMapping;
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::models::Keys;
use swift_tuners_nn::module::{for_each_list_mut, own_parameters, Node, NodeList};
use swift_tuners_nn::{AdapterId, Error, Result};

crate::config! {
    /// `LLaMAProConfig`
    pub struct LlamaProConfig {
        standard: [];
        /// For architectures that SWIFT has no name for.
        model_key_mapping: Option<KeyMapping> = None;
        /// SWIFT's name of the architecture: 'llama' for Llama, Mistral, Qwen and Gemma, 'phi3', …
        model_type: Option<String> = None;
        num_new_blocks: Required<usize>;
        /// How many blocks are inserted, evenly. Default `numNewBlocks`.
        num_groups: Option<usize> = None;
    }
}

/// The kind of tuner.
pub struct LlamaPro;

impl Kind for LlamaPro {
    const NAME: &'static str = "LLAMAPRO";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "LLaMAProConfig";
    const ABOUT: &'static str =
        "New blocks between the old ones, which start as identities. Wu et al. 2024 (arXiv 2401.02415).";
    const TRAITS: Traits = Traits { inserts_blocks: true, ..Traits::DEFAULT };
    type Config = LlamaProConfig;

    fn check(config: &LlamaProConfig) -> Result<()> {
        if config.num_new_blocks.0 == 0 || config.num_groups == Some(0) {
            return Err(Error::config("num_new_blocks", "expected a positive integer"));
        }
        Layout::new(config).map(|_| ())
    }

    fn attach(config: &LlamaProConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

/// The list of blocks, and inside of a block the two projections that end its branches.
struct Layout {
    blocks: String,
    projections: [String; 2],
}

impl Layout {
    fn new(c: &LlamaProConfig) -> Result<Self> {
        let name = c.model_type.as_deref();
        let inside = |field: &str, path: &str| {
            path.split_once("{}.").map(|(_, rest)| rest.to_owned()).ok_or_else(|| {
                Error::config(format!("model_key_mapping.{field}"), format!("{:?} has no {{}}", printable(path, 80)))
            })
        };
        if let Some((blocks, o_proj, down_proj)) = name.and_then(Keys::swift_architecture) {
            let projections = [inside("o_proj", o_proj)?, inside("down_proj", down_proj)?];
            return Ok(Self { blocks: blocks.to_owned(), projections });
        }
        let Some(mapping) = &c.model_key_mapping else {
            return Err(Error::config(
                "model_type",
                format!(
                    "{:?} is no architecture that SWIFT knows (llama, phi3, qwen, …); give model_key_mapping instead",
                    printable(name.unwrap_or(""), 60)
                ),
            ));
        };
        let text = |field: &str| {
            mapping
                .get(field)
                .ok_or_else(|| Error::config(format!("model_key_mapping.{field}"), "missing: LLaMA-Pro needs it"))
        };
        Ok(Self {
            blocks: text("module_list")?.to_owned(),
            projections: [inside("o_proj", text("o_proj")?)?, inside("down_proj", text("down_proj")?)?],
        })
    }
}

fn attach(c: &LlamaProConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let id = a.id;
    let layout = Layout::new(c)?;
    let new_blocks = c.num_new_blocks.0;
    let groups = c.num_groups.unwrap_or(new_blocks);
    let mut result: Option<Result<Inserted>> = None;
    for_each_list_mut(&mut a.model.root, &mut |path, list| {
        if path == layout.blocks {
            result = Some(insert(list, id, new_blocks, groups, &layout));
        }
    });
    let inserted = result.ok_or_else(|| {
        Error::config("model_type", format!("the model has no list of blocks called {}", layout.blocks))
    })??;
    update_config(&mut a.model.config, &inserted);
    let mut config = a.config.clone();
    config.set("num_groups", groups);
    Ok(Attachment::new(&config))
}

/// What was done to the list of blocks.
struct Inserted {
    before: usize,
    /// Old blocks for each new one.
    stride: usize,
    after: usize,
}

/// Puts a copy behind every `layers / groups`-th block.
fn insert(list: &mut NodeList, id: AdapterId, new_blocks: usize, groups: usize, layout: &Layout) -> Result<Inserted> {
    let layers = list.items.len();
    if list.items.iter().any(|n| n.inserted_for().is_some()) {
        return Err(Error::Invalid("LLaMA-Pro: the model has new blocks of another adapter already".into()));
    }
    if !layers.is_multiple_of(new_blocks) {
        return Err(Error::config("num_new_blocks", format!("{new_blocks} do not divide {layers} layers")));
    }
    if layers / groups == 0 {
        return Err(Error::config("num_groups", format!("{groups} groups of {layers} layers")));
    }
    let stride = layers / groups;
    let mut copies = Vec::new();
    for (i, block) in list.items.iter().enumerate().filter(|(i, _)| (i + 1) % stride == 0) {
        let copy = block.deep_copy()?;
        silence(&copy, layout)?;
        copies.push((i, copy.insert_for(id)));
    }
    for (done, (i, copy)) in copies.into_iter().enumerate() {
        list.items.insert(i + 1 + done, copy);
    }
    list.number_blocks();
    Ok(Inserted { before: layers, stride, after: list.items.len() })
}

/// Zeroes the projections that end a block's branches, so that the block passes its input on.
fn silence(block: &Node, layout: &Layout) -> Result<()> {
    let params = own_parameters(block);
    for (_, param) in &params {
        param.set_requires_grad(true);
    }
    for projection in &layout.projections {
        let (parent, leaf) = projection.rsplit_once('.').unwrap_or(("", projection));
        // In a mixture of experts each expert has one, below the same parent.
        let is_projection = |path: &str| {
            let own = path.strip_suffix(".weight").or_else(|| path.strip_suffix(".bias")).unwrap_or(path);
            own == projection || own.starts_with(parent) && own.rsplit('.').next() == Some(leaf)
        };
        let mut silenced = false;
        for (_, param) in params.iter().filter(|(path, _)| is_projection(path)) {
            param.replace(param.array()?.zeros_like()?);
            silenced = true;
        }
        if !silenced {
            return Err(Error::config("model_type", format!("a block has no {projection}")));
        }
    }
    Ok(())
}

/// `num_hidden_layers` and `layer_types` follow.
fn update_config(config: &mut Json, inserted: &Inserted) {
    for field in ["num_hidden_layers", "n_layer", "num_layers"] {
        if config.get(field).is_some() {
            config[field] = inserted.after.into();
        }
    }
    if let Some(Json::Array(types)) = config.get_mut("layer_types") {
        if types.len() == inserted.before {
            for (i, kind) in std::mem::take(types).into_iter().enumerate() {
                if (i + 1) % inserted.stride == 0 {
                    types.push(kind.clone());
                }
                types.push(kind);
            }
        }
    }
}
