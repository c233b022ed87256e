//! Runs the statements of a template.

use super::args::CallArgs;
use super::escape;
use super::limits::{self, Deeper, Weight};
use super::object::{Loop, MacroValue, Object};
use super::print;
use super::scope::Scope;
use super::syntax::ast::{For, Macro, Stmt, Target};
use super::text::{Span, Text, Writer};
use super::value::Value;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// How a body ended.
#[derive(PartialEq, Eq)]
pub enum Flow {
    On,
    Break,
    Continue,
}

pub struct Run {
    pub clock: Clock,
    pub autoescape: bool,
    outs: Vec<Writer>,
    /// What may hold itself: it is taken apart in the end.
    held: Vec<Held>,
    weight: Weight,
    loop_name: Arc<str>,
}

enum Held {
    Scope(Rc<Scope>),
    Value(Value),
}

impl Drop for Run {
    fn drop(&mut self) {
        for held in &self.held {
            match held {
                Held::Scope(scope) => scope.clear(),
                Held::Value(Value::Object(o)) => match &**o {
                    Object::Namespace(names) => drop(names.take()),
                    Object::Loop(l) => drop(l.changed.take()),
                    _ => {}
                },
                Held::Value(_) => {}
            }
        }
    }
}

/// Runs a template: its text and the places of the `generation` blocks, in bytes.
pub fn run(body: &[Stmt], values: Vec<(Arc<str>, Value)>, clock: Clock) -> Result<(String, Vec<Span>)> {
    let (outs, weight) = (vec![Writer::new()?], Weight::new(0)?);
    let mut run = Run { clock, autoescape: false, outs, held: Vec::new(), weight, loop_name: "loop".into() };
    let given = Scope::root();
    for (name, value) in values {
        given.set(&name, value);
    }
    let scope = given.inside();
    run.hold(Held::Scope(scope.clone()))?;
    run.body(body, &scope)?;
    let out = run.outs.pop().ok_or_else(|| Error::new(Kind::Value, "no output"))?;
    Ok(out.into_parts())
}

impl Run {
    fn hold(&mut self, held: Held) -> Result<()> {
        self.weight.grow(256)?;
        self.held.push(held);
        Ok(())
    }

    /// Keeps a value that others may be put into.
    pub fn hold_value(&mut self, value: &Value) -> Result<()> {
        self.hold(Held::Value(value.clone()))
    }

    pub fn out(&mut self) -> &mut Writer {
        if self.outs.is_empty() {
            unreachable!("a run has an output");
        }
        let last = self.outs.len() - 1;
        &mut self.outs[last]
    }

    /// What a body writes.
    pub fn captured(&mut self, body: &[Stmt], scope: &Rc<Scope>) -> Result<Rc<Text>> {
        self.outs.push(Writer::new()?);
        let done = self.body(body, scope);
        let out = self.outs.pop();
        done?;
        out.map_or_else(|| Text::new(String::new()), |out| out.finish(self.autoescape))
    }

