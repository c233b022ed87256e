//! Part: full training of chosen modules, on copies that belong to the adapter.
//!
//! Python's `swift.tuners.part`.

use crate::config::Dialect;
use crate::copied::{Copied, CopyKind};
use crate::fields::Required;
use crate::method::{Attach, Attachment, Kind};
use crate::target::{attach_at, SwiftPattern};
use serde_json::Value as Json;
use swift_tuners_nn::module::{Node, PartName, Role};
use swift_tuners_nn::Result;

crate::config! {
    /// `PartConfig`
    pub struct PartConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        /// A regular expression for whole names.
        target_modules: Required<SwiftPattern>;
    }
}

/// The kind of tuner.
#[derive(Clone)]
pub struct PartTuning;

impl Kind for PartTuning {
    const NAME: &'static str = "part";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "PartConfig";
    const ABOUT: &'static str = "Full training of chosen modules, on copies that belong to the adapter.";
    type Config = PartConfig;

    fn attach(config: &PartConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        let (id, name) = (a.id, a.name);
        let mut places = config.target_modules.0.places(a.model, "target_modules")?;
        places.retain(|p| !p.path.is_empty());
        // Inside of a LoRA, which goes on applying to the copy; Python skips modules that LoRA wraps already.
        let inside = |node: &Node| node.tuners.iter().position(|t| t.merges()).unwrap_or(node.tuners.len());
        attach_at(&mut a.model.root, &places, |_, node| Copied::<Self>::attach(node, id, name, inside))?;
        Ok(Attachment::new(a.config))
    }
}

/// Saved under the names that the module's own parameters have; the original stays as it is.
impl CopyKind for PartTuning {
    const WHAT: &'static str = "part";
    const BASE_NAME: Option<&'static str> = None;
    const ROLE: Role = Role::Trained;
    const REPLACES: bool = false;

    fn name(adapter: &str) -> String {
        format!("_part_{adapter}")
    }

    fn part(path: String) -> PartName {
        PartName::Plain(path)
    }
}
