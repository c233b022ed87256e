//! Tensors that all adapted layers share (`base_model.<group>.<adapter>`).

use crate::method::Attach;
use std::sync::Arc;
use swift_tuners_nn::module::{Args, Next, Part, Role, Tuner, Value, Visitor};
use swift_tuners_nn::{AdapterId, Context, Error, Param, Result};

/// One adapter's shared tensors, and what its layers need to know of all of them.
#[derive(Clone, Default)]
pub struct Bank {
    shared: Arc<Vec<Shared>>,
    /// Entries of all weights together, and how many there are, where something is shared out among them.
    pub total: usize,
    pub layers: usize,
}

struct Shared {
    group: &'static str,
    role: Role,
    param: Param,
}

impl Bank {
    /// Adds a tensor that is found under its group.
    pub fn with(mut self, group: &'static str, role: Role, param: Param) -> Self {
        if let Some(list) = Arc::get_mut(&mut self.shared) {
            list.push(Shared { group, role, param });
        }
        self
    }

    pub fn get(&self, group: &str) -> Result<&Param> {
        let found = self.shared.iter().find(|s| s.group == group);
        found.map(|s| &s.param).ok_or_else(|| Error::Invalid(format!("this adapter shares no {group}")))
    }

    /// Puts the tensors beside the model.
    pub fn attach(&self, a: &mut Attach<'_>) {
        if self.shared.is_empty() {
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
        let shared = self.banks[at].1.shared.iter();
        shared.map(|s| Part::trained(s.group, &s.param).role(s.role)).collect()
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        for (name, bank) in &self.banks {
            for s in bank.shared.iter() {
                let name = format!("{}.{name}", s.group);
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

    fn detach(&mut self, adapter: AdapterId) -> bool {
        if let Ok(at) = self.ids.binary_search(&adapter) {
            self.ids.remove(at);
            self.banks.remove(at);
        }
        self.ids.is_empty()
    }
}
