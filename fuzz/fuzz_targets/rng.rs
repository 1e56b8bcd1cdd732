//! Bytes in place of randomness, with the face of the tests' own stream of random numbers: each small choice takes one
//! byte, so that to change a byte is to change one choice. What is to be unique (an id) does not come from the bytes,
//! and when they are used up, the numbers go on at random, for the healing.

/// A stream of choices.
pub(crate) struct Rng {
    bytes: Vec<u8>,
    at: usize,
    state: u64,
}

impl Rng {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0, state: 0x5ca1_ab1e }
    }

    /// What the tests call with a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { bytes: Vec::new(), at: 0, state: seed }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// SplitMix64 (Steele, Lea, Flood, 2014): no two of its numbers are equal.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        match bound {
            1 => 0,
            2..=256 => self.byte() % bound,
            _ => (self.byte() << 8 | self.byte()) % bound,
        }
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        percent > 0 && self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn byte(&mut self) -> usize {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                byte.into()
            }
            None => usize::from(self.next().to_le_bytes()[0]),
        }
    }
}
