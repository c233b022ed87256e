//! Conversations through a chat template: texts, ids, turns.

use crate::cancel::{flag, NativeCancelFlag};
use crate::error::guard;
use crate::job::job;
use crate::tokenizer::NativeTokenizer;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use std::sync::Arc;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::Error;
use swift_tuners_text::chat::{encode_rows, Templates};
use swift_tuners_text::{on_stack, ChatTemplate, Clock, Encoded, Request};

/// A chat template that was read.
#[napi]
pub struct NativeChatTemplate(Arc<ChatTemplate>);

/// A conversation and what goes with it.
#[napi(object)]
pub struct NativeChat {
    /// JSON: a list of objects.
    pub messages: String,
    /// JSON: an object of the template's variables.
    pub variables: String,
    /// Milliseconds since 1970, and minutes that the zone adds.
    pub epoch: f64,
    pub offset: i32,
    pub generation_prompt: bool,
    pub continued: Option<String>,
}

/// A conversation as ids.
#[napi(object)]
pub struct NativeEncodedChat {
    pub ids: Vec<u32>,
    /// Message, start and end of each turn, one after the other.
    pub turns: Vec<u32>,
    pub skipped: Vec<u32>,
}

/// An error of a template; its texts may be a stranger's.
fn failed(e: swift_tuners_text::Error) -> Error {
    Error::config("chat_template", printable(&e.to_string(), 1000))
}

fn deep<T: Send>(work: impl FnOnce() -> swift_tuners_text::Result<T> + Send) -> swift_tuners_nn::Result<T> {
    on_stack(work).map_err(|e| Error::Invalid(format!("no thread for a template: {e}")))?.map_err(failed)
}

impl NativeChat {
    fn request(&self) -> Request<'_> {
        Request {
            messages: &self.messages,
            variables: &self.variables,
            clock: clock(self.epoch, self.offset),
            generation_prompt: self.generation_prompt,
            continued: self.continued.as_deref(),
        }
    }
}

fn clock(epoch: f64, offset: i32) -> Clock {
    Clock { epoch: epoch as i64, offset }
}

fn wire(encoded: Encoded) -> NativeEncodedChat {
    let turns = encoded.turns.iter().flat_map(|t| [t.message, t.start, t.end]).map(|n| n as u32).collect();
    NativeEncodedChat { ids: encoded.ids, turns, skipped: encoded.skipped.iter().map(|at| *at as u32).collect() }
}

#[napi]
impl NativeChatTemplate {
    #[napi(constructor)]
    pub fn new(source: String) -> napi::Result<Self> {
        guard(|| Ok(Self(Arc::new(deep(|| ChatTemplate::new(&source))?))))
    }

    /// Whether the template speaks of a variable.
    #[napi]
    pub fn uses(&self, name: String) -> bool {
        self.0.uses(&name)
    }

    /// The conversation as text.
    #[napi]
    pub fn render(&self, chat: NativeChat) -> napi::Result<String> {
        guard(|| deep(|| self.0.render(&chat.request())))
    }

    /// The conversation as ids.
    #[napi]
    pub fn encode(&self, tokenizer: &NativeTokenizer, chat: NativeChat) -> napi::Result<NativeEncodedChat> {
        guard(|| deep(|| self.0.encode(tokenizer.inner(), &chat.request())).map(wire))
    }

    /// Rows as JSON texts, each a conversation; `with_tools` is the template of those that have some.
    #[allow(clippy::too_many_arguments)] // One call of TypeScript's, which names them.
    #[napi(ts_return_type = "Promise<Array<NativeEncodedChat>>")]
    pub fn encode_rows<'env>(
        &self,
        env: &'env Env,
        tokenizer: &NativeTokenizer,
        with_tools: Option<&NativeChatTemplate>,
        rows: Vec<String>,
        variables: String,
        epoch: f64,
        offset: i32,
        generation_prompt: bool,
        cancel: Option<&NativeCancelFlag>,
    ) -> napi::Result<Object<'env>> {
        let (template, tokenizer, cancelled) = (self.0.clone(), tokenizer.inner().clone(), flag(cancel));
        let with_tools = with_tools.map(|t| t.0.clone());
        job(env, move || {
            let stop = || cancelled.is_cancelled();
            let templates = Templates { plain: &template, with_tools: with_tools.as_deref() };
            let at = clock(epoch, offset);
            let encoded = encode_rows(templates, &tokenizer, &rows, &variables, at, generation_prompt, &stop);
            if stop() {
                return Err(Error::Aborted);
            }
            let encoded = encoded.map_err(|(row, e)| {
                Error::config("chat_template", format!("row {row}: {}", printable(&e.to_string(), 1000)))
            })?;
            Ok(encoded.into_iter().map(wire).collect::<Vec<_>>())
        })
    }
}
