//! Adapter: a bottleneck with a residual on a module's output.
//!
//! Houlsby et al. 2019 (arXiv 1902.00751); Python's `swift.tuners.adapter`.

use crate::blocks::Bottleneck;
use crate::config::Dialect;
use crate::fields::Required;
use crate::method::{Attach, Attachment, Kind};
use crate::target::{attach_at, SwiftRule};
use serde_json::Value as Json;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::module::{model_nodes, Args, Next, Own, Position, Tuner, Value, FORWARD};
use swift_tuners_nn::ops::Activation;
use swift_tuners_nn::{Context, Error, Result};

crate::config! {
    /// `AdapterConfig`
    pub struct HoulsbyConfig {
        standard: [];
        model_key_mapping: Option<Json> = None;
        /// Width of what the module gives out.
        dim: Required<usize>;
        /// Which modules: a regular expression for whole names, or a list of endings.
        target_modules: Required<SwiftRule>;
        /// Which element of a tuple or model output; needed where the module gives more than a tensor.
        hidden_pos: Option<Position> = None;
        /// The method that is surrounded; BERT's layers also have 'feed_forward_chunk'.
        method_name: String = FORWARD.to_owned();
        /// Inner width.
        adapter_length: usize = 128, in 1..;
        /// An activation by its transformers name.
        act_layer: String = "gelu".to_owned();
    }
}

/// The kind of tuner.
pub struct AdapterTuning;

impl Kind for AdapterTuning {
    const NAME: &'static str = "ADAPTER";
    const DIALECT: Dialect = Dialect::Swift;
    const CLASS: &'static str = "AdapterConfig";
    const ABOUT: &'static str =
        "A bottleneck with a residual on a module's output. Houlsby et al. 2019 (arXiv 1902.00751).";
    type Config = HoulsbyConfig;

    fn check(config: &HoulsbyConfig) -> Result<()> {
        Activation::parse(&config.act_layer, "act_layer").map(|_| ())
    }

    fn attach(config: &HoulsbyConfig, a: &mut Attach<'_>) -> Result<Attachment> {
        attach(config, a)
    }
}

fn attach(c: &HoulsbyConfig, a: &mut Attach<'_>) -> Result<Attachment> {
    let (id, name) = (a.id, a.name);
    let places = c.target_modules.0.places(a.model, "target_modules")?;
    let (dim, length) = (c.dim.0, c.adapter_length);
    let act = Activation::parse(&c.act_layer, "act_layer")?;
    let (position, wanted) = (c.hidden_pos.clone(), c.method_name.as_str());
    let mut methods = Vec::new();
    for (path, node) in model_nodes(&a.model.root) {
        if places.iter().any(|p| p.id == node.id()) {
            let known = std::iter::once(FORWARD).chain(node.module().methods().iter().copied());
            let method = known.into_iter().find(|m| *m == wanted).ok_or_else(|| {
                Error::config("method_name", format!("{path} has no method {:?}", printable(wanted, 60)))
            })?;
            methods.push((node.id(), method));
        }
    }
    let mut made = Vec::new();
    for _ in &places {
        let init = &mut *a.init;
        // Both constructors draw before their weights and biases are drawn anew.
        init.discard_dense(dim, length, true)?;
        init.discard_dense(length, dim, true)?;
        let (down, up) = (init.xavier_dense(dim, length)?, init.xavier_dense(length, dim)?);
        made.push(Bottleneck { down, up, act });
    }
    attach_at(&mut a.model.root, &places, |i, node| {
        let net = made[i].clone();
        let method = methods.iter().find(|(id, _)| *id == node.id()).map_or(FORWARD, |(_, m)| *m);
        let params = net.params(["linear1", "linear2"]);
        let own = Own { adapter: id, before: "adapter_", name: name.to_owned(), params };
        node.tuners.push(Box::new(Adapter { own, net, position: position.clone(), method }));
        Ok(())
    })?;
    Ok(Attachment::new(a.config))
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

    fn surrounds(&self, method: &str) -> bool {
        method == self.method
    }
}
