//! `tojson`: `json.dumps(value, ensure_ascii=False)` as transformers has it.

use super::super::args::{truth, CallArgs};
use super::super::json::Style;
use super::super::text::Writer;
use super::super::value::Value;
use crate::error::{Error, Result};

pub fn tojson(value: &Value, args: CallArgs) -> Result<Value> {
    let [ascii, indent, separators, sort] =
        args.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) => Some(text.text.clone()),
        Some(other) => match other.int() {
            Some(n) => Some(" ".repeat(usize::try_from(n.clamp(0, 4096)).unwrap_or(0))),
            None => return Err(Error::typed(format!("tojson: indent may not be of type {}", other.type_name()))),
        },
    };
    let separators = match separators {
        None | Some(Value::None) => ((if indent.is_some() { "," } else { ", " }).to_owned(), ": ".to_owned()),
        Some(other) => match &other.iterate()?[..] {
            [Value::Str(item), Value::Str(key)] => (item.text.clone(), key.text.clone()),
            _ => return Err(Error::value("tojson: separators are two strings")),
        },
    };
    let style = Style { ensure_ascii: truth(&ascii), indent, separators, sort_keys: truth(&sort) };
    let mut out = Writer::new()?;
    style.write(value, 0, &mut out)?;
    Ok(Value::Str(out.finish(false)?))
}
