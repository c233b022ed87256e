//! MT19937, which PyTorch, NumPy and Python share.

/// Words of state; this many are made at a time.
const N: usize = 624;
/// Distance of the word that the recurrence mixes in.
const M: usize = 397;

/// The Mersenne Twister of 32 bits.
///
/// Matsumoto and Nishimura 1998, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number
/// generator".
#[derive(Clone)]
pub struct Twister {
    state: [u32; N],
    /// `state`, tempered: what is given out.
    words: [u32; N],
    /// How many of `words` have been given out.
    used: usize,
}

impl Twister {
    /// `init_genrand`.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let last = state[i - 1];
            state[i] = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, words: [0; N], used: N }
    }

    #[inline]
    pub fn word(&mut self) -> u32 {
        if self.used == N {
            self.twist();
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Passes over `count` words.
    pub fn skip(&mut self, mut count: usize) {
        while count > N - self.used {
            count -= N - self.used;
            self.twist();
        }
        self.used += count;
    }

    fn twist(&mut self) {
        let s = &mut self.state;
        for i in 0..N - M {
            s[i] = s[i + M] ^ mixed(s[i], s[i + 1]);
        }
        for i in N - M..N - 1 {
            s[i] = s[i + M - N] ^ mixed(s[i], s[i + 1]);
        }
        s[N - 1] = s[M - 1] ^ mixed(s[N - 1], s[0]);
        for (word, &s) in self.words.iter_mut().zip(&*s) {
            let y = s ^ (s >> 11);
            let y = y ^ (y << 7) & 0x9d2c_5680;
            let y = y ^ (y << 15) & 0xefc6_0000;
            *word = y ^ (y >> 18);
        }
        self.used = 0;
    }
}

/// The upper bit of `a` and the lower bits of `b`, times the twist matrix.
#[inline(always)]
fn mixed(a: u32, b: u32) -> u32 {
    (a & 0x8000_0000 | b & 0x7fff_ffff) >> 1 ^ (b & 1).wrapping_neg() & 0x9908_b0df
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_thousandth_word_is_the_one_that_the_cpp_standard_states() {
        let mut words = Twister::new(5489); // std::mt19937, [rand.predef]
        words.skip(9_999);
        assert_eq!(words.word(), 4_123_659_995);
    }

    #[test]
    fn skipping_is_drawing_and_forgetting() {
        for count in [0, 1, 623, 624, 625, 1248, 3000] {
            let (mut skipped, mut drawn) = (Twister::new(3), Twister::new(3));
            skipped.word();
            skipped.skip(count);
            for _ in 0..=count {
                drawn.word();
            }
            assert_eq!(skipped.word(), drawn.word(), "after {count}");
        }
    }
}
