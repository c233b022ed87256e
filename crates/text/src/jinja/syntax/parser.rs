//! The stream of tokens that statements and expressions are read from.

use super::ast::{Expr, ExprKind, Name, Stmt};
use super::lexer::tokens;
use super::token::{Placed, Token};
use crate::error::{Error, Kind, Result};

/// Bytes of a template's text.
const SOURCE: usize = 4 << 20;
/// Depth of an expression's tree, and blocks or brackets inside each other.
const DEPTH: u16 = 400;
const NESTED: u16 = 120;

pub struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    nested: u16,
    /// Names that were used so far: macros take what their bodies speak of.
    pub names: Vec<Name>,
    /// Loops around this place.
    pub loops: usize,
    /// Whether there was a `generation` block.
    pub generation: bool,
}

/// A template's tree, and what it speaks of.
pub struct Parsed {
    pub body: Vec<Stmt>,
    pub names: Vec<Name>,
    pub generation: bool,
}

/// Reads a template's text.
pub fn parse(source: &str) -> Result<Parsed> {
    if source.len() > SOURCE {
        return Err(Error::new(Kind::Limit, format!("a template of {} bytes; {SOURCE} are allowed", source.len())));
    }
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens, at: 0, nested: 0, names: Vec::new(), loops: 0, generation: false };
    let body = parser.body(&[])?;
    Ok(Parsed { body, names: parser.names, generation: parser.generation })
}

impl Parser {
    pub fn now(&self) -> &Token {
        &self.tokens[self.at].token
    }

    pub fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    /// The token after this one.
    pub fn look(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].token
    }

    pub fn next(&mut self) -> Token {
        let token = self.now().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    pub fn skip_op(&mut self, op: &str) -> bool {
        let here = self.now().is_op(op);
        if here {
            self.next();
        }
        here
    }

    pub fn skip_name(&mut self, name: &str) -> bool {
        let here = self.now().is_name(name);
        if here {
            self.next();
        }
        here
    }

    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::new(Kind::Syntax, message).at(self.line())
    }

    pub fn expect_op(&mut self, op: &str) -> Result<()> {
        if self.skip_op(op) {
            return Ok(());
        }
        Err(self.error(format!("expected token '{op}', got '{}'", self.now().describe())))
    }

    pub fn expect_name(&mut self, name: &str) -> Result<()> {
        if self.skip_name(name) {
            return Ok(());
        }
        Err(self.error(format!("expected token '{name}', got '{}'", self.now().describe())))
    }

    pub fn expect(&mut self, token: &Token) -> Result<()> {
        if self.now() == token {
            self.next();
            return Ok(());
        }
        Err(self.error(format!("expected token '{}', got '{}'", token.describe(), self.now().describe())))
    }

    pub fn name(&mut self) -> Result<Name> {
        match self.now() {
            Token::Name(name) => {
                let name = Name::from(name.as_str());
                self.next();
                Ok(name)
            }
            other => Err(self.error(format!("expected token 'name', got '{}'", other.describe()))),
        }
    }

    /// Reads something inside of what is being read.
    pub fn inside<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nested >= NESTED {
            return Err(Error::new(Kind::Limit, "the template is nested too deeply").at(self.line()));
        }
        self.nested += 1;
        let value = read(self);
        self.nested -= 1;
        value
    }

    pub fn expr(&self, kind: ExprKind, line: u32) -> Result<Expr> {
        let mut depth = 0;
        kind.each(&mut |e| depth = depth.max(e.depth));
        if depth >= DEPTH {
            return Err(Error::new(Kind::Limit, "the expression is nested too deeply").at(line));
        }
        Ok(Expr { line, depth: depth + 1, kind })
    }
}
