//! A mutator for runs without a fuzzer: the same inputs from the same seed, on every machine.

use crate::WORDS;

/// Makes files out of files.
pub struct Mutator {
    state: u64,
    pool: Vec<Vec<u8>>,
}

/// No file grows beyond it.
const MOST: usize = 1 << 14;

impl Mutator {
    pub fn new(pool: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { state: seed | 1, pool }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        from..(from + self.below(32)).min(length)
    }

    /// One more file: some of the pool's with a few changes.
    pub fn make(&mut self) -> Vec<u8> {
        let at = self.below(self.pool.len());
        let mut file = self.pool[at].clone();
        for _ in 0..=self.below(5) {
            self.change(&mut file);
        }
        file.truncate(MOST);
        // Some of what was made is changed again, so that changes add up.
        if self.below(64) == 0 && self.pool.len() < 256 {
            self.pool.push(file.clone());
        }
        file
    }

    fn change(&mut self, file: &mut Vec<u8>) {
        let at = self.below(file.len() + 1);
        match self.below(7) {
            0 if at < file.len() => file[at] ^= 1 << self.below(8),
            1 if at < file.len() => file[at] = self.next() as u8,
            2 => {
                let word = WORDS[self.below(WORDS.len())];
                file.splice(at..at, word.iter().copied());
            }
            3 => {
                let part = self.part(file.len());
                let word = WORDS[self.below(WORDS.len())];
                file.splice(part, word.iter().copied());
            }
            4 => {
                let part = self.part(file.len());
                file.drain(part);
            }
            5 => {
                let part = self.part(file.len());
                let copy = file[part].repeat(1 + self.below(4));
                file.splice(at..at, copy);
            }
            _ => {
                let other = self.below(self.pool.len());
                let part = self.part(self.pool[other].len());
                let copy = self.pool[other][part].to_vec();
                file.splice(at..at, copy);
            }
        }
    }
}
