//! Computes expressions.

use super::access;
use super::args::CallArgs;
use super::compare;
use super::filters;
use super::globals;
use super::limits::{self, Deeper};
use super::operators;
use super::print;
use super::run::Run;
use super::scope::Scope;
use super::syntax::ast::{Args, Comparison, Expr, ExprKind};
use super::tests;
use super::text::Writer;
use super::value::{Key, Value};
use crate::error::{Error, Result};
use indexmap::IndexMap;
use std::rc::Rc;

impl Run {
    pub fn eval(&mut self, e: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        limits::step(1)?;
        let _deeper = Deeper::new()?;
        self.kind(e, scope).map_err(|error| error.at(e.line))
    }

    fn all(&mut self, items: &[Expr], scope: &Rc<Scope>) -> Result<Vec<Value>> {
        items.iter().map(|e| self.eval(e, scope)).collect()
    }

    fn kind(&mut self, e: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        Ok(match &e.kind {
            ExprKind::None => Value::None,
            ExprKind::Bool(b) => Value::Bool(*b),
            ExprKind::Int(i) => Value::Int(*i),
            ExprKind::Float(f) => Value::Float(*f),
            ExprKind::Str(text) => Value::str(&**text)?,
            ExprKind::Name(name) => match scope.get(name)? {
                Some(value) => value,
                None => globals::find(name).unwrap_or_else(|| Value::undefined(format!("'{name}' is undefined"))),
            },
            ExprKind::Tuple(items) => Value::tuple(self.all(items, scope)?)?,
            ExprKind::List(items) => Value::list(self.all(items, scope)?)?,
            ExprKind::Dict(pairs) => {
                let mut map = IndexMap::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let key = Key::new(self.eval(key, scope)?)?;
                    map.insert(key, self.eval(value, scope)?);
                }
                Value::dict(map)?
            }
            ExprKind::Attr(of, name) => access::attribute(&self.eval(of, scope)?, name)?,
            ExprKind::Item(of, index) => {
                let of = self.eval(of, scope)?;
                access::item(&of, &self.eval(index, scope)?)?
            }
            ExprKind::Slice(of, parts) => {
                let of = self.eval(of, scope)?;
                let mut values = [Value::None, Value::None, Value::None];
                for (value, part) in values.iter_mut().zip(parts) {
                    if let Some(part) = part {
                        *value = self.eval(part, scope)?;
                    }
                }
                access::slice(&of, values)?
            }
            ExprKind::Call(..) => self.call_with(e, scope, None)?,
            ExprKind::Filter(Some(of), name, args) => {
                let value = self.eval(of, scope)?;
                let args = self.args(args, scope)?;
                filters::apply(self, name, value, args)?
            }
            ExprKind::Filter(None, name, _) => return Err(Error::value(format!("filter '{name}' has no value"))),
            ExprKind::Test(of, name, args) => {
                let value = self.eval(of, scope)?;
                let args = self.args(args, scope)?;
                Value::Bool(tests::apply(name, &value, args)?)
            }
            ExprKind::Not(e) => Value::Bool(!self.eval(e, scope)?.truth()),
            ExprKind::Negative(e) => operators::signed(&self.eval(e, scope)?, true)?,
            ExprKind::Positive(e) => operators::signed(&self.eval(e, scope)?, false)?,
            ExprKind::Binary(op, a, b) => {
                let a = self.eval(a, scope)?;
                operators::binary(*op, &a, &self.eval(b, scope)?)?
            }
            ExprKind::And(a, b) => {
                let a = self.eval(a, scope)?;
                if a.truth() {
                    self.eval(b, scope)?
                } else {
                    a
                }
            }
            ExprKind::Or(a, b) => {
                let a = self.eval(a, scope)?;
                if a.truth() {
                    a
                } else {
                    self.eval(b, scope)?
                }
            }
            ExprKind::Compare(first, rest) => self.compare(first, rest, scope)?,
            ExprKind::Concat(parts) => {
                let mut out = Writer::new()?;
                for part in parts {
                    print::write(&self.eval(part, scope)?, &mut out)?;
                }
                Value::Str(out.finish(false)?)
            }
            ExprKind::If { test, yes, no } => match (self.eval(test, scope)?.truth(), no) {
                (true, _) => self.eval(yes, scope)?,
                (false, Some(no)) => self.eval(no, scope)?,
                (false, None) => {
                    Value::undefined("the inline if-expression evaluated to false and no else section was defined.")
                }
            },
        })
    }

    fn compare(&mut self, first: &Expr, rest: &[(Comparison, Expr)], scope: &Rc<Scope>) -> Result<Value> {
        let mut left = self.eval(first, scope)?;
        for (op, right) in rest {
            let right = self.eval(right, scope)?;
            let ordered = |name: &str, holds: fn(std::cmp::Ordering) -> bool| {
                compare::order(&left, &right, name).map(|order| order.is_some_and(holds))
            };
            let holds = match op {
                Comparison::Eq => compare::equal(&left, &right)?,
                Comparison::Ne => !compare::equal(&left, &right)?,
                Comparison::Lt => ordered("<", std::cmp::Ordering::is_lt)?,
                Comparison::Le => ordered("<=", std::cmp::Ordering::is_le)?,
                Comparison::Gt => ordered(">", std::cmp::Ordering::is_gt)?,
                Comparison::Ge => ordered(">=", std::cmp::Ordering::is_ge)?,
                Comparison::In => compare::contains(&right, &left)?,
                Comparison::NotIn => !compare::contains(&right, &left)?,
            };
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    /// The arguments of a call.
    pub fn args(&mut self, args: &Args, scope: &Rc<Scope>) -> Result<CallArgs> {
        let mut positional = self.all(&args.positional, scope)?;
        let mut named = Vec::with_capacity(args.named.len());
        for (name, e) in &args.named {
            named.push((name.clone(), self.eval(e, scope)?));
        }
        if let Some(more) = &args.more {
            positional.extend(self.eval(more, scope)?.iterate()?);
        }
        if let Some(more) = &args.more_named {
            let Value::Dict(dict) = self.eval(more, scope)? else {
                return Err(Error::typed("argument after ** must be a mapping"));
            };
            for (key, value) in &dict.map {
                let Value::Str(name) = key.value() else { return Err(Error::typed("keywords must be strings")) };
                if named.iter().any(|(n, _)| **n == name.text) {
                    return Err(Error::typed(format!("got multiple values for keyword argument '{}'", name.text)));
                }
                named.push((name.text.as_str().into(), value.clone()));
            }
        }
        Ok(CallArgs { positional, named })
    }

    /// A call, with the body of a `call` block as `caller`.
    pub fn call_with(&mut self, e: &Expr, scope: &Rc<Scope>, caller: Option<Value>) -> Result<Value> {
        let ExprKind::Call(callee, args) = &e.kind else { return Err(Error::value("expected call")) };
        let callee = self.eval(callee, scope)?;
        let mut args = self.args(args, scope)?;
        if let Some(caller) = caller {
            args.named.push(("caller".into(), caller));
        }
        self.call(&callee, args).map_err(|error| error.at(e.line))
    }

    /// The filters of a block on what it wrote.
    pub fn filtered(&mut self, e: &Expr, value: Value, scope: &Rc<Scope>) -> Result<Value> {
        let ExprKind::Filter(before, name, args) = &e.kind else { return self.eval(e, scope) };
        let _deeper = Deeper::new()?;
        let value = match before {
            Some(before) => self.filtered(before, value, scope)?,
            None => value,
        };
        let args = self.args(args, scope)?;
        filters::apply(self, name, value, args).map_err(|error| error.at(e.line))
    }
}
