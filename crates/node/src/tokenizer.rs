//! `tokenizer.json` through the `tokenizers` crate.

use crate::cancel::{flag, NativeCancelFlag};
use crate::error::guard;
use crate::job::job;
use napi::bindgen_prelude::*;
use napi::Env;
use napi_derive::napi;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use swift_tuners_nn::checkpoint::files::read_bounded;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::Error;
use tokenizers::{PostProcessor, Tokenizer};

const MAX_BYTES: u64 = 256 << 20;
/// Texts that are encoded at once.
const TEXTS: usize = 1024;

#[napi]
pub struct NativeTokenizer(Arc<Tokenizer>);

#[napi(ts_return_type = "Promise<NativeTokenizer>")]
pub fn load_tokenizer(env: &Env, file: String) -> napi::Result<Object<'_>> {
    job(env, move || {
        let path = PathBuf::from(file);
        let bytes = read_bounded(&path, MAX_BYTES)?;
        let parsed = swift_tuners_nn::checkpoint::json::parse(&bytes).map_err(|e| Error::corrupt(&path, e))?;
        let read = swift_tuners_text::read_tokenizer(&bytes, &parsed);
        let mut tokenizer = read.map_err(|why| Error::corrupt(&path, printable(&why, 300)))?;
        // Padding and truncation are the caller's choice, not the file's.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| Error::corrupt(&path, printable(&e.to_string(), 300)))?;
        with_whole_offsets(&mut tokenizer).map_err(|e| Error::corrupt(&path, printable(&e.to_string(), 300)))?;
        Ok(NativeTokenizer(Arc::new(tokenizer)))
    })
}

impl NativeTokenizer {
    pub fn inner(&self) -> &Arc<Tokenizer> {
        &self.0
    }
}

/// A small text file of a tokenizer's folder; nothing where there is none. What is no regular file is refused.
#[napi]
pub fn read_text(file: String, max: f64) -> napi::Result<Option<String>> {
    guard(|| {
        let path = PathBuf::from(file);
        // A link that leads nowhere is an error, and not an absence.
        if path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let text = String::from_utf8(read_bounded(&path, max as u64)?);
        Ok(Some(text.map_err(|_| Error::corrupt(&path, "the file is no UTF-8"))?))
    })
}

/// Lets a tokenizer tell the places of white space, too: a token of it belongs to a turn as others do.
fn with_whole_offsets(tokenizer: &mut Tokenizer) -> std::result::Result<(), serde_json::Error> {
    /// Counts what it changed.
    fn untrimmed(value: &mut serde_json::Value) -> usize {
        match value {
            serde_json::Value::Object(map) => {
                let trims = map.get("trim_offsets") == Some(&true.into());
                if trims {
                    map.insert("trim_offsets".into(), false.into());
                }
                usize::from(trims) + map.values_mut().map(untrimmed).sum::<usize>()
            }
            serde_json::Value::Array(items) => items.iter_mut().map(untrimmed).sum(),
            _ => 0,
        }
    }
    let Some(processor) = tokenizer.get_post_processor() else { return Ok(()) };
    let mut value = serde_json::to_value(processor)?;
    if untrimmed(&mut value) > 0 {
        let processor: tokenizers::PostProcessorWrapper = serde_json::from_value(value)?;
        tokenizer.with_post_processor(Some(processor));
    }
    Ok(())
}

/// Text of token ids that come one by one: what is not a whole character yet waits for the ids that complete it.
///
/// Decoders look at neighbours (they drop a first space, join bytes to characters), so that ids are decoded behind those of the last
/// text given, as text-generation-inference does, and the text of these is taken off.
#[napi]
pub struct NativeDecodeStream {
    tokenizer: Arc<Tokenizer>,
    skip_special_tokens: bool,
    inner: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    /// The ids behind which others are decoded, and those that wait.
    ids: Vec<u32>,
    /// How many of them have been given.
    given: usize,
}

/// What bytes decode to that are no whole character.
const INCOMPLETE: char = '\u{fffd}';

