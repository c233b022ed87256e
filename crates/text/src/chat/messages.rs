//! Messages as a template sees them.

use super::refused;
use crate::error::Result;
use crate::jinja::Value;

/// Fields that are for the loss, and not for the template.
const OWN: [&str; 2] = ["loss", "loss_scale"];

/// The messages without what is not for the template; all else stays, fields without a value too.
pub fn prepared(messages: &Value) -> Result<Vec<Value>> {
    let Value::List(list) = messages else { return Err(refused("messages are a list")) };
    list.items.iter().enumerate().map(|(at, message)| one(at, message)).collect()
}

fn one(at: usize, message: &Value) -> Result<Value> {
    let Value::Dict(dict) = message else { return Err(refused(format!("message {at} is no object"))) };
    if OWN.iter().all(|name| dict.get(name).is_none()) {
        return Ok(message.clone());
    }
    let own = |name: &Value| matches!(name, Value::Str(text) if OWN.contains(&&*text.text));
    Value::dict(dict.map.iter().filter(|(name, _)| !own(name.value())).map(|(k, v)| (k.clone(), v.clone())).collect())
}
