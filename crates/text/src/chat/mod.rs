//! Conversations: laid out by a chat template, as ids, with the turns of the assistant.

mod last;
mod many;
mod messages;
mod spans;

pub use many::{encode_rows, Templates};

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::jinja::{limits, read_json, Key, Template, Value};
use std::sync::Arc;
use tokenizers::Tokenizer;

/// Steps of a template that all renderings of one conversation share: the turns are found by many.
const RUNS: u64 = 10;

/// A chat template, and its text.
pub struct ChatTemplate {
    template: Template,
    source: String,
}

/// A conversation and what goes with it.
pub struct Request<'a> {
    /// JSON: a list of objects.
    pub messages: &'a str,
    /// JSON: an object of the template's variables, special tokens among them; later ones win.
    pub variables: &'a str,
    pub clock: Clock,
    /// Ends with what the assistant's answer begins with.
    pub generation_prompt: bool,
    /// The field of the last message that is to be continued.
    pub continued: Option<&'a str>,
}

/// Tokens that a message of the assistant is made of: `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Index of the message.
    pub message: usize,
    pub start: usize,
    pub end: usize,
}

/// A conversation as ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    pub turns: Vec<Turn>,
    /// Messages of the assistant whose tokens cannot be told.
    pub skipped: Vec<usize>,
}

/// A conversation on this thread.
struct Chat {
    messages: Vec<Value>,
    variables: Vec<(Arc<str>, Value)>,
    clock: Clock,
}

fn text(value: &str) -> Arc<str> {
    value.into()
}

/// Variables of a template, of which later ones win.
struct Variables(Vec<(Arc<str>, Value)>);

impl Variables {
    fn new(json: &str) -> Result<Self> {
        let mut variables = Self(vec![(text("tools"), Value::None), (text("documents"), Value::None)]);
        variables.add(&read_json(json)?)?;
        Ok(variables)
    }

    fn add(&mut self, object: &Value) -> Result<()> {
        let Value::Dict(dict) = object else { return Err(Error::typed("variables of a template are an object")) };
        for (key, value) in &dict.map {
            let Value::Str(name) = key.value() else { continue };
            if matches!(&*name.text, "messages" | "add_generation_prompt") {
                return Err(refused(format!("'{}' is no variable of one's own", name.text)));
            }
            self.0.push((text(name), value.clone()));
        }
        Ok(())
    }
}

impl Chat {
    fn new(messages: &Value, variables: Variables, clock: Clock) -> Result<Self> {
        let messages = messages::prepared(messages)?;
        if messages.is_empty() {
            return Err(refused("a conversation has at least one message"));
        }
        Ok(Self { messages, variables: variables.0, clock })
    }

    fn of(request: &Request) -> Result<Self> {
        Self::new(&read_json(request.messages)?, Variables::new(request.variables)?, request.clock)
    }

    /// Lays the first `count` messages out.
    fn render(&self, template: &Template, count: usize, generation_prompt: bool) -> Result<crate::Rendered> {
        let mut values = self.variables.clone();
        values.push((text("messages"), Value::list(self.messages[..count].to_vec())?));
        values.push((text("add_generation_prompt"), Value::Bool(generation_prompt)));
        template.run(values, self.clock)
    }

    fn role(&self, at: usize) -> Option<String> {
        match &self.messages[at] {
            Value::Dict(message) => match message.get("role") {
                Some(Value::Str(role)) => Some(role.text.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}

impl ChatTemplate {
    /// Reads a template's text. Needs a deep stack, as all of this does ([`on_stack`](crate::on_stack)).
    pub fn new(source: &str) -> Result<Self> {
        Ok(Self { template: Template::new(source)?, source: source.to_owned() })
    }

    /// Whether the template speaks of a variable.
    pub fn uses(&self, name: &str) -> bool {
        self.template.uses(name)
    }

    /// The conversation as text.
    pub fn render(&self, request: &Request) -> Result<String> {
        limits::begin(1);
        let mut chat = Chat::of(request)?;
        let count = chat.messages.len();
        let Some(field) = request.continued else {
            return Ok(chat.render(&self.template, count, request.generation_prompt)?.text);
        };
        if request.generation_prompt {
            let message = "continue_final_message and add_generation_prompt are not compatible";
            return Err(refused(message));
        }
        let wanted = last::tag(&mut chat.messages, field, &self.source)?;
        last::cut(chat.render(&self.template, count, false)?.text, &wanted)
    }

    /// The conversation as ids, without tokens that the tokenizer adds: the template writes them itself.
    pub fn encode(&self, tokenizer: &Tokenizer, request: &Request) -> Result<Encoded> {
        if request.continued.is_some() {
            let text = self.render(request)?;
            return Ok(Encoded { ids: spans::ids(tokenizer, &text)?, ..Encoded::default() });
        }
        limits::begin(RUNS);
        self.encode_chat(tokenizer, &Chat::of(request)?, request.generation_prompt)
    }

    fn encode_chat(&self, tokenizer: &Tokenizer, chat: &Chat, generation_prompt: bool) -> Result<Encoded> {
        if self.template.has_generation() {
            return spans::of_blocks(&self.template, tokenizer, chat, generation_prompt);
        }
        spans::of_prefixes(&self.template, tokenizer, chat, generation_prompt)
    }
}

/// A field of a dictionary as a key.
fn key(name: &str) -> Result<Key> {
    Key::new(Value::str(name)?)
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::Value, message)
}
