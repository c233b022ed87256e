//! `continue_final_message`: the text ends where the last message does.

use super::{key, refused};
use crate::error::Result;
use crate::jinja::{is_space, Value};

/// Written behind the last message, looked for in the text, and cut off with what follows.
const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

fn tagged(text: &str) -> Result<Value> {
    Value::str(format!("{text}{TAG}"))
}

/// Puts the tag behind the last message's field; returns the text of it.
pub fn tag(messages: &mut [Value], field: &str, template: &str) -> Result<String> {
    let Some(Value::Dict(last)) = messages.last().cloned() else { return Err(refused("the conversation is empty")) };
    let content = last.get(field).cloned().ok_or_else(|| {
        refused(format!("continue_final_message is set but the final message has no \"{field}\" to continue"))
    })?;
    if !template.contains(field) {
        return Err(refused(format!(
            "continue_final_message is set to \"{field}\" but the chat_template does not read it"
        )));
    }
    let mut map = last.map.clone();
    let text = match &content {
        Value::Str(text) => {
            map.insert(key(field)?, tagged(text)?);
            text.text.clone()
        }
        Value::List(parts) => {
            let mut parts = parts.items.clone();
            let at = parts.iter().rposition(|part| matches!(part, Value::Dict(d) if d.get("text").is_some()));
            let at = at.ok_or_else(|| {
                refused("continue_final_message is set but the final message has no text to continue")
            })?;
            let Value::Dict(part) = &parts[at] else { return Err(refused("the final message has no text")) };
            let Some(Value::Str(text)) = part.get("text").cloned() else {
                return Err(refused("the text of the final message is no string"));
            };
            let mut changed = part.map.clone();
            changed.insert(key("text")?, tagged(&text)?);
            parts[at] = Value::dict(changed)?;
            map.insert(key(field)?, Value::list(parts)?);
            text.text.clone()
        }
        other => return Err(refused(format!("continue_final_message: the field is of type {}", other.type_name()))),
    };
    if let Some(last) = messages.last_mut() {
        *last = Value::dict(map)?;
    }
    Ok(text)
}

/// Cuts a text where the tag is. Where the template took white space off the message, that before the tag goes, too.
pub fn cut(mut text: String, message: &str) -> Result<String> {
    let found = text.rfind(TAG.trim_end()).filter(|_| text.contains(message.trim_matches(is_space)));
    let at = found.ok_or_else(|| {
        refused("continue_final_message is set but the final message does not appear in the chat after applying the chat template")
    })?;
    let whole = text[at..].starts_with(TAG);
    text.truncate(at);
    if !whole {
        text.truncate(text.trim_end_matches(is_space).len());
    }
    Ok(text)
}
