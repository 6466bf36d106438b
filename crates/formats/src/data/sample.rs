//! Choosing samples at random, the same ones for the same seed on every machine.

use std::collections::HashSet;

use bantam_tensor::SplitMix64;

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
