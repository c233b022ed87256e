//! Statements (jinja2's parser.py, loopcontrols of ext.py, `generation` of transformers).

use super::ast::{Expr, ExprKind, For, Macro, Name, Stmt};
use super::expressions::Until;
use super::parser::Parser;
use super::token::Token;
use crate::error::Result;
use std::sync::Arc;

impl Parser {
    /// Statements up to one of the tags `ends`, whose name is the token that comes next; without any up to the end.
    pub fn body(&mut self, ends: &[&str]) -> Result<Vec<Stmt>> {
        self.inside(|p| {
            let mut out = Vec::new();
            loop {
                match p.next() {
                    Token::Data(text) => out.push(Stmt::Text(text.into())),
                    Token::VariableBegin => {
                        out.push(Stmt::Print(p.tuple(true, Until::Tag, false)?));
                        p.expect(&Token::VariableEnd)?;
                    }
                    Token::BlockBegin => {
                        if ends.iter().any(|end| p.now().is_name(end)) {
                            return Ok(out);
                        }
                        let statement = p.statement(ends)?;
                        p.expect(&Token::BlockEnd)?;
                        out.push(statement);
                    }
                    Token::End if ends.is_empty() => return Ok(out),
                    _ => {
                        let wanted = ends.join("' or '");
                        return Err(p.error(format!(
                            "Unexpected end of template. Jinja was looking for the following tags: '{wanted}'."
                        )));
                    }
                }
            }
        })
    }

    /// The body of a tag: from its end to one of `ends`, which is left.
    fn block(&mut self, ends: &[&str]) -> Result<Vec<Stmt>> {
        self.skip_op(":");
        self.expect(&Token::BlockEnd)?;
        self.body(ends)
    }

    /// The same, with the end taken.
    fn closed(&mut self, end: &str) -> Result<Vec<Stmt>> {
        let body = self.block(&[end])?;
        self.expect_name(end)?;
        Ok(body)
    }

    fn statement(&mut self, ends: &[&str]) -> Result<Stmt> {
        let line = self.line();
        let Token::Name(tag) = self.now().clone() else { return Err(self.error("tag name expected")) };
        self.next();
        match tag.as_str() {
            "if" => self.parse_if(),
            "for" => self.parse_for(line),
            "set" => self.parse_set(),
            "macro" => {
                let name = self.name()?;
                self.parse_macro(name, "endmacro")
            }
            "call" => self.parse_call(),
            "filter" => Ok(Stmt::FilterBlock { filter: self.block_filters()?, body: self.closed("endfilter")? }),
            "with" => self.parse_with(),
            "generation" => {
                let loops = std::mem::take(&mut self.loops);
                self.generation = true;
                let body = self.closed("endgeneration")?;
                self.loops = loops;
                Ok(Stmt::Generation(body))
            }
            "autoescape" => Ok(Stmt::AutoEscape { on: self.expression()?, body: self.closed("endautoescape")? }),
            "block" => {
                let name = self.name()?;
                self.skip_name("scoped");
                self.skip_name("required");
                let body = self.closed("endblock")?;
                self.skip_name(&name);
                Ok(Stmt::Block(body))
            }
            "break" | "continue" if self.loops == 0 => Err(self.error(format!("'{tag}' outside of a loop"))),
            "break" => Ok(Stmt::Break),
            "continue" => Ok(Stmt::Continue),
            "extends" | "include" | "import" | "from" => {
                Err(self.error(format!("'{tag}': a chat template has no other templates")))
            }
            _ if ends.is_empty() => Err(self.error(format!("Encountered unknown tag '{tag}'."))),
            _ => Err(self.error(format!(
                "Encountered unknown tag '{tag}'. Jinja was looking for the following tags: '{}'.",
                ends.join("' or '")
            ))),
        }
    }

    fn parse_if(&mut self) -> Result<Stmt> {
        let mut arms = Vec::new();
        loop {
            let test = self.tuple(false, Until::Tag, false)?;
            arms.push((test, self.block(&["elif", "else", "endif"])?));
            if self.skip_name("elif") {
                continue;
            }
            let otherwise = if self.skip_name("else") { self.closed("endif")? } else { Vec::new() };
            self.skip_name("endif");
            return Ok(Stmt::If { arms, otherwise });
        }
    }

    fn parse_for(&mut self, line: u32) -> Result<Stmt> {
        let target = self.target(false, Until::In)?;
        self.expect_name("in")?;
        let iterable = self.tuple(false, Until::Recursive, false)?;
        let test = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        self.loops += 1;
        let body = self.block(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = if self.skip_name("else") { self.closed("endfor")? } else { Vec::new() };
        self.skip_name("endfor");
        Ok(Stmt::For(Arc::new(For { line, target, iterable, test, recursive, body, otherwise })))
    }

    fn parse_set(&mut self) -> Result<Stmt> {
        let target = self.target(true, Until::Tag)?;
        if self.skip_op("=") {
            return Ok(Stmt::Set(target, self.tuple(true, Until::Tag, false)?));
        }
        let filter = if self.skip_op("|") { Some(self.block_filters()?) } else { None };
        Ok(Stmt::SetBlock { target, filter, body: self.closed("endset")? })
    }

    fn parse_with(&mut self) -> Result<Stmt> {
        let mut pairs = Vec::new();
        while self.now() != &Token::BlockEnd {
            if !pairs.is_empty() {
                self.expect_op(",")?;
            }
            let target = super::ast::Target::Name(self.name()?);
            self.expect_op("=")?;
            pairs.push((target, self.expression()?));
        }
        Ok(Stmt::With { pairs, body: self.closed("endwith")? })
    }

    fn signature(&mut self) -> Result<Vec<(Name, Option<Expr>)>> {
        self.expect_op("(")?;
        let mut params: Vec<(Name, Option<Expr>)> = Vec::new();
        while !self.now().is_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.name()?;
            let default = if self.skip_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && params.iter().any(|(_, d)| d.is_some()) {
                return Err(self.error("non-default argument follows default argument"));
            }
            params.push((name, default));
        }
        self.expect_op(")")?;
        Ok(params)
    }

    fn parse_macro(&mut self, name: Name, end: &str) -> Result<Stmt> {
        let params = self.signature()?;
        Ok(Stmt::Macro(Arc::new(self.macro_of(name, params, end)?)))
    }

    fn macro_of(&mut self, name: Name, params: Vec<(Name, Option<Expr>)>, end: &str) -> Result<Macro> {
        let from = self.names.len();
        let loops = std::mem::take(&mut self.loops);
        let body = self.closed(end)?;
        self.loops = loops;
        let uses = |wanted: &str| {
            self.names[from..].iter().any(|n| &**n == wanted) && params.iter().all(|(n, _)| &**n != wanted)
        };
        let (varargs, kwargs, caller) = (uses("varargs"), uses("kwargs"), uses("caller"));
        Ok(Macro { name, params, varargs, kwargs, caller, body })
    }

    fn parse_call(&mut self) -> Result<Stmt> {
        let params = if self.now().is_op("(") { self.signature()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call.kind, ExprKind::Call(..)) {
            return Err(self.error("expected call"));
        }
        let caller = Arc::new(self.macro_of("caller".into(), params, "endcall")?);
        Ok(Stmt::CallBlock { call, caller })
    }
}
