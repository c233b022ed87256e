//! Adapter: a bottleneck with a residual on a module's output.
//!
//! Houlsby et al. 2019 (arXiv 1902.00751); Python's `swift.tuners.adapter`.

use crate::blocks::{Bottleneck, Init};
use crate::config::{Dialect, TunerConfig};
use crate::method::{swift_fields, Attach, Attachment, Method, Traits};
use crate::target::{attach_at, SwiftRule};
use serde_json::{json, Map, Value as Json};
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{model_nodes, Args, Next, Own, Position, Tuner, Value, FORWARD};
use swift_tuners_nn::ops::Activation;
use swift_tuners_nn::{Context, Error, Result};

pub static METHOD: Method = Method {
    kind: "ADAPTER",
    dialects: &[Dialect::Swift],
    defaults,
    check,
    attach,
    combination: None,
    traits: Traits::DEFAULT,
};

fn defaults(_: Dialect) -> Map<String, Json> {
    let own = json!({
        "dim": null, "target_modules": null, "hidden_pos": null, "method_name": "forward", "adapter_length": 128,
        "act_layer": "gelu",
    });
    swift_fields("ADAPTER", own)
}

fn check(c: &TunerConfig) -> Result<()> {
    c.size("dim")?;
    c.size("adapter_length")?;
    c.position("hidden_pos")?;
    Activation::parse(c.text("act_layer")?.unwrap_or("gelu"), "act_layer")?;
    SwiftRule::new(c, "target_modules", true).map(|_| ())
}

fn attach(a: &mut Attach<'_>) -> Result<Attachment> {
    let Attach { model, id, name, config: c, seed } = a;
    let (id, c, seed) = (*id, *c, *seed);
    let places = SwiftRule::new(c, "target_modules", true)?.places(model, c, "target_modules")?;
    let (dim, length) = (c.size("dim")?, c.size("adapter_length")?);
    let act = Activation::parse(c.text("act_layer")?.unwrap_or("gelu"), "act_layer")?;
    let position = c.position("hidden_pos")?;
    let wanted = c.text("method_name")?.unwrap_or(FORWARD);
    let mut methods = Vec::new();
    for (path, node) in model_nodes(&model.root) {
        if places.iter().any(|p| p.id == node.id()) {
            let known = std::iter::once(FORWARD).chain(node.module().methods().iter().copied());
            let method = known.into_iter().find(|m| *m == wanted).ok_or_else(|| {
                Error::config("method_name", format!("{path} has no method {:?}", printable(wanted, 60)))
            })?;
            methods.push((node.id(), method));
        }
    }
    let mut made = Vec::new();
    for place in &places {
        let mut init = Init::new(model, seed, &place.path);
        made.push(Bottleneck { down: init.xavier(dim, length)?, up: init.xavier(length, dim)?, act });
    }
    attach_at(&mut model.root, &places, |i, node| {
        let net = made[i].clone();
        let method = methods.iter().find(|(id, _)| *id == node.id()).map_or(FORWARD, |(_, m)| *m);
        let params = net.params(["linear1", "linear2"]);
        let own = Own { adapter: id, before: "adapter_", name: name.to_owned(), params };
        node.tuners.push(Box::new(Adapter { own, net, position: position.clone(), method }));
        Ok(())
    })?;
    Ok(Attachment::new(c))
}

/// `h + act(h W1ᵀ + b1) W2ᵀ + b2` on the output of the target's method, or on one element of it.
///
/// `h [.., dim]` → the same. Two adapters on one module nest in the order of preparing.
#[derive(Clone)]
struct Adapter {
    own: Own,
    net: Bottleneck,
    /// Which element of a tuple or model output.
    position: Option<Position>,
    method: &'static str,
}

impl Tuner for Adapter {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let mut value = next.run(cx, args)?;
        let h = value.element_mut(&self.position)?;
        let wide = h.to_dtype(self.net.dtype())?;
        *h = wide.add(&self.net.apply(cx, &wide)?)?.to_dtype(h.dtype())?;
        Ok(value)
    }

    fn own(&self) -> Option<&Own> {
        Some(&self.own)
    }

    fn method(&self) -> &'static str {
        self.method
    }
}
