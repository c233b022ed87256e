//! Clusters of rows.

use crate::init::torch::Generator;
use crate::tensor::Array;
use crate::{Error, Result};
use candle_core::{DType, Device};

/// Where changes of the centres are this much of the variance, they are found.
const TOLERANCE: f64 = 1e-4;

/// The cluster of each row of `x [n, d]`: Lloyd's algorithm from `k` random rows, as scikit-learn's `KMeans(k, init='random',
/// n_init=1, max_iter=iterations, random_state=seed)` gives them, in f64.
pub fn kmeans(x: &Array, k: usize, iterations: usize, seed: u32) -> Result<Vec<usize>> {
    let (n, d) = x.dims2()?;
    if k == 0 || k > n {
        return Err(Error::Argument(format!("{k} clusters of {n} rows")));
    }
    let mut x: Vec<f64> = x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let mut variance = 0.;
    for j in 0..d {
        let mean = (0..n).map(|i| x[i * d + j]).sum::<f64>() / n as f64;
        (0..n).for_each(|i| x[i * d + j] -= mean);
        variance += (0..n).map(|i| x[i * d + j].powi(2)).sum::<f64>() / n as f64;
    }
    let tolerance = TOLERANCE * variance / d.max(1) as f64;
    let row = |i: usize| &x[i * d..(i + 1) * d];
    let mut centres: Vec<Vec<f64>> = choose(n, k, seed).into_iter().map(|i| row(i).to_vec()).collect();
    let nearest = |centres: &[Vec<f64>]| -> Vec<usize> {
        let one = |i: usize| {
            let distances = centres.iter().map(|c| distance(row(i), c));
            distances.enumerate().fold((0, f64::INFINITY), |best, (c, d)| if d < best.1 { (c, d) } else { best }).0
        };
        (0..n).map(one).collect()
    };
    let mut labels = Vec::new();
    for _ in 0..iterations {
        let found = nearest(&centres);
        let mut sums = vec![(vec![0.; d], 0f64); k];
        for (i, &c) in found.iter().enumerate() {
            sums[c].0.iter_mut().zip(row(i)).for_each(|(s, x)| *s += x);
            sums[c].1 += 1.;
        }
        // A cluster without rows gets the row that is farthest from its centre.
        let empty: Vec<usize> = (0..k).filter(|&c| sums[c].1 == 0.).collect();
        let mut far: Vec<usize> = (0..n).collect();
        far.sort_by(|&a, &b| distance(row(b), &centres[found[b]]).total_cmp(&distance(row(a), &centres[found[a]])));
        for (&to, &i) in empty.iter().zip(&far) {
            let from = &mut sums[found[i]];
            from.0.iter_mut().zip(row(i)).for_each(|(s, x)| *s -= x);
            from.1 -= 1.;
            sums[to] = (row(i).to_vec(), 1.);
        }
        let mut shift = 0.;
        for (centre, (sum, weight)) in centres.iter_mut().zip(sums) {
            if weight > 0. {
                let moved: Vec<f64> = sum.iter().map(|s| s / weight).collect();
                shift += distance(centre, &moved);
                *centre = moved;
            }
        }
        if found == labels {
            return Ok(labels);
        }
        labels = found;
        if shift <= tolerance {
            break;
        }
    }
    Ok(nearest(&centres))
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// `numpy.random.RandomState(seed).choice(n, k, replace=False, p)` with equal probabilities.
fn choose(n: usize, k: usize, seed: u32) -> Vec<usize> {
    let mut words = Generator::new(u64::from(seed));
    let mut weights = vec![f64::from(1. / n as f32); n];
    let mut found: Vec<usize> = Vec::with_capacity(k);
    while found.len() < k {
        let drawn: Vec<f64> = (found.len()..k)
            .map(|_| {
                let (high, low) = (f64::from(words.u32() >> 5), f64::from(words.u32() >> 6));
                (high * 67_108_864. + low) / 9_007_199_254_740_992.
            })
            .collect();
        found.iter().for_each(|&i| weights[i] = 0.);
        let mut sum = 0.;
        let cumulated: Vec<f64> = weights
            .iter()
            .map(|w| {
                sum += w;
                sum
            })
            .collect();
        for x in drawn {
            let at = cumulated.partition_point(|c| *c / sum <= x);
            if !found.contains(&at) {
                found.push(at);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_as_in_numpy() {
        // numpy.random.RandomState(123456789).choice(n, k, replace=False, p=np.full(n, np.float32(1) / np.float32(n)))
        assert_eq!(choose(64, 5, 123_456_789), [34, 32, 45, 16, 49]);
        assert_eq!(choose(6, 6, 123_456_789), [3, 4, 1, 5, 0, 2]);
    }

    #[test]
    fn rows_that_lie_together_are_a_cluster() {
        let x = Array::new(&[[0f64, 0.], [5., 5.], [0.1, 0.], [5., 5.1], [0., 0.1]], &Device::Cpu).unwrap();
        let labels = kmeans(&x, 2, 10, 1).unwrap();
        assert_eq!([labels[0], labels[1]], [labels[2], labels[3]]);
        assert!(labels[0] == labels[4] && labels[0] != labels[1]);
        assert!(matches!(kmeans(&x, 6, 10, 1), Err(Error::Argument(_))));
    }
}
