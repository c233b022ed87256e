//! Texts that know which of their parts the assistant said.

use super::limits::{self, Weight};
use crate::error::Result;
use std::rc::Rc;

/// A place in a text, in bytes: `[start, end)`.
pub type Span = (usize, usize);

/// A text, the places of `{% generation %}` blocks in it, and whether it counts as HTML (`safe`).
#[derive(Default)]
pub struct Text {
    pub text: String,
    pub spans: Vec<Span>,
    pub safe: bool,
    _weight: Option<Weight>,
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl Text {
    pub fn new(text: String) -> Result<Rc<Self>> {
        Self::with(text, Vec::new(), false)
    }

    pub fn with(text: String, spans: Vec<Span>, safe: bool) -> Result<Rc<Self>> {
        limits::text(text.len())?;
        let weight = Weight::new(text.len() + 64 + 16 * spans.len())?;
        Ok(Rc::new(Self { text, spans, safe, _weight: Some(weight) }))
    }

    /// A part of the text, with what is marked in it.
    pub fn part(&self, start: usize, end: usize) -> Result<Rc<Self>> {
        let clip = |&(a, b): &Span| (a.max(start) - start, b.min(end).max(start) - start);
        let spans = self.spans.iter().filter(|(a, b)| *a < end && *b > start).map(clip).collect();
        Self::with(self.text[start..end].to_owned(), spans, self.safe)
    }
}

/// A text that is being written.
pub struct Writer {
    text: String,
    spans: Vec<Span>,
    weight: Weight,
}

impl Writer {
    pub fn new() -> Result<Self> {
        Ok(Self { text: String::new(), spans: Vec::new(), weight: Weight::new(64)? })
    }

    pub fn push(&mut self, text: &str) -> Result<()> {
        limits::bytes(text.len())?;
        if self.text.len() + text.len() > limits::TEXT {
            limits::text(self.text.len() + text.len())?;
        }
        self.weight.grow(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub fn push_text(&mut self, text: &Text) -> Result<()> {
        let at = self.text.len();
        self.push(text)?;
        self.weight.grow(16 * text.spans.len())?;
        self.spans.extend(text.spans.iter().map(|(a, b)| (a + at, b + at)));
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Marks what was written since `from`.
    pub fn mark(&mut self, from: usize) -> Result<()> {
        self.weight.grow(16)?;
        self.spans.push((from, self.text.len()));
        Ok(())
    }

    pub fn finish(self, safe: bool) -> Result<Rc<Text>> {
        let Self { text, spans, weight } = self;
        drop(weight);
        Text::with(text, spans, safe)
    }

    pub fn into_parts(self) -> (String, Vec<Span>) {
        (self.text, self.spans)
    }
}
