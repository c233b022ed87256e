//! Modules of modules.

use crate::context::Context;
use crate::module::{Args, Module, Node, NodeList, Value, Visitor, VisitorMut};
use crate::Result;

/// Named modules, each given what the one before it gave.
#[derive(Clone)]
pub(super) struct Sequential {
    pub items: Vec<(String, Node)>,
}

impl Sequential {
    pub fn run(&self, cx: &Context, input: Value) -> Result<Value> {
        self.items.iter().try_fold(input, |x, (_, node)| node.call(cx, Args { positional: vec![x], named: Vec::new() }))
    }
}

impl Module for Sequential {
    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        self.items.iter().for_each(|(name, node)| v.node(name, node));
    }
    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        self.items.iter_mut().for_each(|(name, node)| v.node(name, node));
    }
    fn boxed_clone(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        self.run(cx, args.get(0, "input").clone())
    }
}

/// A `ModuleList` that runs its modules in turn.
#[derive(Clone)]
pub(super) struct ListInTurn {
    pub items: NodeList,
}

impl Module for ListInTurn {
    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        self.items.items.iter().enumerate().for_each(|(i, node)| v.node(&i.to_string(), node));
    }
    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        self.items.items.iter_mut().enumerate().for_each(|(i, node)| v.node(&i.to_string(), node));
    }
    fn boxed_clone(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let first = args.get(0, "input").clone();
        self.items
            .items
            .iter()
            .try_fold(first, |x, node| node.call(cx, Args { positional: vec![x], named: Vec::new() }))
    }
}

/// `x + f(x)`
#[derive(Clone)]
pub(super) struct Residual {
    pub items: Sequential,
}

impl Module for Residual {
    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        self.items.visit(v);
    }
    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        self.items.visit_mut(v);
    }
    fn boxed_clone(&self) -> Box<dyn Module> {
        Box::new(self.clone())
    }

    fn forward(&self, cx: &Context, args: &Args) -> Result<Value> {
        let x = args.tensor(0, "input")?;
        Ok(x.add(&self.items.run(cx, x.clone().into())?.into_tensor()?)?.into())
    }
}
