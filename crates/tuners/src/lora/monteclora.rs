//! MonteCLoRA: training with samples around A, whose spread is learned.
//!
//! Sengupta et al. 2024 (arXiv 2411.04358); PEFT's `MontecloraSampler`. `A' = A + Σ wₖ Nₖ`: the columns of each `Nₖ` are normal with
//! variances `exp(2 s) χ²` (the diagonal of a Wishart variable), the weights a softmax of normal logits (Laplace's approximation of
//! a Dirichlet variable).

use crate::init::Init;
use candle_core::{DType, Device};
use swift_tuners_nn::init::Rng;
use swift_tuners_nn::module::Value;
use swift_tuners_nn::{AdapterId, Array, Context, Param, Result, Tensor};

crate::object! {
    /// How A is sampled while training.
    pub struct MontecloraConfig {
        /// Samples in each pass.
        num_samples: usize = 8, in 1..;
        /// Whether the squares of the samples' weights are a part of the penalty.
        use_entropy: bool = false;
        /// Concentration of the weights' prior.
        dirichlet_prior: f64 = 0.1, in f64::MIN_POSITIVE..;
        /// Multiplies the samples.
        sample_scaler: f64 = 1e-4;
        /// Multiplies the divergence from the priors in the penalty.
        kl_loss_weight: f64 = 1e-5;
        /// Samples that Python draws in advance; here they are drawn when they are needed.
        buffer_size: usize = 150, in 1..;
    }
}

/// The smallest variance, and the smallest concentration.
const VARIANCE: f64 = 1e-3;
const CONCENTRATION: f64 = 1e-6;

#[derive(Clone)]
pub struct Sampler {
    /// Logarithms of the deviations, `[r]`.
    pub std_prior: Param,
    /// Logarithms of the concentrations, `[samples]`.
    pub expert_weights_prior: Param,
    /// What Python notes of its last pass: variances `[r, r]` and weights `[samples]`.
    pub gaussian_var_prior: Param,
    pub expert_weights: Param,
    config: MontecloraConfig,
    /// Which adapter and which of its layers this is, and how many those are.
    pub place: Option<(AdapterId, usize, usize)>,
}

impl Sampler {
    pub fn new(c: &MontecloraConfig, r: usize, init: &mut Init) -> Result<Self> {
        let k = c.num_samples;
        let std_prior = init.param(&[r], move |g| g.rand(&[r]))?;
        let expert_weights_prior = init.param(&[k], move |g| g.rand(&[k]))?;
        let gaussian_var_prior = init.derived(&[r, r], move || Ok(Array::eye(r, DType::F32, &Device::Cpu)?))?;
        let fixed =
            |x: Array| -> Result<Param> { Ok(Param::new(x.to_dtype(init.dtype)?.to_device(&init.device)?, false)) };
        Ok(Self {
            std_prior,
            expert_weights_prior,
            gaussian_var_prior,
            expert_weights: fixed(Array::full(1f32 / k as f32, k, &Device::Cpu)?)?,
            config: c.clone(),
            place: None,
        })
    }

    /// A of a training pass. Keeps variances and weights for [`Sampler::penalty`].
    pub fn sampled(&self, cx: &Context, a: &Tensor) -> Result<Tensor> {
        let mut rng = Rng::new(cx.next_seed());
        let (r, inputs, k) = (a.dim(0), a.last_dim(), self.config.num_samples);
        let normals = rng.normal_array(&[k, inputs * r], 1., a.dtype(), a.device())?;
        // The diagonal of a Wishart variable of r degrees of freedom with unit scale.
        let chi: Vec<f64> = (0..r).map(|_| (0..r).map(|_| rng.normal().powi(2)).sum()).collect();
        let chi = Array::from_vec(chi, r, &Device::Cpu)?.to_dtype(a.dtype())?.to_device(a.device())?;
        let logits = rng.normal_array(&[k], 1., a.dtype(), a.device())?;
        let variances = self.variances(cx, &chi)?;
        let weights = self.weights(cx, &logits)?;
        if let Some((id, place, _)) = self.place {
            cx.put_tap(id, place, Value::Tuple(vec![variances.clone().into(), weights.clone().into()]));
        }
        let mixed = weights.reshape((1, k))?.matmul(&normals.into())?.reshape((inputs, r))?;
        let noise = mixed.mul(&variances.sqrt()?)?.affine(self.config.sample_scaler, 0.)?;
        a.add(&noise.transpose(0, 1)?.contiguous()?)
    }

