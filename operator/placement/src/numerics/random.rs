//! Seeded sequences of numbers, so that a seed means the same everywhere and for ever.
//!
//! [`SplitMix64`] is what anything new uses. [`Mmix`] is for what has always drawn from it: the annealer, whose plans would
//! change, and the instances and loads by which published figures are named.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): one add and three mixes a number, full period 2^64.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`, or 0 when the bound is 0. The bias of the multiply-shift is below 2^-32 for any list that fits in memory.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Fisher–Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Knuth's MMIX linear congruential generator: one multiplication and one addition a number.
#[derive(Debug, Clone)]
pub struct Mmix(u64);

impl Mmix {
    /// Starts from a state.
    pub fn new(state: u64) -> Self {
        Self(state)
    }

    /// The next 32 random bits: the upper half of the state.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    /// A number in `0..bound`, or 0 when the bound is 0, by multiply-shift.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u64::from(self.next_u32()) * (bound as u64);
        usize::try_from(wide >> 32).unwrap_or(0)
    }

    /// The remainder of 31 random bits by a bound, or 0 when the bound is 0.
    #[inline]
    pub fn remainder(&mut self, bound: u64) -> u64 {
        u64::from(self.next_u32() >> 1) % bound.max(1)
    }

    /// Exponentially distributed with mean 1477 = 1024 / ln 2: the binary logarithm of a uniform number, to 1/1024, by its
    /// leading zeros and a straight line between powers of two.
    #[inline]
    pub fn exponential(&mut self) -> i128 {
        let bits = self.next_u32() | 1;
        let zeros = bits.leading_zeros();
        let mantissa = (bits << zeros) >> 21 & 1023;
        i128::from(zeros + 1) * 1024 - i128::from(mantissa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_order_and_seeds_differ() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..50).collect();
            SplitMix64::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(order(42), order(42));
        assert_ne!(order(42), order(43));
        let mut sorted = order(42);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn sequences_are_those_that_were_published() {
        // The first number that SplitMix64's reference implementation gives for the seed 0.
        assert_eq!(SplitMix64::new(0).next_u64(), 0xE220_A839_7B1D_CDAF);
        // From 0 the first state of MMIX is its increment.
        assert_eq!(Mmix::new(0).next_u32(), 335_903_614);
    }
}
