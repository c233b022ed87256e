//! Expressions, in jinja2's order of precedence (parser.py).

use super::ast::{Binary, Comparison, Expr, ExprKind, Name};
use super::parser::Parser;
use super::token::Token;
use crate::error::Result;

/// Where an expression list stands, and so what ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The end of the tag.
    Tag,
    /// `in` of a loop.
    In,
    /// `recursive` of a loop.
    Recursive,
}

pub fn boxed(e: Expr) -> Box<Expr> {
    Box::new(e)
}

impl Parser {
    pub fn expression(&mut self) -> Result<Expr> {
        self.inside(|p| {
            let mut value = p.or()?;
            while p.now().is_name("if") {
                let line = p.line();
                p.next();
                let test = boxed(p.or()?);
                let no = if p.skip_name("else") { Some(boxed(p.expression()?)) } else { None };
                value = p.expr(ExprKind::If { test, yes: boxed(value), no }, line)?;
            }
            Ok(value)
        })
    }

    /// One expression, or a tuple of several. `condition`: whether `a if b` is one.
    pub fn tuple(&mut self, condition: bool, until: Until, brackets: bool) -> Result<Expr> {
        let line = self.line();
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            let over = matches!(self.now(), Token::VariableEnd | Token::BlockEnd)
                || self.now().is_op(")")
                || (until == Until::In && self.now().is_name("in"))
                || (until == Until::Recursive && self.now().is_name("recursive"));
            if over {
                break;
            }
            items.push(if condition { self.expression()? } else { self.inside(Self::or)? });
            if !self.now().is_op(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(only) = items.pop() {
                return Ok(only);
            }
            if !brackets {
                return Err(self.error(format!("Expected an expression, got '{}'", self.now().describe())));
            }
        }
        self.expr(ExprKind::Tuple(items), line)
    }

