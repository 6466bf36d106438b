//! Choosing samples at random, the same ones for the same seed on every machine.

use std::collections::HashSet;

/// The SplitMix64 generator (Steele, Lea, Flood 2014): 64 bits of state, equidistributed, the same on every machine.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, each equally likely (multiply and shift with rejection: Lemire 2019).
    ///
    /// # Panics
    /// When `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        assert!(limit > 0, "there is no number below 0");
        let limit = limit as u64;
        let rejected = limit.wrapping_neg() % limit;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(limit);
            if product as u64 >= rejected {
                return (product >> 64) as usize;
            }
        }
    }

    /// Brings `values` into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

/// `count` different numbers below `total` in random order; all of them when `count` is `total` or more (so the
/// length of the result tells). Memory is proportional to `count` (Floyd's algorithm: Bentley and Floyd 1987).
pub fn sample_indices(total: usize, count: usize, seed: u64) -> Vec<usize> {
    let count = count.min(total);
    let mut random = SplitMix64::new(seed);
    let mut chosen = HashSet::with_capacity(count);
    let mut indices = Vec::with_capacity(count);
    for last in total - count..total {
        let candidate = random.below(last + 1);
        let index = if chosen.insert(candidate) { candidate } else { last };
        chosen.insert(index);
        indices.push(index);
    }
    random.shuffle(&mut indices);
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_numbers() {
        // From the reference implementation in C (https://prng.di.unimi.it/splitmix64.c), seed 1234567.
        let mut random = SplitMix64::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(
            [random.next_u64(), random.next_u64(), random.next_u64()],
            expected
        );
    }

    #[test]
    fn samples_are_different_and_stable() {
        for (total, count) in [
            (0, 0),
            (0, 5),
            (1, 1),
            (10, 3),
            (10, 10),
            (10, 99),
            (100_000, 512),
        ] {
            let indices = sample_indices(total, count, 0);
            assert_eq!(indices.len(), count.min(total), "{count} of {total}");
            assert!(indices.iter().all(|&index| index < total));
            assert_eq!(indices.iter().collect::<HashSet<_>>().len(), indices.len());
            assert_eq!(indices, sample_indices(total, count, 0));
        }
        assert_ne!(sample_indices(1000, 10, 0), sample_indices(1000, 10, 1));
        // Fixed for ever: results depend on them.
        assert_eq!(sample_indices(20_000, 5, 0), [2126, 19416, 528, 17662, 8629]);
    }

    #[test]
    fn every_index_is_equally_likely() {
        let mut counts = [0u32; 20];
        for seed in 0..4000 {
            for index in sample_indices(20, 5, seed) {
                counts[index] += 1;
            }
        }
        // 1,000 expected each, standard deviation 27.
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }
}
