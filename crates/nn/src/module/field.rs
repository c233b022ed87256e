//! Fields of a module's struct, in PyTorch's order.

use super::door::{Visitor, VisitorMut};
use super::node::{Node, NodeList};
use crate::param::Param;

/// A field that `fields!` can list.
pub trait Field {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>);
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut);
}

impl Field for Param {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>) {
        v.param(name, self);
    }
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut) {
        v.param(name, self);
    }
}

impl Field for Node {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>) {
        v.node(name, self);
    }
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut) {
        v.node(name, self);
    }
}

impl Field for NodeList {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>) {
        v.list(name, self);
    }
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut) {
        v.list(name, self);
    }
}

impl<T: Field> Field for Option<T> {
    fn visit_as<'a>(&'a self, name: &str, v: &mut dyn Visitor<'a>) {
        if let Some(field) = self {
            field.visit_as(name, v);
        }
    }
    fn visit_as_mut(&mut self, name: &str, v: &mut dyn VisitorMut) {
        if let Some(field) = self {
            field.visit_as_mut(name, v);
        }
    }
}

/// Implements the walking half of [`Module`]: `fields!(weight, bias)`, or `fields!(norm as "LayerNorm")` where Python's
/// name is no Rust name.
#[macro_export]
macro_rules! fields {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    ($($field:ident $(as $name:literal)?),* $(,)?) => {
        fn visit<'a>(&'a self, _v: &mut dyn $crate::module::Visitor<'a>) {
            $($crate::module::Field::visit_as(&self.$field, $crate::fields!(@name $field $($name)?), _v);)*
        }
        fn visit_mut(&mut self, _v: &mut dyn $crate::module::VisitorMut) {
            $($crate::module::Field::visit_as_mut(&mut self.$field, $crate::fields!(@name $field $($name)?), _v);)*
        }
        fn boxed_clone(&self) -> Box<dyn $crate::module::Module> {
            Box::new(self.clone())
        }
    };
}
