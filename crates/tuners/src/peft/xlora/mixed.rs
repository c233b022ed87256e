//! A pass that the classifier looks at, and the pass that its scalings are for.

use super::classifier::Classifier;
use super::{XLoraConfig, HIDDEN, SCALINGS};
use candle_core::DType;
use std::sync::Arc;
use swift_tuners_nn::module::{Args, Next, Part, PartName, Tuner, Value, Visitor};
use swift_tuners_nn::{AdapterId, Array, Context, Error, Result, Tensor};

/// What becomes of a layer's scalings.
#[derive(Clone, Copy)]
pub struct Selection {
    top_k: Option<usize>,
    softmax: bool,
    /// Multiplies what experts add.
    pub weight: f64,
}

impl Selection {
    pub fn of(c: &XLoraConfig) -> Self {
        Self { top_k: c.top_k_lora, softmax: c.enable_softmax_topk, weight: c.global_scaling_weight }
    }

    /// `[batch, seq, layers, experts]` → `[batch, seq, experts]`, those that are not among the largest zero.
    pub fn of_layer(&self, scalings: &Tensor, layer: usize) -> Result<Tensor> {
        let of = scalings.narrow(2, layer, 1)?.squeeze(2)?.contiguous()?;
        if self.top_k.is_none() && !self.softmax {
            return Ok(of);
        }
        let experts = of.last_dim();
        let mut values: Vec<f32> = of.data().to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        for row in values.chunks_mut(experts) {
            let mut order: Vec<usize> = (0..experts).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let chosen = &order[..self.top_k.unwrap_or(experts).min(experts)];
            let keep: Vec<f32> = (0..experts)
                .map(|i| f32::from(u8::from(chosen.contains(&i) && (row[i] != 0. || !self.softmax))))
                .collect();
            row.copy_from_slice(&keep);
        }
        let mask = Array::from_vec(values, of.dims(), &candle_core::Device::Cpu)?.to_device(of.device())?;
        let mask = Tensor::from(mask.to_dtype(of.dtype())?);
        if !self.softmax {
            return of.mul(&mask);
        }
        let hidden = mask.affine(1e30, -1e30)?; // 0 where it counts
        of.mul(&mask)?.add(&hidden)?.softmax(-1)?.mul(&mask)
    }
}

/// Runs the model twice.
#[derive(Clone)]
pub struct Mixed {
    id: [AdapterId; 1],
    classifier: Classifier,
    /// What every expert counts in the first pass.
    first: f64,
}

impl Mixed {
    pub fn new(id: AdapterId, classifier: Classifier, first: f64) -> Self {
        Self { id: [id], classifier, first }
    }
}

impl Tuner for Mixed {
    fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
        let id = self.id[0];
        let shape = match (args.ints("input_ids"), args.optional_tensor("inputs_embeds")) {
            (Some(ids), _) => ids.shape.clone(),
            (None, Some(x)) => x.dims().to_vec(),
            (None, None) => return Err(Error::Argument("this model needs inputIds or inputsEmbeds".into())),
        };
        // Python's pass is without gradients and dropout is what it is there; it has a cache of its own.
        let cache = cx.cache.as_ref().map(|cache| cache.beside(id));
        let alone = Context { grad: false, cache, taps: Arc::default(), ..cx.clone() };
        if self.first != 0. {
            let constant = self.classifier.constant(shape[0], shape[1], self.first)?;
            alone.put_tap(id, SCALINGS, constant.into());
        }
        let mut look = args.clone();
        look.named.retain(|(name, _)| *name != "labels");
        if look.named.iter().all(|(name, _)| *name != "logits_to_keep") {
            look.named.push(("logits_to_keep", Value::None));
        }
        let output = next.run(&alone, look)?;
        let hidden = match alone.tap(id, HIDDEN) {
            Some(Value::Tensor(hidden)) => hidden,
            _ => output.into_tensor()?,
        };
        let scalings = self.classifier.scalings(cx, &hidden.detach())?;
        cx.put_tap(id, SCALINGS, scalings.into());
        next.run(cx, args)
    }

    fn reads_output(&self) -> bool {
        false
    }

    fn adapters(&self) -> &[AdapterId] {
        &self.id
    }

    fn parts(&self, adapter: AdapterId) -> Vec<Part<'_>> {
        if self.id[0] != adapter {
            return Vec::new();
        }
        let one = |(name, param): (String, _)| {
            let key = format!("base_model.{name}");
            Part::of(PartName::Beside { name, key }, param)
        };
        self.classifier.tensors().into_iter().map(one).collect()
    }

    fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
        self.classifier.tensors().into_iter().for_each(|(name, param)| v.param(&name, param));
    }

    fn detach(&mut self, adapter: AdapterId) -> bool {
        self.id[0] == adapter
    }
}
