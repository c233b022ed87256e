//! One token out of a distribution.

use crate::init::Rng;

/// How a token is drawn. transformers' warpers in their order: temperature, top-k, top-p, min-p.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f64,
    /// Only so many of the most likely tokens, and those as likely as the last of them.
    pub top_k: Option<usize>,
    /// Only the most likely tokens that together have this share of what is left. Holtzman et al. 2019 (arXiv 1904.09751).
    pub top_p: Option<f64>,
    /// Only tokens with this share of the most likely one's probability. Nguyen et al. 2024 (arXiv 2407.01082).
    pub min_p: Option<f64>,
}

impl Sampling {
    pub(super) fn choose(&self, logits: &[f32], rng: &mut Rng) -> usize {
        if self.temperature <= 0. {
            return argmax(logits);
        }
        let weights = self.weights(logits);
        let mut at = rng.uniform() * weights.iter().map(|(_, w)| w).sum::<f64>();
        for &(token, weight) in &weights {
            at -= weight;
            if at <= 0. {
                return token;
            }
        }
        weights.last().map_or(0, |&(token, _)| token)
    }

    /// The tokens that may be drawn, each with its probability over the most likely one's.
    fn weights(&self, logits: &[f32]) -> Vec<(usize, f64)> {
        let most = f64::from(logits[argmax(logits)]);
        let weight = |at: usize| (at, ((f64::from(logits[at]) - most) / self.temperature).exp());
        let mut weights: Vec<(usize, f64)> = match self.top_k.filter(|&k| k > 0 && k < logits.len()) {
            Some(k) => {
                let mut order: Vec<usize> = (0..logits.len()).collect();
                let (_, &mut least, _) = order.select_nth_unstable_by(k - 1, |&a, &b| logits[b].total_cmp(&logits[a]));
                (0..logits.len()).filter(|&at| logits[at] >= logits[least]).map(weight).collect()
            }
            None => (0..logits.len()).map(weight).collect(),
        };
        if let Some(p) = self.top_p.filter(|&p| p < 1.) {
            weights.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let total: f64 = weights.iter().map(|(_, w)| w).sum();
            let mut sum = 0.;
            let kept = weights.iter().position(|(_, w)| {
                sum += w / total;
                sum >= p
            });
            weights.truncate(kept.map_or(weights.len(), |at| at + 1));
        }
        if let Some(p) = self.min_p {
            weights.retain(|(_, w)| *w >= p);
        }
        weights
    }
}

/// The first of the largest values, as `torch.argmax` on the CPU gives it.
fn argmax(values: &[f32]) -> usize {
    values.iter().enumerate().fold(0, |best, (i, &v)| if v > values[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    // transformers 5.24: TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper and MinPLogitsWarper in this order, softmax.
    #[test]
    fn what_may_be_drawn_has_the_probabilities_of_transformers() {
        let logits = [0.5f32, 2., -1., 2., 0., 1.25, -0.5, 1.];
        let cases = [
            (1., 0, 1., 0., [0.0669943, 0.3002477, 0.0149485, 0.3002477, 0.0406341, 0.141827, 0.0246458, 0.110455]),
            (0.7, 0, 1., 0., [0.0419176, 0.3572958, 0.0049177, 0.3572958, 0.0205204, 0.1223806, 0.0100456, 0.0856263]),
            (1., 3, 1., 0., [0., 0.4044708, 0., 0.4044708, 0., 0.1910585, 0., 0.]),
            (1., 1, 1., 0., [0., 0.5, 0., 0.5, 0., 0., 0., 0.]),
            (1., 0, 0.7, 0., [0., 0.4044708, 0., 0.4044708, 0., 0.1910585, 0., 0.]),
            (0.7, 4, 0.8, 0., [0., 0.4268909, 0., 0.4268909, 0., 0.1462182, 0., 0.]),
            (1.3, 0, 1., 0.3, [0.0944258, 0.2993641, 0., 0.2993641, 0., 0.16813, 0., 0.1387161]),
            (1., 6, 0.95, 0.25, [0., 0.3520822, 0., 0.3520822, 0., 0.1663118, 0., 0.1295238]),
        ];
        for (temperature, k, p, min, expected) in cases {
            let sampling = Sampling { temperature, top_k: Some(k), top_p: Some(p), min_p: Some(min) };
            let weights = sampling.weights(&logits);
            let total: f64 = weights.iter().map(|(_, w)| w).sum();
            let mut found = [0.; 8];
            weights.iter().for_each(|&(at, w)| found[at] = w / total);
            for (f, e) in found.iter().zip(expected) {
                assert!((f - e).abs() < 1e-6 && (*f == 0.) == (e == 0.), "{sampling:?}: {found:?}");
            }
            let mut rng = Rng::new(3);
            let mut drawn = [0.; 8];
            (0..20_000).for_each(|_| drawn[sampling.choose(&logits, &mut rng)] += 1. / 20_000.);
            for (d, e) in drawn.iter().zip(expected) {
                assert!((d - e).abs() < 0.02 && (e > 0. || *d == 0.), "{sampling:?}: {drawn:?}");
            }
        }
        assert_eq!(Sampling::default().choose(&logits, &mut Rng::new(0)), 1);
    }
}
