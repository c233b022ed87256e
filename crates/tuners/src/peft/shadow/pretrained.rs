//! A network that was trained before, from its folder.

use crate::blocks::Dense;
use crate::method::Attach;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use swift_tuners_nn::checkpoint::{json, load_body, safetensors};
use swift_tuners_nn::models::Body;
use swift_tuners_nn::module::own_parameters;
use swift_tuners_nn::{Array, Error, Param, Result};

const FIELD: &str = "shadow_model";
/// The kind of checkpoint that has a network with its projection to a wider model.
const PROJECTED: &str = "causal_lm_with_hidden_projection";

/// The network of a folder, its embeddings frozen, and the projection where the folder has one.
pub fn load(dir: &Path, a: &Attach<'_>) -> Result<(Body, Option<Dense>)> {
    let at = |e: Error| Error::config(FIELD, e.to_string());
    let mut config = json::read(&dir.join("config.json")).map_err(at)?;
    let (dtype, device) = (a.model.dtype, &a.model.device);
    let plain = |config: &mut Json| config.as_object_mut().map(|fields| fields.remove("architectures"));
    let (body, projection) = if config["model_type"] == PROJECTED {
        let mut inner = config["shadow_model_config"].take();
        plain(&mut inner);
        let file = safetensors::SafeTensors::open(&dir.join("model.safetensors")).map_err(at)?;
        let weight: Array = file.read("shadow_hidden_projection.weight").map_err(at)?;
        let weight = Param::new(weight.to_dtype(dtype)?.to_device(device)?, true);
        (load_body(dir, inner, Some("shadow_model"), dtype, device), Some(Dense { weight, bias: None }))
    } else {
        plain(&mut config);
        (load_body(dir, config, None, dtype, device), None)
    };
    let body = body.map_err(at)?;
    for (name, param) in own_parameters(&body.node) {
        // Its embeddings stay as they are.
        param.set_requires_grad(!is_below(&name, body.embedding));
    }
    Ok((body, projection))
}

/// Whether a parameter of a network lies in that module of it.
pub fn is_below(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}

/// A folder as given, or relative to the folder of the checkpoint that names it, or to the one around that.
pub fn resolve(folder: &str, checkpoint: Option<&Path>) -> Result<PathBuf> {
    let around = checkpoint.and_then(Path::parent);
    let mut candidates = vec![PathBuf::from(folder)];
    candidates.extend([checkpoint, around].into_iter().flatten().map(|dir| dir.join(folder)));
    let found = candidates.into_iter().find(|dir| dir.join("config.json").exists());
    let found = found.ok_or_else(|| {
        let shown = swift_tuners_nn::error::printable(folder, 200);
        Error::config(FIELD, format!("{shown:?} is no folder of a model; download it first, or leave it at 'mirror'"))
    })?;
    found.canonicalize().map_err(|e| Error::io(&found, e))
}
