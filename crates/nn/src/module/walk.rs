//! Walks over the tree, which give names.

use super::door::{Module, Tuner, Visitor, VisitorMut};
use super::node::{Node, NodeList};
use crate::param::Param;
use std::collections::HashSet;

/// What a walk meets, with its path. A wrapped module's own parts carry the wrapper's `base_name`.
pub enum Item<'a> {
    Module(Option<&'a Node>),
    Param(&'a Param),
    /// A tensor that is no parameter in PyTorch's sense. `saved`: it is part of the state.
    Buffer {
        param: &'a Param,
        saved: bool,
    },
}

/// How a walk sees tuners.
#[derive(Clone, Copy, PartialEq)]
enum View {
    /// Python's view of a tuned model: tuners' tensors count, and what they wrap is named so.
    Tuned,
    /// The same, without the tensors.
    Nodes,
    /// Names without tuners, inserted blocks and the nodes inside of tuners included: those that files use.
    Saved,
    /// The model alone under its own names, inserted blocks included.
    Model,
}

struct Walker<'a, 'f> {
    path: String,
    view: View,
    f: &'f mut dyn FnMut(&str, Item<'a>),
}

impl<'a> Walker<'a, '_> {
    fn scoped(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        body(self);
        self.path.truncate(length);
    }

    fn walk(&mut self, node: &'a Node, tuners: &'a [Box<dyn Tuner>]) {
        match tuners.split_last().filter(|_| self.view != View::Model) {
            None => node.module().visit(self),
            Some((outer, rest)) => {
                match outer.base_name().filter(|_| self.view != View::Saved) {
                    Some(name) => self.scoped(name, |w| {
                        (w.f)(&w.path, Item::Module(None));
                        w.walk(node, rest);
                    }),
                    None => self.walk(node, rest),
                }
                if self.view == View::Tuned || outer.has_nodes() {
                    outer.visit(self);
                }
            }
        }
    }
}

impl<'a> Visitor<'a> for Walker<'a, '_> {
    fn param(&mut self, name: &str, param: &'a Param) {
        self.scoped(name, |w| (w.f)(&w.path, Item::Param(param)));
    }

    fn node(&mut self, name: &str, node: &'a Node) {
        self.scoped(name, |w| {
            (w.f)(&w.path, Item::Module(Some(node)));
            w.walk(node, &node.tuners);
        });
    }

    fn list(&mut self, name: &str, list: &'a NodeList) {
        self.scoped(name, |w| {
            (w.f)(&w.path, Item::Module(None));
            let all = matches!(w.view, View::Saved | View::Model);
            for (i, node) in list.items.iter().filter(|n| all || !n.is_hidden()).enumerate() {
                w.node(&i.to_string(), node);
            }
        });
    }

    fn scope(&mut self, name: &str) {
        self.scoped(name, |w| (w.f)(&w.path, Item::Module(None)));
    }

    fn buffer(&mut self, name: &str, param: &'a Param, saved: bool) {
        self.scoped(name, |w| (w.f)(&w.path, Item::Buffer { param, saved }));
    }
}

/// Visits every module and parameter below `root` with its path, in the order of Python's `named_modules` and
/// `named_parameters`. Tied parameters are met under each of their names.
pub fn walk<'a>(root: &'a Node, f: &mut dyn FnMut(&str, Item<'a>)) {
    see(root, View::Tuned, f);
}

fn see<'a>(root: &'a Node, view: View, f: &mut dyn FnMut(&str, Item<'a>)) {
    Walker { path: String::new(), view, f }.walk(root, &root.tuners);
}

fn nodes(root: &Node, view: View) -> Vec<(String, &Node)> {
    let mut out = vec![(String::new(), root)];
    see(root, view, &mut |path, item| {
        if let Item::Module(Some(node)) = item {
            out.push((path.to_owned(), node));
        }
    });
    out
}