    pub fn body(&mut self, body: &[Stmt], scope: &Rc<Scope>) -> Result<Flow> {
        let _deeper = Deeper::new()?;
        for statement in body {
            limits::step(1)?;
            match self.statement(statement, scope)? {
                Flow::On => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, statement: &Stmt, scope: &Rc<Scope>) -> Result<Flow> {
        match statement {
            Stmt::Text(text) => self.out().push(text)?,
            Stmt::Print(e) => {
                let value = self.eval(e, scope)?;
                self.print(&value)?;
            }
            Stmt::If { arms, otherwise } => {
                for (test, body) in arms {
                    if self.eval(test, scope)?.truth() {
                        return self.body(body, scope);
                    }
                }
                return self.body(otherwise, scope);
            }
            Stmt::For(code) => {
                let items = self.eval(&code.iterable, scope)?;
                self.run_loop(code, &items, scope, 0)?;
            }
            Stmt::Set(target, e) => {
                let value = self.eval(e, scope)?;
                self.assign(target, value, scope)?;
            }
            Stmt::SetBlock { target, filter, body } => {
                let text = self.captured(body, &scope.inside())?;
                let mut value = Value::Str(text);
                if let Some(filter) = filter {
                    value = self.filtered(filter, value, scope)?;
                }
                self.assign(target, value, scope)?;
            }
            Stmt::Macro(code) => {
                let value = self.macro_value(code, scope)?;
                scope.set(&code.name, value);
            }
            Stmt::CallBlock { call, caller } => {
                let caller = self.macro_value(caller, scope)?;
                let value = self.call_with(call, scope, Some(caller))?;
                self.print(&value)?;
            }
            Stmt::FilterBlock { filter, body } => {
                let text = self.captured(body, &scope.inside())?;
                let value = self.filtered(filter, Value::Str(text), scope)?;
                self.print(&value)?;
            }
            Stmt::With { pairs, body } => {
                let inner = scope.inside();
                for (target, e) in pairs {
                    let value = self.eval(e, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.body(body, &inner);
            }
            Stmt::Generation(body) => {
                let from = self.out().len();
                self.body(body, &scope.inside())?;
                self.out().mark(from)?;
            }
            Stmt::AutoEscape { on, body } => {
                let on = self.eval(on, scope)?.truth();
                let before = std::mem::replace(&mut self.autoescape, on);
                let flow = self.body(body, &scope.inside());
                self.autoescape = before;
                return flow;
            }
            Stmt::Block(body) => return self.body(body, &scope.inside()),
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn print(&mut self, value: &Value) -> Result<()> {
        if self.autoescape {
            let value = escape::escape(value)?;
            return print::write(&value, self.out());
        }
        print::write(value, self.out())
    }

    fn macro_value(&mut self, code: &Arc<Macro>, scope: &Rc<Scope>) -> Result<Value> {
        limits::step(4)?;
        self.hold(Held::Scope(scope.clone()))?;
        let value = MacroValue { code: code.clone(), scope: scope.clone(), safe: self.autoescape };
        Ok(Value::object(Object::Macro(value)))
    }

    /// Gives a name, or several, their value.
    pub fn assign(&mut self, target: &Target, value: Value, scope: &Rc<Scope>) -> Result<()> {
        match target {
            Target::Name(name) => scope.set(name, value),
            Target::Attr(space, name) => match scope.get(space)? {
                Some(Value::Object(o)) => match &*o {
                    Object::Namespace(names) => {
                        names.borrow_mut().insert(name.to_string(), value);
                    }
                    _ => return Err(no_namespace()),
                },
                _ => return Err(no_namespace()),
            },
            Target::Tuple(targets) => {
                let items = value.defined()?.iterate()?;
                if items.len() != targets.len() {
                    let (wanted, given) = (targets.len(), items.len());
                    return Err(Error::value(if given > wanted {
                        format!("too many values to unpack (expected {wanted})")
                    } else {
                        format!("not enough values to unpack (expected {wanted}, got {given})")
                    }));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, scope)?;
                }
            }
        }
        Ok(())
    }

    /// A loop over `items`. `level`: loops of this one around it.
    pub fn run_loop(&mut self, code: &Arc<For>, items: &Value, scope: &Rc<Scope>, level: usize) -> Result<()> {
        let mut items = items.iterate().map_err(|e| e.at(code.line))?;
        if let Some(test) = &code.test {
            let mut kept = Vec::new();
            for item in items {
                let inner = scope.inside();
                self.assign(&code.target, item.clone(), &inner)?;
                if self.eval(test, &inner)?.truth() {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            self.body(&code.otherwise, &scope.inside())?;
            return Ok(());
        }
        let _weight = Weight::new(32 * items.len())?;
        let depth = Value::depth_over(&items)?;
        let again = code.recursive.then(|| (code.clone(), scope.clone()));
        let state = Loop { items, at: Cell::new(0), level, depth, changed: RefCell::new(None), code: again };
        let state = Rc::new(Object::Loop(state));
        let Object::Loop(l) = &*state else { unreachable!("made above") };
        for at in 0..l.items.len() {
            limits::step(4)?;
            l.at.set(at);
            let inner = scope.inside();
            inner.set(&self.loop_name, Value::Object(state.clone()));
            self.assign(&code.target, l.items[at].clone(), &inner).map_err(|e| e.at(code.line))?;
            if self.body(&code.body, &inner)? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    /// What a loop writes that is called by itself.
    pub fn captured_loop(&mut self, code: &Arc<For>, items: &Value, scope: &Rc<Scope>, level: usize) -> Result<Value> {
        let _deeper = Deeper::new()?;
        self.outs.push(Writer::new()?);
        let done = self.run_loop(code, items, scope, level);
        let out = self.outs.pop();
        done?;
        Ok(Value::Str(out.map_or_else(|| Text::new(String::new()), |out| out.finish(self.autoescape))?))
    }

    /// What a macro writes.
    pub fn call_macro(&mut self, m: &MacroValue, mut args: CallArgs) -> Result<Value> {
        let _deeper = Deeper::new()?;
        let code = &m.code;
        let name = &code.name;
        let scope = m.scope.inside();
        let mut given = std::mem::take(&mut args.positional).into_iter();
        for (param, default) in &code.params {
            let named = args.take(param);
            let value = match (given.next(), named) {
                (Some(_), Some(_)) => {
                    return Err(Error::typed(format!("macro '{name}' got multiple values for argument '{param}'")));
                }
                (Some(value), None) | (None, Some(value)) => value,
                (None, None) => match default {
                    Some(e) => self.eval(e, &scope)?,
                    None => Value::undefined(format!("parameter '{param}' was not provided")),
                },
            };
            scope.set(param, value);
        }
        let caller = if code.params.iter().any(|(p, _)| &**p == "caller") { None } else { args.take("caller") };
        match caller {
            Some(caller) if code.caller => scope.set(&"caller".into(), caller),
            None if code.caller => scope.set(&"caller".into(), Value::undefined("No caller defined")),
            Some(_) => return Err(Error::typed(format!("macro '{name}' takes no keyword argument 'caller'"))),
            None => {}
        }
        let rest: Vec<Value> = given.collect();
        if code.varargs {
            scope.set(&"varargs".into(), Value::tuple(rest)?);
        } else if !rest.is_empty() {
            return Err(Error::typed(format!("macro '{name}' takes not more than {} argument(s)", code.params.len())));
        }
        if code.kwargs {
            let mut map = indexmap::IndexMap::new();
            for (name, value) in args.named {
                map.insert(super::value::Key::new(Value::str(&*name)?)?, value);
            }
            scope.set(&"kwargs".into(), Value::dict(map)?);
        } else if let Some((other, _)) = args.named.first() {
            return Err(Error::typed(format!("macro '{name}' takes no keyword argument '{other}'")));
        }
        let before = std::mem::replace(&mut self.autoescape, m.safe);
        let text = self.captured(&code.body, &scope);
        self.autoescape = before;
        Ok(Value::Str(text?))
    }
}

fn no_namespace() -> Error {
    Error::new(Kind::Value, "cannot assign attribute on non-namespace object")
}
