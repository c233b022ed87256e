//! How likely the model took tokens to be.

/// The log-probability of a chosen token, and of the most likely ones.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    pub token: i64,
    pub logprob: f64,
    /// The most likely first.
    pub top: Vec<(i64, f64)>,
}

impl TokenLogprob {
    /// `total` and `top` are those of the logits.
    pub(super) fn new(token: usize, logits: &[f32], total: f64, top: Vec<usize>) -> Self {
        let of = |at: usize| f64::from(logits[at]) - total;
        Self { token: token as i64, logprob: of(token), top: top.into_iter().map(|at| (at as i64, of(at))).collect() }
    }
}

/// `log Σ exp`
pub(super) fn normaliser(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + logits.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln()
}

/// The places of the `count` largest, the largest first and the first of equal ones before others.
pub(super) fn top(logits: &[f32], count: usize) -> Vec<usize> {
    let order = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    let mut places: Vec<usize> = (0..logits.len()).collect();
    let count = count.min(places.len());
    if count > 0 && count < places.len() {
        places.select_nth_unstable_by(count - 1, order);
    }
    places.truncate(count);
    places.sort_unstable_by(order);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_the_most_likely_come_first() {
        let logits = [0.5f32, 2., -1., 2., 0.];
        let total = normaliser(&logits);
        let told = TokenLogprob::new(0, &logits, total, top(&logits, 3));
        assert_eq!(told.top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 3, 0]);
        assert_eq!(told.logprob, told.top[2].1);
        let all = TokenLogprob::new(0, &logits, total, top(&logits, 9));
        assert_eq!(all.top.len(), 5);
        assert!((all.top.iter().map(|t| t.1.exp()).sum::<f64>() - 1.).abs() < 1e-12);
        // torch.log_softmax
        assert!((told.logprob - -2.378_901_481_628_418).abs() < 1e-6, "{}", told.logprob);
    }
}
