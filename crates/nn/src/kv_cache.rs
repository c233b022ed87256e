//! Keys and values of positions that a pass does not compute itself.

use crate::adapter_id::AdapterId;
use crate::module::Value;
use crate::tensor::{Array, Tensor};
use crate::{Error, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Keys and values that stand before those of a sequence, one pair per layer: `[batch, tokens, kv_heads, d]`. Gradients go
/// through them.
pub struct Prefix {
    layers: Vec<(Tensor, Tensor)>,
}

impl Prefix {
    pub fn new(layers: Vec<(Tensor, Tensor)>) -> Self {
        Self { layers }
    }

    /// Positions that it takes.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |(k, _)| k.dim(1))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_tracked(&self) -> bool {
        self.layers.iter().any(|(k, v)| k.is_tracked() || v.is_tracked())
    }

    pub(crate) fn before(&self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let Some((keys, values)) = self.layers.get(layer) else {
            return Err(Error::Invalid(format!("a prefix of {} layers, and a layer {layer}", self.layers.len())));
        };
        let fits = |p: &Tensor, x: &Tensor| p.dims()[2..] == x.dims()[2..] && p.dim(0) == x.dim(0);
        if !fits(keys, k) || !fits(values, v) {
            return Err(Error::Shape {
                path: "prefix".into(),
                expected: k.dims().to_vec(),
                actual: keys.dims().to_vec(),
            });
        }
        let join = |p: &Tensor, x: &Tensor| Tensor::cat(&[&p.to_dtype(x.dtype())?, x], 1);
        Ok((join(keys, k)?, join(values, v)?))
    }
}

/// Keys and values of the positions that a decoding pass has seen, one pair per layer: `[batch, seq, kv_heads, d]`; with an
/// encoder, what it gave and what the decoder made of it, too.
#[derive(Default)]
pub struct KvCache {
    layers: Mutex<Vec<Option<(Array, Array)>>>,
    encoded: Mutex<Option<Array>>,
    cross: Mutex<Vec<Option<(Array, Array)>>>,
    beside: Mutex<HashMap<AdapterId, Arc<KvCache>>>,
    taps: Mutex<HashMap<(AdapterId, usize), Value>>,
}

impl KvCache {
    /// Keeps a value of the first pass for a tuner of `adapter` in the passes that follow.
    pub fn put_tap(&self, adapter: AdapterId, place: usize, value: Value) {
        self.taps.lock().insert((adapter, place), value);
    }

    pub fn tap(&self, adapter: AdapterId, place: usize) -> Option<Value> {
        self.taps.lock().get(&(adapter, place)).cloned()
    }

    /// Positions held so far.
    pub fn len(&self) -> usize {
        self.layers.lock().first().and_then(|l| l.as_ref()).map_or(0, |(k, _)| k.dims()[1])
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a layer's new keys and values and returns all of them: gradients go to the new ones, what was there is constant.
    pub fn append(&self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut layers = self.layers.lock();
        if layers.len() <= layer {
            layers.resize(layer + 1, None);
        }
        let (k, v) = match layers[layer].take() {
            Some((old_k, old_v)) => (Tensor::cat(&[&old_k.into(), k], 1)?, Tensor::cat(&[&old_v.into(), v], 1)?),
            None => (k.clone(), v.clone()),
        };
        layers[layer] = Some((k.data().clone(), v.data().clone()));
        Ok((k, v))
    }

    /// The cache of another pass or network of an adapter's, over the same positions.
    pub fn beside(&self, adapter: AdapterId) -> Arc<KvCache> {
        self.beside.lock().entry(adapter).or_default().clone()
    }

    /// What the encoder gives: computed by the first pass.
    pub fn encoded(&self, compute: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        let mut encoded = self.encoded.lock();
        if let Some(kept) = &*encoded {
            return Ok(kept.clone().into());
        }
        let fresh = compute()?;
        *encoded = Some(fresh.data().clone());
        Ok(fresh)
    }

    /// A layer's keys and values of what the encoder gave: computed by the first pass.
    pub fn cross(&self, layer: usize, compute: impl FnOnce() -> Result<(Tensor, Tensor)>) -> Result<(Tensor, Tensor)> {
        let mut cross = self.cross.lock();
        if cross.len() <= layer {
            cross.resize(layer + 1, None);
        }
        if let Some((k, v)) = &cross[layer] {
            return Ok((k.clone().into(), v.clone().into()));
        }
        let (k, v) = compute()?;
        cross[layer] = Some((k.data().clone(), v.data().clone()));
        Ok((k, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::Param;
    use candle_core::Device;

    #[test]
    fn gradients_go_to_the_keys_that_a_pass_adds_to_a_cache() -> Result<()> {
        let cache = KvCache::default();
        let array = |x: f32| Array::full(x, (1, 1, 1, 2), &Device::Cpu);
        cache.append(0, &array(1.)?.into(), &array(2.)?.into())?;
        let (k, v) = (Param::new(array(3.)?, true), Param::new(array(4.)?, true));
        let (keys, values) = cache.append(0, &k.value(true)?, &v.value(true)?)?;
        assert_eq!(keys.dims(), [1, 2, 1, 2]);
        keys.sqr()?.sum(None, false)?.add(&values.sum(None, false)?)?.backward()?;
        assert_eq!(k.grad().unwrap().flatten_all()?.to_vec1::<f32>()?, [6., 6.]);
        assert_eq!(v.grad().unwrap().flatten_all()?.to_vec1::<f32>()?, [1., 1.]);
        assert_eq!(cache.len(), 2);
        Ok(())
    }
}
