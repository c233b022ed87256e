//! LoKr: a Kronecker product of two small matrices.
//!
//! Yeh et al. 2023 (LyCORIS, arXiv 2309.14859); PEFT's `peft.tuners.lokr`.

use super::lycoris::{core_shape, Dropouts, Factored};
use crate::bank::Bank;
use crate::config::TunerConfig;
use crate::fields::{Patterns, Probability};
use crate::init::Init;
use crate::layer::LayerAdapter;
use crate::layers::LayerKind;
use crate::site::{Call, Input, Site};
use crate::target;
use swift_tuners_nn::linalg::kronecker_product;
use swift_tuners_nn::module::{Part, WeightKind};
use swift_tuners_nn::{Param, Result, Tensor};

crate::config! {
    /// `LoKrConfig`
    pub struct LoKrConfig {
        standard: [
            peft, target_modules, exclude_modules, layers_to_transform, layers_pattern, modules_to_save, rank_pattern, alpha_pattern,
        ];
        /// Rank of what is factored.
        r: usize = 8, in 1..;
        /// The product is scaled by `alpha / r`.
        alpha: usize = 8;
        /// Chance that an output of the update is left out in training.
        rank_dropout: Probability = Probability(0.);
        /// Chance that a layer's update is left out in training.
        module_dropout: Probability = Probability(0.);
        /// Convolutions larger than 1×1 get a core of their kernel's size (proposition 3 of FedPara).
        use_effective_conv2d: bool = false;
        /// Factors the left matrix, too, where it is larger than twice the rank.
        decompose_both: bool = false;
        /// Size of the left matrix, or the most that it may have; -1: as near to a square as the layer's sizes allow.
        decompose_factor: i64 = -1;
        /// Scales the outputs that `rankDropout` leaves.
        rank_dropout_scale: bool = false;
        /// How the matrices start: true (the left one zero), 'lycoris' (the right one zero), false (all random, so that the adapter acts
        /// at once).
        init_weights: Start = Start::Left;
        rank_pattern: Patterns<f64> = Patterns(Vec::new());
        alpha_pattern: Patterns<f64> = Patterns(Vec::new());
    }
}

crate::choices! {
    /// Which of the two matrices starts at zero.
    pub enum Start { Left = true, Right = "lycoris", Neither = false }
}

/// `ΔW = s (w1 ⊗ w2)`, where either may be factored.
#[derive(Clone)]
pub struct LoKr {
    w1: Side,
    w2: Side,
    scaling: f64,
    dropouts: Dropouts,
}

#[derive(Clone)]
enum Side {
    /// `[out, in]`, or the right one of a convolution `[out, in, height, width]`
    Whole(Param),
    Factored(Factored),
}

impl Side {
    /// Factors of the matrix `[out, in]`.
    fn factors(&self, call: &Call<'_>) -> Result<Vec<Tensor>> {
        match self {
            Self::Whole(w) => {
                let w = call.value(w)?;
                let out = w.dim(0);
                Ok(vec![w.reshape((out, w.data().elem_count() / out.max(1)))?])
            }
            Self::Factored(f) if f.core.is_some() => Ok(vec![f.matrix(call)?]),
            Self::Factored(f) => Ok(vec![call.value(&f.a)?, call.value(&f.b)?]),
        }
    }

    fn matrix(&self, call: &Call<'_>) -> Result<Tensor> {
        let factors = self.factors(call)?;
        factors[1..].iter().try_fold(factors[0].clone(), |product, f| product.matmul(f))
    }

    fn parts<'a>(&'a self, whole: &'static str, a: &'static str, b: &'static str) -> Vec<Part<'a>> {
        match self {
            Self::Whole(w) => vec![Part::trained(whole, w)],
            Self::Factored(f) => vec![Part::trained(a, &f.a), Part::trained(b, &f.b)],
        }
    }
}

/// Two factors of `n`, the smaller first: `limit` itself where it divides `n`, otherwise the pair nearest to a square whose
/// smaller one is at most `limit` (-1: any).
fn factorization(n: usize, limit: i64) -> (usize, usize) {
    if let Some(factor) = usize::try_from(limit).ok().filter(|&f| f > 0 && n.is_multiple_of(f)) {
        return (factor, n / factor);
    }
    let limit = if limit == -1 { n } else { usize::try_from(limit).unwrap_or(0) };
    let (mut small, mut large) = (1, n);
    while small < large {
        let Some(next) = (small + 1..=n).find(|m| n.is_multiple_of(*m)) else { break };
        if next + n / next > 1 + n || next > limit {
            break;
        }
        (small, large) = (next, n / next);
    }
    (small.min(large), small.max(large))
}

impl LayerKind for LoKr {
    const NAME: &'static str = "LOKR";
    const CLASS: &'static str = "LoKrConfig";
    const ABOUT: &'static str = "A Kronecker product of two small matrices. Yeh et al. 2023 (arXiv 2309.14859).";
    type Config = LoKrConfig;
    type Adapter = Self;

