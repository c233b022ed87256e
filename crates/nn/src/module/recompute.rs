//! Gradient checkpointing.

use super::node::Node;
use super::walk::{all_parameters, saved_nodes};
use super::{Args, Value};
use crate::context::{Context, Taps};
use crate::tensor::{Array, GradSlot, Tensor};
use crate::{Error, Result};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Calls a node without keeping what its backward pass needs: that pass runs the call again, with the same random numbers.
/// Gradients go through the call's arguments, and through what tuners keep for each other in this pass, in and out.
///
/// Chen et al. 2016 (arXiv 1604.06174); `torch.utils.checkpoint`.
pub fn checkpointed(cx: &Context, node: &Node, args: Args) -> Result<Value> {
    if cx.prefix.as_ref().is_some_and(|p| p.is_tracked()) {
        return Err(Error::Invalid("gradient checkpointing: it does not go with a trained prefix".into()));
    }
    let draws = cx.draws.load(Ordering::Relaxed);
    let before = cx.taps.lock().clone();
    let mut inputs: Vec<Tensor> = args.tensors().cloned().collect();
    let saved = args.detached();
    let taps = map_taps(&before, &mut |t| {
        inputs.push(t.clone());
        t.detach()
    });
    let plain = Context { grad: false, taps: Arc::new(Mutex::new(taps.clone())), ..cx.clone() };
    let y = tensor(node.call(&plain, saved.clone())?)?;
    let mut left = std::mem::take(&mut *plain.taps.lock());
    left.retain(|key, value| !taps.get(key).is_some_and(|t| t.is(value)));
    let keys: Vec<_> = left.keys().copied().collect();
    let outputs = |y: Tensor, taps: &Taps| -> Vec<Tensor> {
        let mut all = vec![y];
        keys.iter().filter_map(|key| taps.get(key)).for_each(|value| value.each_tensor(&mut |t| all.push(t.clone())));
        all
    };
    let outs = outputs(y, &left);
    if !inputs.iter().any(Tensor::is_tracked) && !is_trained(node) {
        cx.taps.lock().extend(left);
        return Ok(outs[0].clone().into());
    }
    let shapes: Vec<_> = outs.iter().map(|t| (t.dims().to_vec(), t.dtype())).collect();
    let joined = join(&outs)?.into_data();
    let (node, again) = (node.clone(), Context { taps: Arc::default(), ..cx.clone() });
    let kept = keys.clone();
    let backward = move |grad: &Array| {
        let mut slots = Vec::new();
        let mut leaf = |t: &Tensor| {
            let slot = Arc::new(GradSlot::default());
            slots.push(slot.clone());
            Tensor::leaf(t.data().clone(), Tensor::leaf_record(slot))
        };
        let args = saved.map_tensors(&mut leaf);
        let taps = map_taps(&taps, &mut leaf);
        let cx = Context { draws: Arc::new(AtomicU64::new(draws)), taps: Arc::new(Mutex::new(taps)), ..again };
        let mut outs = vec![tensor(node.call(&cx, args)?)?];
        let taps = cx.taps.lock().clone();
        for value in kept.iter().filter_map(|key| taps.get(key)) {
            value.each_tensor(&mut |t| outs.push(t.clone()));
        }
        let y = join(&outs)?;
        if y.is_tracked() {
            y.backward_from(grad.clone())?;
        }
        Ok(slots.iter().map(|s| s.get()).collect())
    };
    let joined = Tensor::from_recomputed(joined, &inputs.iter().collect::<Vec<_>>(), backward);
    let mut parts = part(joined, &shapes)?.into_iter();
    let Some(y) = parts.next() else {
        return Err(Error::Invalid("gradient checkpointing: a block without output".into()));
    };
    let mut all = cx.taps.lock();
    for key in keys {
        if let Some(value) = left.get(&key) {
            all.insert(key, value.map_all(&mut |t| parts.next().unwrap_or_else(|| t.clone())));
        }
    }
    Ok(y.into())
}

fn tensor(value: Value) -> Result<Tensor> {
    match value {
        Value::Tensor(y) => Ok(y),
        _ => Err(Error::Invalid("gradient checkpointing: this block gives more than one tensor".into())),
    }
}

/// Whether anything that trains has a part in the node's output.
fn is_trained(node: &Node) -> bool {
    let own = || all_parameters(node).iter().any(|(_, p)| p.requires_grad());
    let borrowed = |n: &Node| n.tuners.iter().any(|t| t.borrowed().iter().any(|p| p.requires_grad()));
    own() || saved_nodes(node).iter().any(|(_, n)| borrowed(n))
}