impl NativeDecodeStream {
    /// The text of all ids here behind that of the given ones.
    fn rest(&self, pending: &Pending) -> swift_tuners_nn::Result<String> {
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, self.skip_special_tokens).map_err(failed);
        let (before, all) = (decode(&pending.ids[..pending.given])?, decode(&pending.ids)?);
        let same = before.char_indices().zip(all.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
        Ok(all[same.unwrap_or(before.len().min(all.len()))..].to_owned())
    }
}

#[napi]
impl NativeDecodeStream {
    #[napi(constructor)]
    pub fn new(tokenizer: &NativeTokenizer, skip_special_tokens: bool) -> Self {
        Self { tokenizer: tokenizer.0.clone(), skip_special_tokens, inner: Mutex::default() }
    }

    /// The text that these ids complete.
    #[napi]
    pub fn push(&self, ids: Vec<u32>) -> napi::Result<String> {
        guard(|| {
            let mut pending = self.inner.lock();
            pending.ids.extend(ids);
            let rest = self.rest(&pending)?;
            if rest.is_empty() || rest.ends_with(INCOMPLETE) {
                return Ok(String::new());
            }
            let given = pending.given;
            pending.ids.drain(..given);
            pending.given = pending.ids.len();
            Ok(rest)
        })
    }

    /// What has waited in vain; the stream begins anew.
    #[napi]
    pub fn end(&self) -> napi::Result<String> {
        guard(|| {
            let mut pending = self.inner.lock();
            let rest = self.rest(&pending)?;
            *pending = Pending::default();
            Ok(rest)
        })
    }
}

fn failed(e: tokenizers::Error) -> Error {
    Error::Argument(format!("tokenizer: {}", printable(&e.to_string(), 300)))
}

#[napi]
impl NativeTokenizer {
    #[napi]
    pub fn encode(&self, text: String, add_special_tokens: bool) -> napi::Result<Vec<u32>> {
        guard(|| Ok(self.0.encode(text, add_special_tokens).map_err(failed)?.get_ids().to_vec()))
    }

    #[napi]
    pub fn encode_batch(&self, texts: Vec<String>, add_special_tokens: bool) -> napi::Result<Vec<Vec<u32>>> {
        guard(|| {
            let all = self.0.encode_batch(texts, add_special_tokens).map_err(failed)?;
            Ok(all.iter().map(|e| e.get_ids().to_vec()).collect())
        })
    }

    /// Encodes several texts elsewhere.
    #[napi(ts_return_type = "Promise<Array<Array<number>>>")]
    pub fn encode_many<'env>(
        &self,
        env: &'env Env,
        texts: Vec<String>,
        add_special_tokens: bool,
        cancel: Option<&NativeCancelFlag>,
    ) -> napi::Result<Object<'env>> {
        let (tokenizer, cancelled) = (self.0.clone(), flag(cancel));
        job(env, move || {
            let mut ids = Vec::with_capacity(texts.len());
            // In parts, so that an abort need not wait for all of them.
            for part in texts.chunks(TEXTS) {
                cancelled.check()?;
                let all = tokenizer.encode_batch_fast(part.to_vec(), add_special_tokens).map_err(failed)?;
                ids.extend(all.iter().map(|e| e.get_ids().to_vec()));
            }
            Ok(ids)
        })
    }

    #[napi]
    pub fn decode(&self, ids: Vec<u32>, skip_special_tokens: bool) -> napi::Result<String> {
        guard(|| self.0.decode(&ids, skip_special_tokens).map_err(failed))
    }

    #[napi]
    pub fn token_to_id(&self, token: String) -> Option<u32> {
        self.0.token_to_id(&token)
    }

    /// Encodes at most `max` tokens, the special ones kept.
    #[napi]
    pub fn encode_truncated(&self, text: String, max: u32) -> napi::Result<Vec<u32>> {
        guard(|| {
            let special = self.0.get_post_processor().map_or(0, |p| p.added_tokens(false));
            let mut encoding = self.0.encode(text, false).map_err(failed)?;
            let room = (max as usize).saturating_sub(special);
            if encoding.get_ids().len() > room {
                encoding.truncate(room, 0, tokenizers::TruncationDirection::Right);
            }
            Ok(self.0.post_process(encoding, None, true).map_err(failed)?.get_ids().to_vec())
        })
    }

    #[napi(getter)]
    pub fn vocab_size(&self) -> u32 {
        self.0.get_vocab_size(true) as u32
    }
}