    /// `max(exp(2 s) χ², 1e-3)`, `[r]`.
    fn variances(&self, cx: &Context, chi: &Array) -> Result<Tensor> {
        let scaled = self.std_prior.value(cx.grad)?.affine(2., 0.)?.exp()?.mul(&chi.clone().into())?;
        at_least(&scaled, VARIANCE)
    }

    /// Of the samples, `[samples]`.
    fn weights(&self, cx: &Context, normals: &Array) -> Result<Tensor> {
        let k = self.config.num_samples as f64;
        let alpha = at_least(&self.expert_weights_prior.value(cx.grad)?.exp()?, CONCENTRATION)?;
        let log = alpha.log()?;
        let mean = log.sub(&log.mean(None, false)?)?;
        let inverse = alpha.affine(0., 1.)?.div(&alpha)?;
        let spread = inverse.affine(1. - 2. / k, 0.)?.add(&inverse.sum(None, false)?.affine(1. / (k * k), 0.)?)?;
        let spread = at_least(&spread, CONCENTRATION)?.affine(1., CONCENTRATION)?.sqrt()?;
        spread.mul(&normals.clone().into())?.add(&mean)?.softmax(-1)
    }

    /// This layer's part of the divergence from the priors and of the weights' squares, after a training pass.
    pub fn penalty(&self, cx: &Context) -> Result<Option<Tensor>> {
        let Some((id, place, layers)) = self.place.filter(|_| cx.training) else { return Ok(None) };
        let Some(Value::Tuple(kept)) = cx.tap(id, place) else { return Ok(None) };
        let [Value::Tensor(variances), Value::Tensor(weights)] = &kept[..] else { return Ok(None) };
        let c = &self.config;
        let (r, k) = (self.std_prior.numel() as f64, c.num_samples as f64);
        let std = self.std_prior.value(cx.grad)?;
        let squares = std.affine(2., 0.)?.exp()?.sum(None, false)?;
        let wishart = squares.sub(&std.sum(None, false)?.affine(2., 0.)?)?.affine(0.5 * r, -0.5 * r * r)?;
        let variances = at_least(variances, CONCENTRATION)?;
        let normal = variances.sub(&variances.log()?)?.sum(None, false)?.affine(0.5 * k, -0.5 * k * r)?;
        let dirichlet = dirichlet(&self.expert_weights_prior.value(cx.grad)?, c.dirichlet_prior)?;
        let mut sum = wishart.add(&normal)?.add(&dirichlet)?.affine(c.kl_loss_weight, 0.)?;
        if c.use_entropy {
            sum = sum.add(&weights.sqr()?.sum(None, false)?)?;
        }
        sum.affine(1. / layers as f64, 0.).map(Some)
    }
}

/// `max(x, least)`, whose gradient is zero below.
fn at_least(x: &Tensor, least: f64) -> Result<Tensor> {
    x.affine(1., -least)?.relu()?.affine(1., least)
}

/// PEFT's divergence of the weights' concentrations `exp(x)` from the prior's, all of them `prior`.
fn dirichlet(x: &Tensor, prior: f64) -> Result<Tensor> {
    let logs: Vec<f64> = x.data().to_dtype(DType::F64)?.to_device(&Device::Cpu)?.to_vec1()?;
    let alpha: Vec<f64> = logs.iter().map(|v| v.exp()).collect();
    let (n, total) = (alpha.len() as f64, alpha.iter().sum::<f64>());
    let mut value = ln_gamma(total) - ln_gamma(prior * n);
    let mut slopes = Vec::with_capacity(alpha.len());
    let away: f64 = alpha.iter().map(|a| a - prior).sum();
    for &a in &alpha {
        value += ln_gamma(a) - ln_gamma(prior) + (a - prior) * (digamma(a) - digamma(total));
        slopes.push((2. * digamma(a) + (a - prior) * trigamma(a) - away * trigamma(total)) * a);
    }
    let array = |values: Vec<f64>| -> Result<Array> {
        let n = values.len();
        Ok(Array::from_vec(values, n, &Device::Cpu)?.to_dtype(x.dtype())?.to_device(x.device())?)
    };
    let slopes = array(slopes)?;
    let value = array(vec![value])?.squeeze(0)?;
    Ok(Tensor::from_op(value, &[x], move |g| Ok(vec![Some(slopes.broadcast_mul(g)?)])))
}

