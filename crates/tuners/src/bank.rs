//! Tensors that adapted layers share: all of them (`base_model.<group>.<adapter>`), or some.

use crate::method::Attach;
use crate::site::Site;
use std::sync::Arc;
use swift_tuners_nn::module::{Args, Next, Part, PartName, Role, Tuner, Value, Visitor};
use swift_tuners_nn::{AdapterId, Context, Error, Param, Result};

/// One adapter's shared tensors, and what its layers need to know of all of them.
#[derive(Clone, Default)]
pub struct Bank {
    shared: Arc<Vec<Shared>>,
    /// Names of the layers, in order.
    pub layers: Arc<Vec<String>>,
    /// Entries of all weights together.
    pub total: usize,
}

#[derive(Clone)]
struct Shared {
    name: PartName,
    role: Role,
    /// Whether it stands beside the model; otherwise only its layers have it.
    beside: bool,
    param: Param,
}

impl Bank {
    /// Without tensors.
    pub fn of(sites: &[Site]) -> Self {
        let total = sites.iter().map(|s| s.inputs * s.outputs).sum();
        Self { shared: Arc::default(), layers: Arc::new(sites.iter().map(|s| s.path.clone()).collect()), total }
    }

    /// Adds a tensor that is found under its group.
    pub fn with(self, group: &'static str, role: Role, param: Param) -> Self {
        self.adding(PartName::Grouped { group, leaf: "".into(), saved: "".into() }, role, true, param)
    }

    /// Adds one of several tensors of a group.
    pub fn keyed(self, group: &'static str, key: String, adapter_last: bool, role: Role, param: Param) -> Self {
        self.adding(PartName::Keyed { group, key, adapter_last }, role, true, param)
    }

    /// Adds one that has the names of its layers alone.
    pub fn inside(self, group: &'static str, key: String, param: Param) -> Self {
        self.adding(PartName::Keyed { group, key, adapter_last: false }, Role::Trained, false, param)
    }

    fn adding(mut self, name: PartName, role: Role, beside: bool, param: Param) -> Self {
        Arc::make_mut(&mut self.shared).push(Shared { name, role, beside, param });
        self
    }

    pub fn get(&self, group: &str) -> Result<&Param> {
        let found = self.shared.iter().find(|s| s.name.is_in(group));
        found.map(|s| &s.param).ok_or_else(|| Error::Invalid(format!("this adapter shares no {group}")))
    }

    pub fn find(&self, group: &str, wanted: &str) -> Result<&Param> {
        let is =
            |name: &PartName| matches!(name, PartName::Keyed { group: g, key, .. } if *g == group && key == wanted);
        let found = self.shared.iter().find(|s| is(&s.name));
        found.map(|s| &s.param).ok_or_else(|| Error::Invalid(format!("this adapter shares no {group}.{wanted}")))
    }

    /// The number of a layer.
    pub fn number(&self, site: &Site) -> Result<usize> {
        let found = self.layers.iter().position(|path| *path == site.path);
        found.ok_or_else(|| Error::Invalid(format!("{} is no layer of this adapter", site.path)))
    }

    /// Whether a layer is the first that has this tensor, of those that are [`Bank::inside`] layers.
    pub fn is_first(&self, group: &str, site: &Site, param: &Param) -> bool {
        let first = self.shared.iter().find(|s| s.name.is_in(group) && s.param.is(param));
        first.is_some_and(|s| matches!(&s.name, PartName::Keyed { key, .. } if *key == site.path))
    }

    /// The tensors of a group, as a layer has them.
    pub fn parts<'a>(&'a self, group: &'a str) -> impl Iterator<Item = Part<'a>> {
        let here = self.shared.iter().filter(move |s| s.name.is_in(group));
        here.map(|s| Part::of(s.name.clone(), &s.param).role(s.role).shared())
    }

    /// Puts the tensors beside the model.
    pub fn attach(&self, a: &mut Attach<'_>) {
        if self.shared.iter().all(|s| !s.beside) {
            return;
        }
        let root = &mut a.model.root;
        if root.tuner::<Banks>().is_none() {
            root.tuners.push(Box::new(Banks::default()));
        }
        if let Some(banks) = root.tuner_mut::<Banks>() {
            banks.ids.push(a.id);
            banks.banks.push((a.name.to_owned(), self.clone()));
        }
    }
}

/// Holds the banks of all adapters at the root, where Python keeps them, and does nothing.
#[derive(Clone, Default)]
struct Banks {
    ids: Vec<AdapterId>,
    banks: Vec<(String, Bank)>,
}

impl Tuner for Banks {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        next.run(cx, args)
    }

    /// None for whom there is anything to do in a pass.
    fn adapters(&self) -> &[AdapterId] {
        &[]
    }

    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        let Ok(at) = self.ids.binary_search(&adapter) else { return Vec::new() };
        let shared = self.banks[at].1.shared.iter().filter(|s| s.beside);
        shared.map(|s| Part::of(s.name.clone(), &s.param).role(s.role)).collect()
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for (name, bank) in &self.banks {
            for s in bank.shared.iter().filter(|s| s.beside) {
                let name = s.name.in_memory(name);
                if let Role::Buffer { saved } = s.role {
                    v.buffer(&name, &s.param, saved);
                } else {
                    v.param(&name, &s.param);
                }
            }
        }
    }

    /// Nothing of a merged adapter stays beside the model.
    fn unloads(&self) -> bool {
        true
    }

    fn rename(&mut self, adapter: AdapterId, name: &str) {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.banks[at].0 = name.to_owned();
        }
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.banks.remove(at);
        }
        self.ids.is_empty()
    }
}
