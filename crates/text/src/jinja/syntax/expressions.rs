//! Expressions, in jinja2's order of precedence (parser.py).

use super::ast::{Args, Binary, Comparison, Expr, ExprKind, Name, Target};
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

fn boxed(e: Expr) -> Box<Expr> {
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

    fn primary(&mut self) -> Result<Expr> {
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

    fn postfix(&mut self, mut value: Expr) -> Result<Expr> {
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

    fn filters_and_tests(&mut self, mut value: Expr) -> Result<Expr> {
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

    /// What is assigned to: a name, one of a namespace (`spaces`), or several.
    pub fn target(&mut self, spaces: bool, until: Until) -> Result<Target> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            let over = matches!(self.now(), Token::BlockEnd)
                || self.now().is_op(")")
                || (until == Until::In && self.now().is_name("in"));
            if over {
                break;
            }
            items.push(if self.skip_op("(") {
                let inner = self.inside(|p| p.target(spaces, Until::Tag))?;
                self.expect_op(")")?;
                inner
            } else {
                let name = self.name()?;
                if matches!(&*name, "true" | "false" | "none" | "True" | "False" | "None") {
                    return Err(self.error("can't assign to 'const'"));
                }
                if spaces && self.skip_op(".") {
                    self.names.push(name.clone());
                    Target::Attr(name, self.name()?)
                } else {
                    Target::Name(name)
                }
            });
            if !self.skip_op(",") {
                break;
            }
            is_tuple = true;
        }
        match items.pop() {
            Some(only) if !is_tuple => Ok(only),
            Some(last) => {
                items.push(last);
                Ok(Target::Tuple(items))
            }
            None => Err(self.error(format!("Expected an expression, got '{}'", self.now().describe()))),
        }
    }
}
