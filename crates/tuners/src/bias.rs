//! Which biases of the base train with an adapter.

use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// Which biases of the base train with an adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    #[default]
    None,
    All,
    /// Those of the adapted layers (`lora_only` and its kin).
    Adapted,
}

/// `none`, `all`, or `<tuner>_only`.
pub fn bias_of(value: &Json) -> Result<Bias> {
    match value {
        Json::Null => Ok(Bias::None),
        Json::String(s) => match s.as_str() {
            "none" => Ok(Bias::None),
            "all" => Ok(Bias::All),
            other if other.ends_with("_only") => Ok(Bias::Adapted),
            other => {
                let found = printable(other, 40);
                Err(Error::config("bias", format!("expected none, all or lora_only, found {found:?}")))
            }
        },
        other => Err(Error::config("bias", format!("expected a string, found {}", printable(&other.to_string(), 40)))),
    }
}