    fn new(c: &LoKrConfig, site: &Site, _: Option<&Bank>, init: &mut Init, _: &TunerConfig) -> Result<Self> {
        let plain = |k: &WeightKind| matches!(k, WeightKind::Linear { transposed: false } | WeightKind::Conv2d(_));
        site.require(plain, "torch.nn.Linear, Conv1d or Conv2d")?;
        let pattern = |patterns: &Patterns<f64>, name| target::pattern_value(&patterns.0, name, &site.path);
        let r = pattern(&c.rank_pattern, "rank_pattern")?.map_or(c.r, |r| r as usize);
        let alpha = pattern(&c.alpha_pattern, "alpha_pattern")?.unwrap_or(c.alpha as f64);
        let kernel = site.kernel();
        let (in1, in2) = factorization(kernel.map_or(site.inputs, |_| site.shape[1]), c.decompose_factor);
        let (out1, out2) = factorization(site.outputs, c.decompose_factor);
        let small = |a: usize, b: usize| 2 * r < a.max(b);
        let start = |init: &mut Init, zero: bool, shape: &[usize]| {
            if zero {
                init.constant(shape, 0.)
            } else {
                init.kaiming(shape)
            }
        };
        let zero = c.init_weights == Start::Left;
        let w1 = if c.decompose_both && small(out1, in1) {
            let a = start(init, zero, &[out1, r])?;
            Side::Factored(Factored { a, b: init.kaiming(&[r, in1])?, core: None })
        } else {
            Side::Whole(start(init, zero, &[out1, in1])?)
        };
        let zero = c.init_weights == Start::Right;
        let w2 = if small(out2, in2) {
            let core = kernel.filter(|k| c.use_effective_conv2d && k.iter().any(|&size| size != 1));
            let taps = kernel.map_or(1, |k| k.iter().product());
            let (shape_a, shape_b) = if core.is_some() { ([r, out2], [r, in2]) } else { ([out2, r], [r, in2 * taps]) };
            let a = init.kaiming(&shape_a)?;
            let b = start(init, zero, &shape_b)?;
            let core = core.map(|kernel| init.kaiming(&core_shape(r, kernel))).transpose()?;
            Side::Factored(Factored { a, b, core })
        } else {
            let shape = [&[out2, in2], kernel.unwrap_or_default()].concat();
            Side::Whole(start(init, zero, &shape)?)
        };
        let dropouts = Dropouts { rank: c.rank_dropout.0, scale: c.rank_dropout_scale, module: c.module_dropout.0 };
        Ok(Self { w1, w2, scaling: alpha / r as f64, dropouts })
    }
}

impl LayerAdapter for LoKr {
    const GROUPS: &'static [&'static str] =
        &["lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"];

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = self.w1.parts("lokr_w1", "lokr_w1_a", "lokr_w1_b");
        parts.extend(self.w2.parts("lokr_w2", "lokr_w2_a", "lokr_w2_b"));
        if let Side::Factored(Factored { core: Some(t), .. }) = &self.w2 {
            parts.push(Part::trained("lokr_t2", t));
        }
        parts
    }

    fn delta(&self, call: &Call<'_>) -> Result<Option<Tensor>> {
        let (w1, w2) = (self.w1.matrix(call)?.affine(self.scaling, 0.)?, self.w2.matrix(call)?);
        let (out1, in1, out2, in2) = (w1.dim(0), w1.dim(1), w2.dim(0), w2.dim(1));
        let delta = match (call.site.kernel(), &self.w2) {
            // torch.kron takes `[out, in, kernel]` for matrices `[in, kernel]`, so that Python's outputs and inputs come in another order.
            (Some(&[k]), Side::Whole(_)) => {
                let w2 = w2.reshape((out2, 1, in2 / k.max(1), 1, k))?;
                w1.reshape((1, out1, 1, in1, 1))?.mul(&w2)?
            }
            _ => w1.reshape((out1, 1, in1, 1))?.mul(&w2.reshape((1, out2, 1, in2))?)?,
        };
        let delta = delta.reshape((out1 * out2, in1 * in2))?;
        match self.dropouts.outputs(call, &delta)? {
            Some(mask) => delta.mul(&mask.unsqueeze(1)?).map(Some),
            None => Ok(Some(delta)),
        }
    }

    fn product(&self, call: &Call<'_>, x: &Input) -> Result<Option<Tensor>> {
        if self.dropouts.skip(call) {
            return Ok(None);
        }
        let (Input::Tensor(x), None) = (x, call.site.convolution()) else {
            return self.delta(call)?.map(|delta| call.times(x, &delta)).transpose();
        };
        let (w1, w2) = (self.w1.matrix(call)?.affine(self.scaling, 0.)?, self.w2.factors(call)?);
        let y = kronecker_product(&x.to_dtype(w1.dtype())?, &w1, &w2.iter().collect::<Vec<_>>())?;
        match self.dropouts.outputs(call, &y)? {
            Some(mask) => y.mul(&mask).map(Some),
            None => Ok(Some(y)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::factorization;

    #[test]
    fn sizes_are_split_as_in_python() {
        // peft.tuners.lokr.layer.factorization
        for (n, limit, expected) in [
            (256, -1, (16, 16)),
            (128, -1, (8, 16)),
            (127, -1, (1, 127)),
            (128, 4, (4, 32)),
            (128, 64, (64, 2)),
            (160, 7, (5, 32)),
            (64, 0, (1, 64)),
            (64, -2, (1, 64)),
        ] {
            assert_eq!(factorization(n, limit), expected, "{n} {limit}");
        }
    }
}
