//! A small seeded generator, so that every failure can be replayed from one number.

/// SplitMix64 (Steele, Lea, Flood 2014). Good enough to choose cuts. It must not be used for
/// secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates the generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`, or 0 if `n` is 0.
    pub const fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.bits() % n as u64) as usize }
    }

    /// Returns a number from `low` to `high`, both included.
    pub const fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Returns `true` with a probability of `n` percent.
    pub const fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }

    /// Returns a text of `chars` characters of one to four bytes each.
    pub fn text(&mut self, chars: usize) -> String {
        const SOME: [char; 12] =
            ['a', 'Z', '0', '\n', '\0', 'é', 'ß', '\u{7ff}', '中', '\u{ffff}', '🦀', '\u{10ffff}'];
        // Half of the texts are ASCII, because the code has a path of its own for them.
        let kinds = if self.percent(50) { 5 } else { SOME.len() };
        (0..chars).map(|_| SOME[self.below(kinds)]).collect()
    }
}
