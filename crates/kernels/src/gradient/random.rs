//! Random choices that depend on a seed, a step and a position alone.

use crate::chunks::for_chunks;
use crate::real::Real;

/// A well-mixed number (the finalizer of SplitMix64, Steele et al. 2014).
fn mixed(mut state: u64) -> u64 {
    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Which elements are dropped with probability `ratio`.
#[derive(Clone, Copy, Debug)]
pub struct Drops {
    stream: u64,
    threshold: u64,
}

impl Drops {
    /// Those of one step. A ratio of 0 drops none, one of 1 all.
    pub fn new(seed: i64, step: i64, ratio: f64) -> Drops {
        let stream = mixed(mixed(seed as u64) ^ step as u64);
        // Of 53 bits, so that every ratio that a float can say is met.
        let threshold = (ratio.clamp(0.0, 1.0) * (1u64 << 53) as f64) as u64;
        Drops { stream, threshold }
    }

    /// Whether the element at a position is kept.
    #[inline]
    pub fn keeps(&self, position: usize) -> bool {
        mixed(self.stream ^ position as u64) >> 11 >= self.threshold
    }

    /// Sets what is dropped to 0 and multiplies the rest by `factor`.
    pub fn apply<T: Real>(&self, values: &mut [T], factor: T) {
        for_chunks(values, |start, values| {
            for (index, value) in values.iter_mut().enumerate() {
                *value = if self.keeps(start + index) {
                    *value * factor
                } else {
                    T::ZERO
                };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_the_ratio_and_steps_differ() {
        for ratio in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let drops = Drops::new(7, 3, ratio);
            let dropped = (0..100_000).filter(|&position| !drops.keeps(position)).count();
            assert!((dropped as f64 / 1e5 - ratio).abs() < 0.006, "{ratio}: {dropped}");
        }
        let kept = |seed, step| {
            let drops = Drops::new(seed, step, 0.5);
            (0..64)
                .map(|position| drops.keeps(position))
                .collect::<Vec<bool>>()
        };
        assert_ne!(kept(1, 1), kept(1, 2));
        assert_ne!(kept(1, 1), kept(2, 1));
        assert_eq!(kept(1, 1), kept(1, 1));
    }
}
