//! Filters, tests, and the arguments of calls.

use super::ast::{Args, Expr, ExprKind, Name};
use super::expressions::boxed;
use super::parser::Parser;
use super::token::Token;
use crate::error::Result;

impl Parser {
    pub fn call_args(&mut self) -> Result<Args> {
        self.expect_op("(")?;
        let mut args = Args::default();
        let mut first = true;
        while !self.now().is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.now().is_op(")") {
                    break;
                }
            }
            first = false;
            let plain = args.more.is_none() && args.more_named.is_none();
            let valid = if self.skip_op("*") {
                args.more = Some(boxed(self.expression()?));
                plain
            } else if self.skip_op("**") {
                let once = args.more_named.is_none();
                args.more_named = Some(boxed(self.expression()?));
                once
            } else if matches!(self.now(), Token::Name(_)) && self.look().is_op("=") {
                let once = args.more_named.is_none();
                let name = self.name()?;
                self.expect_op("=")?;
                args.named.push((name, self.expression()?));
                once
            } else {
                let valid = plain && args.named.is_empty();
                args.positional.push(self.expression()?);
                valid
            };
            if !valid {
                return Err(self.error("invalid syntax for function call expression"));
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    pub fn filters_and_tests(&mut self, mut value: Expr) -> Result<Expr> {
        loop {
            let line = self.line();
            value = match self.now() {
                Token::Op("|") => self.filters(Some(value))?,
                Token::Op("(") => {
                    let args = self.call_args()?;
                    self.expr(ExprKind::Call(boxed(value), args), line)?
                }
                Token::Name(n) if n == "is" => self.test(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn dotted(&mut self) -> Result<Name> {
        let mut name = self.name()?.to_string();
        while self.skip_op(".") {
            name = format!("{name}.{}", self.name()?);
        }
        Ok(name.into())
    }

    /// `| filter` on a value. Without one, of a block: `value` is then missing in the first.
    fn filters(&mut self, mut value: Option<Expr>) -> Result<Expr> {
        loop {
            self.expect_op("|")?;
            let filter = self.filter(value)?;
            if !self.now().is_op("|") {
                return Ok(filter);
            }
            value = Some(filter);
        }
    }

    fn filter(&mut self, value: Option<Expr>) -> Result<Expr> {
        let line = self.line();
        let name = self.dotted()?;
        if !crate::jinja::filters::exists(&name) {
            return Err(self.error(format!("No filter named '{name}'.")));
        }
        let args = if self.now().is_op("(") { self.call_args()? } else { Args::default() };
        self.expr(ExprKind::Filter(value.map(boxed), name, args), line)
    }

    /// The filters of a block: `upper | trim`.
    pub fn block_filters(&mut self) -> Result<Expr> {
        let filter = self.filter(None)?;
        if self.now().is_op("|") {
            return self.filters(Some(filter));
        }
        Ok(filter)
    }

    fn test(&mut self, value: Expr) -> Result<Expr> {
        let line = self.line();
        self.expect_name("is")?;
        let negated = self.skip_name("not");
        let name = self.dotted()?;
        if !crate::jinja::tests::exists(&name) {
            return Err(self.error(format!("No test named '{name}'.")));
        }
        let takes_one = match self.now() {
            Token::Name(n) => !matches!(n.as_str(), "else" | "or" | "and"),
            Token::Str(_) | Token::Int(_) | Token::Float(_) => true,
            token => token.is_op("[") || token.is_op("{"),
        };
        let args = if self.now().is_op("(") {
            self.call_args()?
        } else if takes_one {
            if self.now().is_name("is") {
                return Err(self.error("You cannot chain multiple tests with is"));
            }
            let arg = self.primary()?;
            Args { positional: vec![self.postfix(arg)?], ..Args::default() }
        } else {
            Args::default()
        };
        let test = self.expr(ExprKind::Test(boxed(value), name, args), line)?;
        if negated {
            return self.expr(ExprKind::Not(boxed(test)), line);
        }
        Ok(test)
    }
}
