//! Text to tokens, with `trim_blocks` and `lstrip_blocks` (jinja2's lexer.py).

use super::literals;
use super::token::{Placed, Token};
use crate::error::{Error, Kind, Result};
use crate::jinja::python::is_space;

/// Longest first, as one may begin like another.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    /// Whether what was read last ends a line.
    line_starts: bool,
    tokens: Vec<Placed>,
}

/// Tokens of a template; line breaks of any kind are `\n`, and one at the very end is dropped.
pub fn tokens(source: &str) -> Result<Vec<Placed>> {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    let mut lexer = Lexer { source: &text, at: 0, line: 1, line_starts: true, tokens: Vec::new() };
    lexer.root()?;
    lexer.push(Token::End);
    Ok(lexer.tokens)
}

/// Begins with white space taken off.
fn trimmed(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(Kind::Syntax, message).at(self.line)
    }

    fn push(&mut self, token: Token) {
        self.tokens.push(Placed { token, line: self.line });
    }

    /// Moves on over `n` bytes.
    fn skip(&mut self, n: usize) {
        let passed = &self.rest()[..n];
        self.line += passed.matches('\n').count() as u32;
        if n > 0 {
            self.line_starts = passed.ends_with('\n');
        }
        self.at += n;
    }

    fn root(&mut self) -> Result<()> {
        loop {
            let rest = self.rest();
            let Some(begin) = next_tag(rest) else {
                self.data(rest);
                self.skip(rest.len());
                return Ok(());
            };
            let tag = &rest[begin..];
            let sign = tag[2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let kept = self.before_tag(&rest[..begin], sign, tag.starts_with("{{"));
            self.data(kept);
            self.skip(begin + 2 + usize::from(sign.is_some()));
            match &tag[..2] {
                "{#" => self.comment()?,
                "{{" => self.inside(Token::VariableBegin)?,
                _ => match raw_begin(self.rest()) {
                    Some(n) => {
                        self.skip(n);
                        self.raw()?;
                    }
                    None => self.inside(Token::BlockBegin)?,
                },
            }
        }
    }

    /// What stays of the text before a tag.
    fn before_tag(&self, text: &'a str, sign: Option<char>, variable: bool) -> &'a str {
        match sign {
            Some('-') => text.trim_end_matches(is_space),
            Some(_) => text,
            None if variable => text,
            None => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                let whole_line = line > 0 || self.line_starts;
                if whole_line && text[line..].chars().all(is_space) {
                    &text[..line]
                } else {
                    text
                }
            }
        }
    }

    fn data(&mut self, text: &str) {
        if !text.is_empty() {
            self.push(Token::Data(text.to_owned()));
        }
    }

    /// Length of a tag's end with the white space that goes with it, if one is here.
    fn end_of(&self, close: &str, trims: bool) -> Option<usize> {
        let rest = self.rest();
        if let Some(after) = rest.strip_prefix('-').and_then(|r| r.strip_prefix(close)) {
            return Some(rest.len() - trimmed(after).len());
        }
        if trims && rest.strip_prefix('+').is_some_and(|r| r.starts_with(close)) {
            return Some(1 + close.len());
        }
        let after = rest.strip_prefix(close)?;
        Some(close.len() + usize::from(trims && after.starts_with('\n')))
    }

    fn comment(&mut self) -> Result<()> {
        while !self.rest().is_empty() {
            if let Some(n) = self.end_of("#}", true) {
                self.skip(n);
                return Ok(());
            }
            let n = self.rest().chars().next().map_or(0, char::len_utf8);
            self.skip(n);
        }
        Err(self.error("Missing end of comment tag"))
    }

    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        for (at, _) in rest.match_indices("{%") {
            let tag = &rest[at + 2..];
            let sign = tag.chars().next().filter(|c| matches!(c, '-' | '+'));
            let name = trimmed(&tag[usize::from(sign.is_some())..]);
            let Some(after) = name.strip_prefix("endraw").map(trimmed) else { continue };
            let kept = self.before_tag(&rest[..at], sign, false);
            let inside = rest.len() - after.len();
            let (line, at_begin) = (self.line, self.at);
            self.at += inside;
            let Some(end) = self.end_of("%}", true) else {
                self.at = at_begin;
                continue;
            };
            self.at = at_begin;
            self.line = line;
            self.data(kept);
            self.skip(inside + end);
            return Ok(());
        }
        Err(self.error("Missing end of raw directive"))
    }

    /// Tokens of a tag up to its end.
    fn inside(&mut self, begin: Token) -> Result<()> {
        let (close, end, trims) = match begin {
            Token::VariableBegin => ("}}", Token::VariableEnd, false),
            _ => ("%}", Token::BlockEnd, true),
        };
        self.push(begin);
        let mut open: Vec<&str> = Vec::new();
        loop {
            if open.is_empty() {
                if let Some(n) = self.end_of(close, trims) {
                    self.push(end);
                    self.skip(n);
                    return Ok(());
                }
            }
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err(self.error("unexpected end of template in a tag"));
            };
            let (token, n) = if is_space(first) {
                (None, first.len_utf8())
            } else if first.is_ascii_digit() {
                let after_dot = self.source[..self.at].ends_with('.');
                let (token, n) = literals::number(rest, after_dot).map_err(|m| self.error(m))?;
                (Some(token), n)
            } else if first.is_alphanumeric() || first == '_' {
                let n = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Some(Token::Name(rest[..n].to_owned())), n)
            } else if first == '\'' || first == '"' {
                let n =
                    literals::string_length(rest).ok_or_else(|| self.error(format!("unexpected char {first:?}")))?;
                let text = literals::unescape(&rest[1..n - 1]).map_err(|m| self.error(m))?;
                (Some(Token::Str(text)), n)
            } else {
                let op = OPERATORS.into_iter().find(|op| rest.starts_with(op));
                let op = op.ok_or_else(|| self.error(format!("unexpected char {first:?}")))?;
                self.balance(op, &mut open)?;
                (Some(Token::Op(op)), op.len())
            };
            if let Some(token) = token {
                self.push(token);
            }
            self.skip(n);
        }
    }

    fn balance(&self, op: &str, open: &mut Vec<&'static str>) -> Result<()> {
        match op {
            "{" => open.push("}"),
            "(" => open.push(")"),
            "[" => open.push("]"),
            "}" | ")" | "]" => match open.pop() {
                None => return Err(self.error(format!("unexpected '{op}'"))),
                Some(wanted) if wanted != op => {
                    return Err(self.error(format!("unexpected '{op}', expected '{wanted}'")))
                }
                Some(_) => {}
            },
            _ => {}
        }
        Ok(())
    }
}

fn next_tag(text: &str) -> Option<usize> {
    text.match_indices('{')
        .map(|(at, _)| at)
        .find(|&at| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// Length of `raw %}` behind the begin of a block.
fn raw_begin(rest: &str) -> Option<usize> {
    let after = trimmed(trimmed(rest).strip_prefix("raw")?);
    if let Some(after) = after.strip_prefix("-%}") {
        return Some(rest.len() - trimmed(after).len());
    }
    Some(rest.len() - after.strip_prefix("%}")?.len())
}