    fn or(&mut self) -> Result<Expr> {
        let mut left = self.and()?;
        while self.now().is_name("or") {
            let line = self.line();
            self.next();
            let right = self.and()?;
            left = self.expr(ExprKind::Or(boxed(left), boxed(right)), line)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr> {
        let mut left = self.not()?;
        while self.now().is_name("and") {
            let line = self.line();
            self.next();
            let right = self.not()?;
            left = self.expr(ExprKind::And(boxed(left), boxed(right)), line)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr> {
        let line = self.line();
        if self.skip_name("not") {
            let value = self.inside(Self::not)?;
            return self.expr(ExprKind::Not(boxed(value)), line);
        }
        self.compare()
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let found = match self.now() {
            Token::Op("==") => Comparison::Eq,
            Token::Op("!=") => Comparison::Ne,
            Token::Op("<") => Comparison::Lt,
            Token::Op("<=") => Comparison::Le,
            Token::Op(">") => Comparison::Gt,
            Token::Op(">=") => Comparison::Ge,
            Token::Name(n) if n == "in" => Comparison::In,
            Token::Name(n) if n == "not" && self.look().is_name("in") => {
                self.next();
                Comparison::NotIn
            }
            _ => return None,
        };
        self.next();
        Some(found)
    }

    fn compare(&mut self) -> Result<Expr> {
        let line = self.line();
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(op) = self.comparison() {
            rest.push((op, self.sum()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        self.expr(ExprKind::Compare(boxed(first), rest), line)
    }

    /// Operators of one rank, from the left.
    fn binary(&mut self, ops: &[(&str, Binary)], operand: fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        let mut left = operand(self)?;
        while let Some(&(op, binary)) = ops.iter().find(|(op, _)| self.now().is_op(op)) {
            let line = self.line();
            self.expect_op(op)?;
            let right = operand(self)?;
            left = self.expr(ExprKind::Binary(binary, boxed(left), boxed(right)), line)?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expr> {
        self.binary(&[("+", Binary::Add), ("-", Binary::Sub)], Self::concat)
    }

    fn concat(&mut self) -> Result<Expr> {
        let line = self.line();
        let first = self.product()?;
        if !self.now().is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.product()?);
        }
        self.expr(ExprKind::Concat(parts), line)
    }

    fn product(&mut self) -> Result<Expr> {
        let ops = [("*", Binary::Mul), ("/", Binary::Div), ("//", Binary::FloorDiv), ("%", Binary::Mod)];
        self.binary(&ops, Self::power)
    }

    fn power(&mut self) -> Result<Expr> {
        self.binary(&[("**", Binary::Pow)], |p| p.unary(true))
    }

    fn unary(&mut self, filters: bool) -> Result<Expr> {
        let line = self.line();
        let value = if self.skip_op("-") {
            let value = self.inside(|p| p.unary(false))?;
            self.expr(ExprKind::Negative(boxed(value)), line)?
        } else if self.skip_op("+") {
            let value = self.inside(|p| p.unary(false))?;
            self.expr(ExprKind::Positive(boxed(value)), line)?
        } else {
            self.primary()?
        };
        let value = self.postfix(value)?;
        if filters {
            return self.filters_and_tests(value);
        }
        Ok(value)
    }

    pub fn primary(&mut self) -> Result<Expr> {
        let line = self.line();
        let kind = match self.now().clone() {
            Token::Name(name) => {
                self.next();
                match name.as_str() {
                    "true" | "True" => ExprKind::Bool(true),
                    "false" | "False" => ExprKind::Bool(false),
                    "none" | "None" => ExprKind::None,
                    _ => {
                        let name = Name::from(name);
                        self.names.push(name.clone());
                        ExprKind::Name(name)
                    }
                }
            }
            Token::Str(mut text) => {
                self.next();
                while let Token::Str(more) = self.now() {
                    text.push_str(more);
                    self.next();
                }
                ExprKind::Str(text.into())
            }
            Token::Int(value) => {
                self.next();
                ExprKind::Int(value)
            }
            Token::Float(value) => {
                self.next();
                ExprKind::Float(value)
            }
            Token::Op("(") => {
                self.next();
                let value = self.tuple(true, Until::Tag, true)?;
                self.expect_op(")")?;
                return Ok(value);
            }
            Token::Op("[") => {
                self.next();
                ExprKind::List(self.items("]", Self::expression)?)
            }
            Token::Op("{") => {
                self.next();
                ExprKind::Dict(self.items("}", |p| {
                    let key = p.expression()?;
                    p.expect_op(":")?;
                    Ok((key, p.expression()?))
                })?)
            }
            other => return Err(self.error(format!("unexpected '{}'", other.describe()))),
        };
        self.expr(kind, line)
    }

    /// What is divided by commas, up to and with `close`; one comma may stand at the end.
    fn items<T>(&mut self, close: &str, item: fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.now().is_op(close) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.now().is_op(close) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        self.expect_op(close)?;
        Ok(items)
    }

    pub fn postfix(&mut self, mut value: Expr) -> Result<Expr> {
        loop {
            let line = self.line();
            value = match self.now() {
                Token::Op(".") => {
                    self.next();
                    let kind = match self.now().clone() {
                        Token::Name(name) => ExprKind::Attr(boxed(value), name.into()),
                        Token::Int(index) => {
                            ExprKind::Item(boxed(value), boxed(self.expr(ExprKind::Int(index), line)?))
                        }
                        _ => return Err(self.error("expected name or number")),
                    };
                    self.next();
                    self.expr(kind, line)?
                }
                Token::Op("[") => {
                    self.next();
                    let kind = self.subscript(value)?;
                    self.expr(kind, line)?
                }
                Token::Op("(") => {
                    let args = self.call_args()?;
                    self.expr(ExprKind::Call(boxed(value), args), line)?
                }
                _ => return Ok(value),
            };
        }
    }

    fn subscript(&mut self, value: Expr) -> Result<ExprKind> {
        let mut parts: [Option<Box<Expr>>; 3] = [None, None, None];
        let mut at = 0;
        loop {
            if self.now().is_op("]") {
                break;
            }
            if self.skip_op(":") {
                at += 1;
                if at > 2 {
                    return Err(self.error("expected token ']', got ':'"));
                }
                continue;
            }
            if parts[at].is_some() {
                return Err(self.error(format!("expected token ']', got '{}'", self.now().describe())));
            }
            let line = self.line();
            let mut part = self.expression()?;
            if at == 0 && self.now().is_op(",") {
                let mut all = vec![part];
                while self.skip_op(",") && !self.now().is_op("]") {
                    all.push(self.expression()?);
                }
                part = self.expr(ExprKind::Tuple(all), line)?;
            }
            parts[at] = Some(boxed(part));
        }
        self.expect_op("]")?;
        Ok(match (at, parts) {
            (0, [Some(index), ..]) => ExprKind::Item(boxed(value), index),
            (0, _) => return Err(self.error("expected subscript expression")),
            (_, parts) => ExprKind::Slice(boxed(value), parts),
        })
    }
}
