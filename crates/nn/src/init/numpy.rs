//! `numpy.random.default_rng(seed)`: PCG64 behind a seed sequence, and the draws of it that formats depend on.
//!
//! O'Neill 2014 ("PCG: a family of simple fast space-efficient statistically good algorithms"); numpy 2.4.

/// A stream of random numbers.
pub struct Generator {
    state: u128,
    increment: u128,
    /// The high half of a word whose low half was given.
    half: Option<u32>,
}

/// From here on numpy shuffles the end of all numbers, where it wants more than a fiftieth of them.
const LARGE: usize = 10_000;

impl Generator {
    pub fn new(seed: u64) -> Self {
        let words = spread(seed);
        let [state, sequence] = [0, 2].map(|i| u128::from(words[i]) << 64 | u128::from(words[i + 1]));
        let mut new = Self { state: 0, increment: sequence << 1 | 1, half: None };
        new.step();
        new.state = new.state.wrapping_add(state);
        new.step();
        new
    }

    fn step(&mut self) {
        const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    fn u64(&mut self) -> u64 {
        self.step();
        ((self.state >> 64) as u64 ^ self.state as u64).rotate_right((self.state >> 122) as u32)
    }

    fn u32(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        let word = self.u64();
        self.half = Some((word >> 32) as u32);
        word as u32
    }

    /// A number in `0..=last`. Lemire 2019 (arXiv 1805.10941).
    fn up_to(&mut self, last: u64) -> u64 {
        if last == 0 {
            return 0;
        }
        let Ok(small) = u32::try_from(last) else {
            return self.wide_up_to(last);
        };
        let Some(count) = small.checked_add(1) else { return u64::from(self.u32()) };
        let least = (u32::MAX - small) % count;
        loop {
            let product = u64::from(self.u32()) * u64::from(count);
            if product as u32 >= least {
                return product >> 32;
            }
        }
    }

    fn wide_up_to(&mut self, last: u64) -> u64 {
        let Some(count) = last.checked_add(1) else { return self.u64() };
        let least = (u64::MAX - last) % count;
        loop {
            let product = u128::from(self.u64()) * u128::from(count);
            if product as u64 >= least {
                return (product >> 64) as u64;
            }
        }
    }

    /// Fisher and Yates, backwards down to place `first`.
    fn shuffle_from<T>(&mut self, values: &mut [T], first: usize) {
        for i in (first..values.len()).rev() {
            values.swap(i, self.up_to(i as u64) as usize);
        }
    }

    /// `rng.shuffle(values)` of an array of one dimension, which draws in another way than [`Generator::choice`].
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.masked_up_to(i as u64) as usize);
        }
    }

    /// A number in `0..=last`, from as many bits as that has, drawn anew while it is larger.
    fn masked_up_to(&mut self, last: u64) -> u64 {
        let mask = u64::MAX >> last.leading_zeros();
        loop {
            let word = if last <= u64::from(u32::MAX) { u64::from(self.u32()) } else { self.u64() };
            if word & mask <= last {
                return word & mask;
            }
        }
    }

    /// `rng.choice(n, size=count, replace=False)`; `count` is at most n.
    pub fn choice(&mut self, n: usize, count: usize) -> Vec<usize> {
        if n > LARGE && count > n / 50 {
            let mut all: Vec<usize> = (0..n).collect();
            self.shuffle_from(&mut all, (n - count).max(1));
            return all.split_off(n - count);
        }
        // Floyd's algorithm.
        let (mut taken, mut out) = (std::collections::HashSet::new(), Vec::with_capacity(count));
        for j in n - count..n {
            let drawn = self.up_to(j as u64) as usize;
            let value = if taken.contains(&drawn) { j } else { drawn };
            taken.insert(value);
            out.push(value);
        }
        self.shuffle_from(&mut out, 1);
        out
    }
}

/// Four words of a seed: `numpy.random.SeedSequence(seed).generate_state(4, numpy.uint64)`.
fn spread(seed: u64) -> [u64; 4] {
    let entropy = [seed as u32, (seed >> 32) as u32];
    let mut constant = 0x43b0_d7e5u32;
    let mut hashed = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(constant);
        value ^ value >> 16
    };
    let mut pool = [0u32; 4];
    for (i, place) in pool.iter_mut().enumerate() {
        *place = hashed(entropy.get(i).copied().unwrap_or(0));
    }
    for from in 0..4 {
        for to in (0..4).filter(|&to| to != from) {
            let mixed = pool[to].wrapping_mul(0xca01_f9dd).wrapping_sub(hashed(pool[from]).wrapping_mul(0x4973_f715));
            pool[to] = mixed ^ mixed >> 16;
        }
    }
    let mut constant = 0x8b51_f9ddu32;
    let mut next = |i: usize| {
        let value = pool[i % 4] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(constant);
        u64::from(value ^ value >> 16)
    };
    [0, 2, 4, 6].map(|i| next(i) | next(i + 1) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rng.choice(n, size=count, replace=False)[:6]`, then `rng.shuffle(np.arange(10))`.
    #[test]
    fn draws_are_numpy_s() {
        for (seed, n, count, chosen, shuffled) in [
            (0u64, 7, 3, vec![3, 6, 4], vec![8, 2, 7, 4, 5, 1, 0, 3, 6, 9]),
            (42u64, 256, 200, vec![123, 214, 241, 227, 188, 99], vec![0, 8, 9, 6, 2, 4, 5, 1, 3, 7]),
            (5u64, 40, 40, vec![28, 22, 30, 1, 18, 8], vec![8, 5, 2, 4, 9, 6, 7, 1, 3, 0]),
            (
                123456789012u64,
                20000,
                150,
                vec![15928, 17191, 13865, 13667, 7697, 11237],
                vec![3, 6, 8, 2, 1, 9, 0, 7, 5, 4],
            ),
            (9u64, 20000, 5000, vec![1607, 17197, 16557, 13725, 3035, 2074], vec![3, 7, 0, 6, 1, 9, 8, 4, 5, 2]),
            (
                18446744073709551615u64,
                10001,
                10001,
                vec![3182, 4425, 5672, 1281, 5116, 3689],
                vec![1, 9, 0, 8, 3, 6, 7, 4, 2, 5],
            ),
        ] {
            let mut g = Generator::new(seed);
            let found = g.choice(n, count);
            assert_eq!((found.len(), &found[..chosen.len()]), (count, &chosen[..]), "seed {seed}");
            let mut ten: Vec<usize> = (0..10).collect();
            g.shuffle(&mut ten);
            assert_eq!(ten, shuffled, "seed {seed}");
        }
    }
}
