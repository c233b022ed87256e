//! HTML, which `escape`, `safe` and `autoescape` are about.

use super::text::Text;
use super::value::Value;
use super::{limits, print};
use crate::error::Result;
use std::rc::Rc;

/// The text as HTML, unless it is some already.
pub fn escaped(text: &Rc<Text>) -> Result<Rc<Text>> {
    if text.safe {
        return Ok(text.clone());
    }
    limits::bytes(text.len())?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    Text::with(out, Vec::new(), true)
}

/// `str(value)` as HTML.
pub fn escape(value: &Value) -> Result<Value> {
    Ok(Value::Str(escaped(&print::text(value)?)?))
}

/// `str(value)`, which is HTML already.
pub fn safe(value: &Value) -> Result<Value> {
    let text = print::text(value)?;
    Ok(Value::Str(Text::with(text.text.clone(), text.spans.clone(), true)?))
}
