//! Incremental principal components: a batch at a time.
//!
//! Ross et al. 2008, "Incremental learning for robust visual tracking"; PEFT's `IncrementalPCA` with randomised decompositions.

use candle_core::{DType, Device};
use swift_tuners_nn::init::torch::Generator;
use swift_tuners_nn::linalg::svd_lowrank;
use swift_tuners_nn::{Array, Result};

/// PEFT's seed, and the passes of each decomposition.
const SEED: u64 = 42;
const PASSES: usize = 4;

#[derive(Clone)]
pub struct Pca {
    count: usize,
    seen: f64,
    mean: Array,
    variance: Array,
    /// `[components, features]`, each with its largest entry positive.
    pub components: Array,
    pub singular: Vec<f64>,
    /// Each one's share of the whole variance.
    pub ratios: Vec<f64>,
}

impl Pca {
    /// The components after one more batch `[samples, features]`, which has no fewer samples than there are components.
    pub fn after(before: Option<&Self>, x: &Array, count: usize) -> Result<Self> {
        let x = x.to_dtype(DType::F64)?.to_device(&Device::Cpu)?;
        let (samples, features) = x.dims2()?;
        let n = samples as f64;
        let batch_mean = x.mean(0)?;
        let centred = x.broadcast_sub(&batch_mean)?;
        let spread = centred.sqr()?.sum(0)?;
        let (rows, seen, mean, variance) = match before {
            None => (centred, n, batch_mean, (spread / n)?),
            Some(p) => {
                let seen = p.seen + n;
                let mean = (((&p.mean * p.seen)? + (&batch_mean * n)?)? / seen)?;
                let apart = (&p.mean - &batch_mean)?;
                let between = (apart.sqr()? * (p.seen * n / seen))?;
                let variance = (((&p.variance * p.seen)? + spread)? + between)?;
                let kept = p.singular.len();
                let scale = Array::from_vec(p.singular.clone(), (kept, 1), &Device::Cpu)?;
                let shift = (apart * (p.seen / seen * n).sqrt())?.reshape((1, features))?;
                let rows = Array::cat(&[p.components.broadcast_mul(&scale)?, centred, shift], 0)?;
                (rows, seen, mean, (variance / seen)?)
            }
        };
        let (_, s, vt) = svd_lowrank(&rows, 2 * count, PASSES, &mut Generator::new(SEED))?;
        let s: Vec<f64> = s.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
        let whole = (&variance * seen)?.sum_all()?.to_scalar::<f64>()?;
        let kept = count.min(s.len());
        let mut values: Vec<Vec<f64>> = vt.narrow(0, 0, kept)?.to_dtype(DType::F64)?.to_vec2()?;
        for row in &mut values {
            let largest = row.iter().fold(0f64, |m, &v| if v.abs() > m.abs() { v } else { m });
            if largest < 0. {
                row.iter_mut().for_each(|v| *v = -*v);
            }
        }
        let components = Array::from_vec(values.concat(), (kept, features), &Device::Cpu)?;
        let ratios = s[..kept].iter().map(|v| v * v / whole).collect();
        Ok(Self { count, seen, mean, variance, components, singular: s[..kept].to_vec(), ratios })
    }

    /// Which components point where those of `before` do, by their cosines.
    pub fn settled(&self, before: &Self, least: f64) -> Result<Vec<bool>> {
        let dot = |a: &Array, b: &Array| -> Result<Vec<f64>> { Ok((a * b)?.sum(1)?.to_vec1()?) };
        let (a, b) = (&self.components, &before.components);
        let (ab, aa, bb) = (dot(a, b)?, dot(a, a)?, dot(b, b)?);
        Ok((0..self.count).map(|i| ab.get(i).is_some_and(|d| d / (aa[i] * bb[i]).sqrt().max(1e-8) >= least)).collect())
    }
}