/// In the order of the keys, so that two calls over equal maps meet the tensors in one order.
fn map_taps(taps: &Taps, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Taps {
    taps.iter().map(|(key, value)| (*key, value.map_all(f))).collect()
}

/// Several tensors as one; a lone one stays as it is.
fn join(parts: &[Tensor]) -> Result<Tensor> {
    if let [one] = parts {
        return Ok(one.clone());
    }
    let wide = parts.iter().map(Tensor::dtype).max_by_key(|d| d.size_in_bytes()).unwrap_or(candle_core::DType::F32);
    let wide = crate::ops::compute_dtype(wide);
    let flat = |t: &Tensor| t.to_dtype(wide)?.reshape(t.data().elem_count());
    let flat = parts.iter().map(flat).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&flat.iter().collect::<Vec<_>>(), 0)
}

/// The tensors that [`join`] made one of.
fn part(joined: Tensor, shapes: &[(Vec<usize>, candle_core::DType)]) -> Result<Vec<Tensor>> {
    if shapes.len() == 1 {
        return Ok(vec![joined]);
    }
    let mut at = 0;
    let mut one = |(shape, dtype): &(Vec<usize>, candle_core::DType)| {
        let n = shape.iter().product();
        at += n;
        joined.narrow(0, at - n, n)?.reshape(shape.as_slice())?.to_dtype(*dtype)
    };
    shapes.iter().map(&mut one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter_id::AdapterId;
    use crate::fields;
    use crate::module::{Module, Next, Tuner, Visitor};
    use crate::param::Param;
    use candle_core::Device;

    #[derive(Clone)]
    struct Plain;

    impl Module for Plain {
        fields!();

        fn forward(&self, _: &Context, args: &Args) -> Result<Value> {
            Ok(args.tensor(0, "x")?.clone().into())
        }
    }

    /// Keeps `w x` and takes what the one before has kept.
    #[derive(Clone)]
    struct Handing {
        id: [AdapterId; 1],
        w: Param,
    }

    impl Tuner for Handing {
        fn around(&self, cx: &Context, args: Args, next: Next<'_>) -> Result<Value> {
            let x = next.run(cx, args)?.into_tensor()?;
            let y = match cx.tap(self.id[0], 0) {
                Some(Value::Tuple(items)) => x.mul(&items[0].clone().into_tensor()?)?,
                _ => x.clone(),
            };
            let kept = self.w.value(cx.grad)?.mul(&y)?;
            cx.put_tap(self.id[0], 0, Value::Tuple(vec![kept.into()]));
            Ok(y.into())
        }

        fn adapters(&self) -> &[AdapterId] {
            &self.id
        }

        fn visit<'a>(&'a self, v: &mut dyn Visitor<'a>) {
            v.param("w", &self.w);
        }
    }

    #[test]
    fn gradients_go_through_what_blocks_hand_on() {
        let id = AdapterId(1);
        let of = |values: &[f64]| Array::from_slice(values, 3, &Device::Cpu).unwrap();
        let gradients = |again: bool| {
            let params = [Param::new(of(&[1., 2., -3.]), true), Param::new(of(&[0.5, -1., 2.]), true)];
            let block = |w: &Param| {
                let mut node = Node::new(Plain);
                node.tuners.push(Box::new(Handing { id: [id], w: w.clone() }));
                node
            };
            let x = Param::new(of(&[0.3, 0.7, -0.2]), true);
            let cx = Context { grad: true, training: true, active: Arc::new(vec![id]), ..Context::default() };
            let mut y = x.value(true).unwrap();
            for node in [block(&params[0]), block(&params[1]), Node::clone(&block(&params[0]))] {
                let args = Args::one(y);
                let value = if again { checkpointed(&cx, &node, args) } else { node.call(&cx, args) };
                y = value.unwrap().into_tensor().unwrap();
            }
            y.sqr().unwrap().sum(None, false).unwrap().backward().unwrap();
            let all = [&x, &params[0], &params[1]];
            all.map(|p| p.grad().map(|g| g.to_vec1::<f64>().unwrap()))
        };
        let (plain, again) = (gradients(false), gradients(true));
        assert!(plain.iter().all(Option::is_some));
        for (plain, again) in plain.into_iter().flatten().zip(again.into_iter().flatten()) {
            assert!(plain.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-12), "{plain:?} {again:?}");
        }
    }
}