/// Stirling's series for the logarithm of the gamma function, from 10 on; below by its recurrence.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.;
    while x < 10. {
        shift += x.ln();
        x += 1.;
    }
    let i = 1. / (x * x);
    let series = (1. / 12. - i * (1. / 360. - i * (1. / 1260. - i / 1680.))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

fn digamma(mut x: f64) -> f64 {
    let mut shift = 0.;
    while x < 10. {
        shift += 1. / x;
        x += 1.;
    }
    let i = 1. / (x * x);
    x.ln() - 0.5 / x - i * (1. / 12. - i * (1. / 120. - i * (1. / 252. - i / 240.))) - shift
}

fn trigamma(mut x: f64) -> f64 {
    let mut shift = 0.;
    while x < 10. {
        shift += 1. / (x * x);
        x += 1.;
    }
    let i = 1. / (x * x);
    1. / x + 0.5 * i + i / x * (1. / 6. - i * (1. / 30. - i * (1. / 42. - i / 30.))) + shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_and_its_derivatives() {
        for (x, ln, psi, tri) in [
            (1., 0., -0.577_215_664_901_532_9, 1.644_934_066_848_226_4),
            (0.1, 2.252_712_651_734_206, -10.423_754_940_411_076, 101.433_299_150_792_75),
            (7.5, 7.534_364_236_758_733, 1.946_757_484_246_086_9, 0.142_615_896_7),
        ] {
            assert!((ln_gamma(x) - ln).abs() < 1e-10, "{x}");
            assert!((digamma(x) - psi).abs() < 1e-8, "{x} {}", digamma(x));
            assert!((trigamma(x) - tri).abs() < 1e-8, "{x} {}", trigamma(x));
        }
    }

    /// PEFT 0.21's sampler in f64 with these variables in place of random ones; the weights' gradient goes through a softmax.
    #[test]
    fn samples_and_penalty_are_those_of_peft() -> Result<()> {
        let array = |x: &[f64]| Array::new(x, &Device::Cpu);
        let close = |found: &Array, expected: &[f64]| {
            let found = found.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            found.iter().zip(expected).for_each(|(f, e)| assert!((f - e).abs() < 1e-8, "{found:?} for {expected:?}"));
        };
        let config = MontecloraConfig {
            num_samples: 3,
            use_entropy: true,
            dirichlet_prior: 0.2,
            kl_loss_weight: 0.01,
            ..MontecloraConfig::default()
        };
        let id = AdapterId(1);
        let sampler = Sampler {
            std_prior: Param::new(array(&[f64::from(0.3f32), f64::from(-0.4f32)])?, true),
            expert_weights_prior: Param::new(array(&[f64::from(0.1f32), f64::from(0.7f32), -0.5])?, true),
            gaussian_var_prior: Param::new(Array::eye(2, DType::F64, &Device::Cpu)?, false),
            expert_weights: Param::new(array(&[1. / 3.; 3])?, false),
            config,
            place: Some((id, 0, 1)),
        };
        let cx = Context { training: true, ..Context::default() };
        let variances = sampler.variances(&cx, &array(&[1.5, 0.8])?)?;
        let weights = sampler.weights(&cx, &array(&[0.4, -1.1, 0.6])?)?;
        close(variances.data(), &[2.7331782657498103, 0.3594631670086423]);
        close(weights.data(), &[0.433433125295398, 0.2625257005244305, 0.3040411741801714]);
        cx.put_tap(id, 0, Value::Tuple(vec![variances.into(), weights.into()]));
        let penalty = sampler.penalty(&cx)?.expect("a training pass");
        close(penalty.data(), &[0.3000573468503542]);
        penalty.backward()?;
        close(&sampler.std_prior.grad().unwrap(), &[0.06843772484915846, -0.03022952581452467]);
        let expected = [0.0574096664442907, -0.03244966424636034, -0.046294115467287525];
        close(&sampler.expert_weights_prior.grad().unwrap(), &expected);
        Ok(())
    }
}