/// The node at a path below a module, by its name without tuners; no list is on the way.
pub fn node_below<'a>(module: &'a dyn Module, path: &str) -> Option<&'a Node> {
    struct Child<'a, 'p>(&'p str, Option<&'a Node>);
    impl<'a> Visitor<'a> for Child<'a, '_> {
        fn param(&mut self, _: &str, _: &'a Param) {}
        fn node(&mut self, name: &str, node: &'a Node) {
            if name == self.0 {
                self.1 = Some(node);
            }
        }
        fn list(&mut self, _: &str, _: &'a NodeList) {}
    }
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let mut child = Child(first, None);
    module.visit(&mut child);
    match rest {
        Some(rest) => node_below(child.1?.module(), rest),
        None => child.1,
    }
}

/// The nodes that the model itself is made of, the root under `""` first, by the names they have without tuners. Blocks
/// that adapters inserted count, whether they are active or not.
pub fn model_nodes(root: &Node) -> Vec<(String, &Node)> {
    nodes(root, View::Model)
}

/// The same with the nodes inside of tuners, all by the names that files use.
pub fn saved_nodes(root: &Node) -> Vec<(String, &Node)> {
    nodes(root, View::Saved)
}

/// The parameters of a node's own module by the names they have without tuners.
pub fn own_parameters(node: &Node) -> Vec<(String, &Param)> {
    let mut out = Vec::new();
    let mut f = |path: &str, item| {
        if let Item::Param(param) = item {
            out.push((path.to_owned(), param));
        }
    };
    see(node, View::Model, &mut f);
    out
}

/// Parameters with their names; of tied ones the first name only, as `named_parameters` does.
pub fn named_parameters(root: &Node) -> Vec<(String, &Param)> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    walk(root, &mut |path, item| {
        if let Item::Param(p) = item {
            if seen.insert(p.id()) {
                out.push((path.to_owned(), p));
            }
        }
    });
    out
}

/// Every name of every parameter: tied ones under each name.
pub fn all_parameters(root: &Node) -> Vec<(String, &Param)> {
    let mut out = Vec::new();
    walk(root, &mut |path, item| {
        if let Item::Param(p) = item {
            out.push((path.to_owned(), p));
        }
    });
    out
}

/// What `state_dict` holds: every name of every parameter, and of the buffers that are saved.
pub fn saved_state(root: &Node) -> Vec<(String, &Param)> {
    let mut out = Vec::new();
    walk(root, &mut |path, item| {
        if let Item::Param(param) | Item::Buffer { param, saved: true } = item {
            out.push((path.to_owned(), param));
        }
    });
    out
}

/// The first components of the names that the root's tuners give to tensors of their own.
pub fn names_beside(root: &Node) -> HashSet<String> {
    struct First(HashSet<String>);
    impl First {
        fn add(&mut self, name: &str) {
            self.0.extend(name.split('.').next().map(str::to_owned));
        }
    }
    impl<'a> Visitor<'a> for First {
        fn param(&mut self, name: &str, _: &'a Param) {
            self.add(name);
        }
        fn node(&mut self, name: &str, _: &'a Node) {
            self.add(name);
        }
        fn list(&mut self, name: &str, _: &'a NodeList) {
            self.add(name);
        }
        fn scope(&mut self, name: &str) {
            self.add(name);
        }
        fn buffer(&mut self, name: &str, _: &'a Param, _: bool) {
            self.add(name);
        }
    }
    let mut first = First(HashSet::new());
    root.tuners.iter().for_each(|t| t.visit(&mut first));
    first.0
}

/// The nodes of the tree by path in Python's view, those inside of tuners included. The root is not among them.
pub fn named_nodes(root: &Node) -> Vec<(String, &Node)> {
    nodes(root, View::Nodes).split_off(1)
}

/// Calls `f` with mutable access on every node of the tree: the root, and those inside of tuners, too.
pub fn for_each_node_mut(root: &mut Node, f: &mut dyn FnMut(&mut Node)) {
    struct Each<'f>(&'f mut dyn FnMut(&mut Node));
    impl VisitorMut for Each<'_> {
        fn param(&mut self, _: &str, _: &mut Param) {}
        fn node(&mut self, _: &str, node: &mut Node) {
            (self.0)(node);
            node.module_mut().visit_mut(self);
            node.tuners.iter_mut().for_each(|t| t.visit_mut(self));
        }
        fn list(&mut self, name: &str, list: &mut NodeList) {
            list.items.iter_mut().for_each(|node| self.node(name, node));
        }
    }
    Each(f).node("", root);
}

/// Calls `f` on every list of nodes that the model itself is made of, with its path.
pub fn for_each_list_mut(root: &mut Node, f: &mut dyn FnMut(&str, &mut NodeList)) {
    struct Each<'f>(&'f mut dyn FnMut(&str, &mut NodeList), String);
    impl Each<'_> {
        fn inside(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
            let length = self.1.len();
            if length > 0 {
                self.1.push('.');
            }
            self.1.push_str(name);
            body(self);
            self.1.truncate(length);
        }
    }
    impl VisitorMut for Each<'_> {
        fn param(&mut self, _: &str, _: &mut Param) {}
        fn node(&mut self, name: &str, node: &mut Node) {
            self.inside(name, |v| node.module_mut().visit_mut(v));
        }
        fn list(&mut self, name: &str, list: &mut NodeList) {
            self.inside(name, |v| {
                (v.0)(&v.1, list);
                for (i, node) in list.items.iter_mut().enumerate() {
                    v.node(&i.to_string(), node);
                }
            });
        }
    }
    root.module_mut().visit_mut(&mut Each(f, String::new()));
}
