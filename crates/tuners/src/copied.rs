//! Trained copies of whole modules, one for each adapter, each run in its module's place while its adapter is active.

use std::marker::PhantomData;
use swift_tuners_nn::module::{
    named_nodes, own_parameters, Args, Next, Node, Part, PartName, Role, Rows, Tuner, Value, Visitor, VisitorMut,
};
use swift_tuners_nn::{AdapterId, Context, Error, Result};

/// What the kinds of copies differ in.
pub trait CopyKind: Clone + Send + Sync + 'static {
    /// What users call it.
    const WHAT: &'static str;
    /// What the module is called beside its copies.
    const BASE_NAME: Option<&'static str>;
    const ROLE: Role;
    /// Whether a merged adapter's copy takes the module's place for good.
    const REPLACES: bool;
    /// The name of an adapter's copy.
    fn name(adapter: &str) -> String;
    /// What a parameter of a copy is called in files.
    fn part(path: String) -> PartName;
}

#[derive(Clone)]
pub struct Copy {
    pub id: AdapterId,
    pub name: String,
    pub node: Node,
}

/// All copies of one kind of one module.
#[derive(Clone)]
pub struct Copied<K> {
    copies: Vec<Copy>,
    /// Theirs, in the same order.
    ids: Vec<AdapterId>,
    kind: PhantomData<K>,
}

impl<K: CopyKind> Copied<K> {
    /// Adds an adapter's trainable copy of the node it sits on. The first wraps the node inside of the tuners from `at` on.
    pub fn attach(node: &mut Node, id: AdapterId, name: &str, at: impl FnOnce(&Node) -> usize) -> Result<()> {
        let copy = node.deep_copy()?;
        for (_, p) in own_parameters(&copy) {
            p.set_requires_grad(true);
        }
        let copy = Copy { id, name: name.to_owned(), node: copy };
        match node.tuner_mut::<Self>() {
            Some(copied) => {
                copied.copies.push(copy);
                copied.ids.push(id);
            }
            None => {
                let at = at(node);
                node.tuners.insert(at, Box::new(Self { copies: vec![copy], ids: vec![id], kind: PhantomData }));
            }
        }
        Ok(())
    }

    pub fn copy_mut(&mut self, id: AdapterId) -> Option<&mut Copy> {
        self.copies.iter_mut().find(|c| c.id == id)
    }

    fn active(&self, cx: &Context) -> Result<Option<&Copy>> {
        let mut active = self.copies.iter().filter(|c| cx.is_active(c.id));
        let first = active.next();
        if let (Some(a), Some(b)) = (first, active.next()) {
            return Err(Error::Invalid(format!(
                "{}: the adapters {} and {} both replace the same module; activate one of them",
                K::WHAT,
                a.name,
                b.name
            )));
        }
        Ok(first)
    }
}

impl<K: CopyKind> Tuner for Copied<K> {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        match self.active(cx)? {
            Some(copy) => copy.node.call(cx, args),
            None => next.run(cx, args),
        }
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.ids
    }

    fn rows(&self, cx: &Context) -> Result<Rows> {
        if !K::REPLACES {
            return Ok(Rows::Whole);
        }
        // The cache of a decoding pass is of all rows together.
        let whole = |c: &Copy| cx.is_active(c.id) && named_nodes(&c.node).len() > 1;
        if cx.cache.is_some() && self.copies.iter().any(whole) {
            return Err(Error::Invalid(format!("adapterNames: generation with a whole block in {}", K::WHAT)));
        }
        Ok(Rows::Apart)
    }

    fn parts(&self, id: AdapterId) -> Vec<Part<'_>> {
        let copies = self.copies.iter().filter(|c| c.id == id);
        let params = copies.flat_map(|c| own_parameters(&c.node));
        params.map(|(name, p)| Part::of(K::part(name), p).role(K::ROLE)).collect()
    }

    fn unloads(&self) -> bool {
        K::REPLACES
    }

    fn replacement(&self, ids: &[AdapterId]) -> Option<&Node> {
        self.copies.iter().find(|c| K::REPLACES && ids.contains(&c.id)).map(|c| &c.node)
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for copy in &self.copies {
            v.node(&K::name(&copy.name), &copy.node);
        }
    }

    fn visit_mut(&mut self, v: &mut dyn VisitorMut) {
        self.copies.iter_mut().for_each(|copy| v.node("", &mut copy.node));
    }

    fn has_nodes(&self) -> bool {
        true
    }

    fn rename(&mut self, id: AdapterId, name: &str) {
        self.copies.iter_mut().filter(|c| c.id == id).for_each(|c| name.clone_into(&mut c.name));
    }

    fn detach(&mut self, id: AdapterId) -> bool {
        self.copies.retain(|c| c.id != id);
        self.ids.retain(|&c| c != id);
        self.copies.is_empty()
    }

    fn base_name(&self) -> Option<&'static str> {
        K::BASE_NAME
    }
}
