//! Which tokens the assistant said.

use super::{refused, Chat, Encoded, Turn};
use crate::error::{Kind, Result};
use crate::jinja::{limits, Template};
use tokenizers::{Encoding, Tokenizer};

fn encoding(tokenizer: &Tokenizer, text: &str) -> Result<Encoding> {
    tokenizer.encode_char_offsets(text, false).map_err(|e| refused(format!("the tokenizer refuses the text: {e}")))
}

/// Ids of a text that has its special tokens.
pub fn ids(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    let encoding =
        tokenizer.encode_fast(text, false).map_err(|e| refused(format!("the tokenizer refuses the text: {e}")))?;
    Ok(encoding.get_ids().to_vec())
}

/// Messages of the assistant.
fn answers(chat: &Chat) -> Vec<usize> {
    (0..chat.messages.len()).filter(|at| chat.role(*at).as_deref() == Some("assistant")).collect()
}

/// From places in bytes to places in characters; these grow.
fn characters(text: &str, spans: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut ends: Vec<usize> = spans.iter().flat_map(|(a, b)| [*a, *b]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut counts = std::collections::HashMap::with_capacity(ends.len());
    let (mut at, mut count) = (0, 0);
    for end in ends {
        count += text[at..end].chars().count();
        at = end;
        counts.insert(end, count);
    }
    spans.iter().map(|(a, b)| (counts[a], counts[b])).collect()
}

/// The tokens of which at least one character is in a span.
fn tokens(offsets: &[(usize, usize)], (start, end): (usize, usize)) -> Result<Option<(usize, usize)>> {
    limits::step(offsets.len() / 8 + 1)?;
    let inside = |&(from, to): &(usize, usize)| from < end && to > start;
    let first = offsets.iter().position(inside);
    let last = offsets.iter().rposition(inside);
    Ok(first.zip(last).map(|(first, last)| (first, last + 1)))
}

/// `{% generation %}`: a token belongs to a block when at least one of its characters does.
pub fn of_blocks(template: &Template, tokenizer: &Tokenizer, chat: &Chat, prompt: bool) -> Result<Encoded> {
    let rendered = chat.render(template, chat.messages.len(), prompt)?;
    let encoding = encoding(tokenizer, &rendered.text)?;
    let answers = answers(chat);
    let whose = if rendered.spans.len() == answers.len() {
        answers.iter().map(|at| Some(*at)).collect()
    } else {
        by_message(template, chat, &answers, rendered.spans.len())?
    };
    let mut turns = Vec::new();
    for (span, message) in characters(&rendered.text, &rendered.spans).into_iter().zip(&whose) {
        let Some(message) = message else { continue };
        if let Some((start, end)) = tokens(encoding.get_offsets(), span)? {
            turns.push(Turn { message: *message, start, end });
        }
    }
    // A block inside of a block is a part of it.
    let all = turns.clone();
    let inside = |a: &Turn, b: &Turn| a != b && a.message == b.message && b.start <= a.start && a.end <= b.end;
    limits::step(all.len() * all.len())?;
    turns.retain(|turn| !all.iter().any(|other| inside(turn, other)));
    turns.dedup();
    let skipped = answers.into_iter().filter(|at| !whose.contains(&Some(*at))).collect();
    Ok(Encoded { ids: encoding.get_ids().to_vec(), turns, skipped })
}

/// Whose blocks they are where a message has several, or none: those that come with it when the conversation grows.
fn by_message(template: &Template, chat: &Chat, answers: &[usize], count: usize) -> Result<Vec<Option<usize>>> {
    let mut whose = vec![None; count];
    let mut before = 0;
    for &at in answers {
        let blocks = match chat.render(template, at + 1, false) {
            Ok(rendered) => rendered.spans.len().min(count),
            Err(e) if e.kind == Kind::Limit => return Err(e),
            Err(_) => continue,
        };
        for owner in whose.iter_mut().take(blocks).skip(before) {
            *owner = Some(at);
        }
        before = before.max(blocks);
    }
    Ok(whose)
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Without blocks: what a message adds to the conversation before it, if later ones leave it as it is.
///
/// Message i: head = ids of the messages before it with the generation prompt, tail = ids of those up to it; the turn is from where
/// head and tail part to where tail and the whole part, if what is left of tail is special.
pub fn of_prefixes(template: &Template, tokenizer: &Tokenizer, chat: &Chat, prompt: bool) -> Result<Encoded> {
    let count = chat.messages.len();
    let whole = ids(tokenizer, &chat.render(template, count, prompt)?.text)?;
    let special: std::collections::HashSet<u32> =
        tokenizer.get_added_tokens_decoder().into_iter().filter(|(_, token)| token.special).map(|(id, _)| id).collect();
    let mut encoded = Encoded { ids: Vec::new(), turns: Vec::new(), skipped: Vec::new() };
    for at in answers(chat) {
        let part = |count: usize, prompt: bool| match chat.render(template, count, prompt) {
            Ok(rendered) => ids(tokenizer, &rendered.text).map(Some),
            Err(e) if e.kind == Kind::Limit => Err(e),
            Err(_) => Ok(None),
        };
        let tail = if at + 1 == count && !prompt { Some(whole.clone()) } else { part(at + 1, false)? };
        let head = if at > 0 { part(at, true)? } else { None };
        let turn = head.zip(tail).and_then(|(head, tail)| {
            let (start, end) = (common(&head, &tail), common(&tail, &whole));
            (start < end && tail[end..].iter().all(|id| special.contains(id))).then_some(Turn {
                message: at,
                start,
                end,
            })
        });
        match turn {
            Some(turn) => encoded.turns.push(turn),
            None => encoded.skipped.push(at),
        }
    }
    Ok(Encoded { ids: whole, ..encoded })
}
